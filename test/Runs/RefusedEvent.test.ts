import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, type Layer, Ref, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes } from "../support/conductors.ts"

const asked = Effect.runSync(Ref.make(0))
const ran = Effect.runSync(Ref.make(0))
const look = Tool.make("look", { description: "Looks.", success: Schema.String, effect: "idempotent" })
const agent = Agent.make("buyer", {
  instructions: "Buy.",
  model: "scripted:test",
  plugins: [Plugin.make("looks", { tools: [look], handlers: { look: () => Effect.as(Ref.update(ran, (n) => n + 1), "seen") } })],
  limits: { cost: "10 USD" }
})
const provider = Model.Scripted.make((request) => {
  Effect.runSync(Ref.update(asked, (n) => n + 1))
  const last = request.messages.at(-1)
  return last?.role === "user" && last.text === "look" ? { toolCalls: [{ name: "look" }] } : "Done."
})

describe("An event that the database refuses for what it is", () => {
  for (const { layer, name } of runtimes([agent], provider).slice(1)) {
    /** Runs an agent while the log takes no event of a kind; the failure, and what it says of the run after it may go on. */
    const refused = (tag: string, input: string) =>
      Effect.gen(function*() {
        // The runtimes over databases have it, though the common type of all three does not say so.
        const sql = Context.getUnsafe(yield* Effect.context<never>(), SqlClient.SqlClient)
        yield* Ref.set(asked, 0)
        yield* Ref.set(ran, 0)
        yield* sql.unsafe(`ALTER TABLE run_events ADD CONSTRAINT fault CHECK (tag <> '${tag}')`)
        const run = yield* Conductor.start(agent, input)
        const failure = yield* Effect.flip(Conductor.result(run))
        const times = { asked: yield* Ref.get(asked), ran: yield* Ref.get(ran) }
        yield* testing.check(run)
        yield* sql`ALTER TABLE run_events DROP CONSTRAINT fault`
        yield* (yield* Conductor).retry(run)
        assert.strictEqual((yield* Conductor.result(run)).text, "Done.")
        yield* testing.check(run)
        return { failure, times, tags: yield* testing.tags(run) }
      }).pipe(Effect.provide(layer as Layer.Layer<Layer.Success<typeof layer>, never>), Effect.timeout("20 seconds"))

    it.live(`ends its run, and what was bought is not bought again: an answer (${name})`, () =>
      Effect.gen(function*() {
        const { failure, tags, times } = yield* refused("TurnCompleted", "buy")
        assert.strictEqual(failure._tag, "InternalError")
        assert.match(failure.message, /the database refused an event of the run \(.*"fault".*\)\. The run can be retried from its log\.$/)
        assert.deepStrictEqual(times, { asked: 1, ran: 0 })
        assert.deepStrictEqual(tags.filter((tag) => tag === "AttemptFailed").length, 1)
      }), 60_000)

    it.live(`ends its run, and what was done is not done again: a tool's end (${name})`, () =>
      Effect.gen(function*() {
        const { failure, times } = yield* refused("ToolCompleted", "look")
        assert.strictEqual(failure._tag, "InternalError")
        assert.deepStrictEqual(times, { asked: 1, ran: 1 })
      }), 60_000)
  }
})
