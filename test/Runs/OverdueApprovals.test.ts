import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import { freshDirectory } from "../support/databases.ts"
import { scripted } from "../support/conductors.ts"
import { eventually } from "../support/eventually.ts"

const ask = Tool.make("ask", { description: "Asks.", success: Schema.String, effect: "pure", approval: { expires: "3 seconds" } })
const agent = Agent.make("asker", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", { tools: [ask], handlers: { ask: () => Effect.succeed("ok") } })] })
const provider = Model.Scripted.make((request) => request.messages.at(-1)?.role === "user" ? { toolCalls: [{ name: "ask" }] } : "done")

it.live("A request expires, also where a hundred of an agent that nobody has here are overdue", () =>
  Effect.gen(function*() {
    const dir = yield* freshDirectory
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const run = yield* Conductor.start(agent, "go")
      yield* Effect.flip(Conductor.result(run))
      yield* sql`INSERT INTO sessions (org_id, id) SELECT org_id, '0' || n FROM runs, generate_series(1, 100) AS n`
      yield* sql`INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, epoch, seq, parked_reason)
        SELECT '0-' || n, org_id, '0' || n, 'elsewhere', definition_hash, model, 'parked', 1, 6, 'approval' FROM runs, generate_series(1, 100) AS n`
      yield* sql`INSERT INTO approvals (id, org_id, run_id, call_id, tool, digest, status, expires_at)
        SELECT '0-' || n || '.1.1', org_id, '0-' || n, 'a', 'ask', 'x', 'pending', now() - interval '1 day' FROM runs, generate_series(1, 100) AS n WHERE agent = 'asker'`
      const { status } = yield* eventually((yield* Conductor).state(run), (state) => state.status === "completed")
      assert.strictEqual(status, "completed")
    }).pipe(Effect.provide(Conductor.layerEmbedded({ agents: [agent], models: scripted(provider), dir })))
  }), 60_000)
