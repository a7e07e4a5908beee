import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Latch, Layer, Ref, Schema } from "effect"
import { Agent, Conductor, DrainTime, LeaseTime, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { scripted } from "../support/conductors.ts"

const short = Tool.make("short", { description: "Is short.", success: Schema.String, effect: "idempotent" })
const long = Tool.make("long", { description: "Is long.", success: Schema.String, effect: "pure" })

const gate = Latch.makeUnsafe(false)
/** Open once the short tool has begun. */
const begun = Latch.makeUnsafe(false)
const keys = Effect.runSync(Ref.make<ReadonlyArray<string>>([]))

const agent = Agent.make("worker", {
  instructions: "Work.",
  model: "scripted:test",
  plugins: [Plugin.make("tools", {
    tools: [short, long],
    handlers: {
      short: () =>
        Effect.gen(function*() {
          const { key } = yield* Tool.Call
          yield* Ref.update(keys, (all) => [...all, key])
          yield* begun.open
          yield* Effect.sleep("200 millis")
          return "short"
        }),
      long: () => Effect.as(gate.await, "long")
    }
  })]
})

const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  return last?.role === "user" ? { toolCalls: [{ name: last.text }] } : "done"
})

const forever = Layer.succeed(LeaseTime, Duration.hours(1))

const databases = [
  ["pglite", Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ agents: [agent], models: scripted(provider), dir }))],
  ["postgres", Effect.map(freshPostgres(), ({ url }) => Conductor.layerPostgres({ agents: [agent], models: scripted(provider), url }))]
] as const

describe("The end of a process", () => {
  for (const [name, made] of databases) {
    it.live(`finishes what can be finished in time, parks the rest for the next process, and tells which (${name})`, () =>
      Effect.gen(function*() {
        const runtime = Layer.fresh(Layer.provide(yield* made, forever))
        gate.closeUnsafe()
        begun.closeUnsafe()
        const [quick, slow] = yield* Effect.gen(function*() {
          const quick = yield* Conductor.start(agent, "short")
          const slow = yield* Conductor.start(agent, "long")
          yield* begun.await
          const drained = yield* Conductor.drain("2 seconds")
          assert.deepStrictEqual(drained, { finished: [quick], parked: [slow] })
          assert.strictEqual((yield* Effect.flip(Conductor.start(agent, "short")))._tag, "ShuttingDown")
          return [quick, slow] as readonly [Run.RunId, Run.RunId]
        }).pipe(Effect.provide(runtime))
        gate.openUnsafe()
        yield* Effect.gen(function*() {
          assert.strictEqual((yield* Conductor.result(quick)).text, "done")
          // The next process has it at once: the lease, an hour long, was given up.
          assert.strictEqual((yield* Conductor.result(slow)).text, "done")
          const tags = yield* testing.tags(slow)
          assert.deepStrictEqual(tags.slice(tags.indexOf("RunParked"), tags.indexOf("RunParked") + 2), ["RunParked", "RunClaimed"])
          yield* testing.check(slow)
        }).pipe(Effect.provide(runtime))
      }), 60_000)
  }

  it.live("parks at once where no time is given, and repeats an idempotent call with its key", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const runtime = Layer.fresh(Conductor.layerEmbedded({ agents: [agent], models: scripted(provider), dir }))
      const run = yield* Effect.gen(function*() {
        begun.closeUnsafe()
        const run = yield* Conductor.start(agent, "short")
        yield* begun.await
        return run
      }).pipe(Effect.provide(runtime))
      const text = yield* Effect.gen(function*() {
        return (yield* Conductor.result(run)).text
      }).pipe(Effect.provide(Layer.provide(runtime, Layer.succeed(DrainTime, Duration.seconds(5)))))
      assert.strictEqual(text, "done")
      const used = (yield* Ref.get(keys)).filter((key) => key.startsWith(run))
      assert.deepStrictEqual([used.length, new Set(used).size], [2, 1])
    }), 60_000)
})
