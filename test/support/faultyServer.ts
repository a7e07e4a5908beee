/**
 * A server as a process, whose store fails now and then: says where it is, and on request how much memory it holds. Which accesses
 * fail follows from its first argument. What nobody caught ends it with 13.
 */
import { Effect, Layer, Logger, Option, Redacted, Struct } from "effect"
import { HttpServer } from "effect/http"
import { Agent } from "../../src/index.ts"
import { Keys } from "../../src/Org.ts"
import { StorageFailed } from "../../src/Run.ts"
import { BetweenStore } from "../../src/RunLog.ts"
import * as Server from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { makeChance } from "./chance.ts"
import { weather } from "./weather.ts"

for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (cause: unknown) => {
    process.stderr.write(`${event}: ${cause instanceof Error ? cause.stack : String(cause)}\n`)
    process.exit(13)
  })
}

const chance = makeChance(process.argv[2] ?? "store")

/** One in so many accesses to the store fails. */
const faults = 40

const faulty = <A, E>(operation: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | StorageFailed> =>
  Effect.suspend((): Effect.Effect<A, E | StorageFailed> => {
    if (!chance.is(1 / faults)) return effect
    const failure = Effect.fail(new StorageFailed({ operation, problem: "a fault of the test" }))
    // Now and then it takes its time to fail.
    return chance.is(0.2) ? Effect.andThen(Effect.sleep("50 millis"), failure) : failure
  })

// Without the short cut of a store in memory, every append goes through a flush.
const between = Layer.succeed(BetweenStore, (store) => ({
  ...Struct.omit(store, ["write"]),
  read: (...args) => faulty("read", store.read(...args)),
  find: (run) => faulty("find", store.find(run)),
  heads: (runs) => faulty("heads", store.heads(runs)),
  flush: (batch) => faulty("flush", store.flush(batch)),
  as: (org) => {
    const reads = store.as(org)
    return {
      ...reads,
      read: (...args) => faulty("read", reads.read(...args)),
      find: (run) => faulty("find", reads.find(run))
    }
  }
}))

const assistant = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [weather], limits: { attempts: 100 } })

const model = testing.script((request) => {
  const turns = request.messages.filter((message) => message.role === "assistant").length
  return turns < 3
    ? { text: `I look at city number ${turns}, and tell of it.`, toolCalls: [{ name: "weather", params: { city: `${turns}` } }], pace: "3 millis" }
    : { text: "It rains in all of these cities, as far as I can see.", pace: "3 millis" }
}, { pieces: 3 })

const runtime = testing.layer({ agents: [assistant], model }).pipe(Layer.provide(between))

await Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const { key } = yield* (yield* Keys).bootstrap(Option.none())
  const made = Option.getOrThrow(key)
  const { key: free } = yield* (yield* Keys).create({ org: made.record.org, name: "free", scopes: ["admin"], requestsPerMinute: 1_000_000_000 })
  process.on("message", () => {
    globalThis.gc?.()
    process.send?.({ heap: process.memoryUsage().heapUsed })
  })
  process.send?.({ url: HttpServer.formatAddress(address), key: Redacted.value(free) })
  return yield* Effect.never
}).pipe(
  Effect.provide(Server.layer({ port: 0 }).pipe(Layer.provideMerge(runtime), Layer.provideMerge(Logger.layer([])))),
  Effect.scoped,
  Effect.runPromise
)
