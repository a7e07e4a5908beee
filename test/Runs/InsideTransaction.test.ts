import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { freshPostgres } from "../support/databases.ts"
import { scripted } from "../support/conductors.ts"

const book = Tool.make("book", { description: "Books.", success: Schema.String, effect: "transactional" })
const agent = Agent.make("booker", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", { tools: [book], handlers: {
  book: () => Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* Effect.orDie(sql`INSERT INTO inner_bookings (n) VALUES (1)`)
    return "booked"
  })
} })] })
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  return last?.role === "tool" ? { text: last.results.map((one) => one.result).join() } : { toolCalls: [{ name: "book" }], delay: "300 millis" }
})

it.live("A run cannot be a part of a transaction of its caller, which is said", () =>
  Effect.gen(function*() {
    const { url } = yield* freshPostgres()
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE inner_bookings (n integer)`
      const error = yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`SELECT 1`, Conductor.start(agent, "go"))))
      assert.include(error.message, "a run cannot be started or retried within a transaction")
      // A command is: it is heard after the COMMIT, or was never sent.
      const run = yield* Conductor.start(agent, "go", { limits: { timeMs: 60_000 } })
      assert.strictEqual((yield* Conductor.result(run)).text, "\"booked\"")
      assert.strictEqual((yield* sql`SELECT * FROM inner_bookings`).length, 1)
      yield* testing.check(run)
    }).pipe(Effect.provide(Conductor.layerPostgres({ agents: [agent], models: scripted(provider), url })))
  }).pipe(Effect.scoped), 60_000)
