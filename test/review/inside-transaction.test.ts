import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../../src/index.ts"
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

it.live("A run that is started within a transaction of its caller is not part of it", () =>
  Effect.gen(function*() {
    const { url } = yield* freshPostgres()
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE inner_bookings (n integer)`
      // The caller's transaction is over by the time the tool runs.
      const run = yield* sql.withTransaction(Effect.andThen(sql`SELECT 1`, Conductor.start(agent, "go")))
      const result = yield* Conductor.result(run)
      assert.strictEqual(result.text, "\"booked\"")
      // The caller's transaction is rolled back while the run is at work.
      const box: { run?: Run.RunId } = {}
      yield* Effect.ignore(sql.withTransaction(Effect.gen(function*() {
        box.run = yield* Conductor.start(agent, "go")
        yield* Effect.sleep("1 second")
        return yield* Effect.fail("rolled back")
      })))
      const second = box.run ?? Run.RunId.make("")
      yield* Effect.exit(Conductor.result(second))
      const tags = yield* testing.tags(second)
      const rows = yield* sql`SELECT * FROM inner_bookings`
      assert.strictEqual(rows.length, 2)
      assert.strictEqual(tags.filter((tag) => tag === "RunClaimed").length, 1)
    }).pipe(Effect.provide(Conductor.layerPostgres({ agents: [agent], models: scripted(provider), url })))
  }).pipe(Effect.scoped), 60_000)
