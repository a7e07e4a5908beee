import { assert, layer } from "@effect/vitest"
import { Effect, Latch, Layer, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { scripted } from "../support/conductors.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"

const begun = Latch.makeUnsafe(false)
const book = Tool.make("book", { description: "Books.", parameters: Schema.Struct({ how: Schema.String }), success: Schema.String, effect: "transactional" })
const agent = Agent.make("booker", {
  instructions: "x", model: "scripted:test",
  plugins: [Plugin.make("p", { tools: [book], handlers: {
    book: ({ how }) => Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* Effect.orDie(sql`INSERT INTO slow_bookings (how) VALUES (${how})`)
      yield* begun.open
      if (how === "finalizer") return yield* Effect.onInterrupt(Effect.never, () => Effect.sleep("800 millis"))
      return yield* Effect.uninterruptible(Effect.as(Effect.sleep("800 millis"), "booked"))
    })
  } })]
})
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "user" && last.text.startsWith("book ")) return { toolCalls: [{ name: "book", params: { how: last.text.slice(5) } }] }
  const text = request.messages.map((one) => one.role === "tool" ? one.results.map((result) => result.result).join() : "").join("")
  return { text, delay: "2 seconds" }
})

const databases = [
  ["pglite", Layer.unwrap(Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ agents: [agent], models: scripted(provider), dir })))],
  ["postgres", Layer.unwrap(Effect.map(freshPostgres(), ({ url }) => Conductor.layerPostgres({ agents: [agent], models: scripted(provider), url })))]
] as const

for (const [name, runtime] of databases.slice(1)) {
  layer(runtime, { excludeTestServices: true })(`A transactional tool that is slow to stop (${name})`, (it) => {
    for (const how of ["finalizer", "uninterruptible"]) {
      it.effect(`is interrupted, and the run goes on in its process: ${how}`, () => Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE IF NOT EXISTS slow_bookings (how text)`
        begun.closeUnsafe()
        const run = yield* Conductor.start(agent, `book ${how}`)
        yield* begun.await
        yield* Conductor.send(run, "stop that", { mode: "interrupt" })
        yield* Conductor.result(run)
        const tags = yield* testing.tags(run)
        yield* testing.check(run)
        assert.strictEqual(tags.filter((tag) => tag === "RunClaimed").length, 1)
      }))
    }
  })
}
