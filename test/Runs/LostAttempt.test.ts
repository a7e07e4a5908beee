import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent, Conductor, Model } from "../../src/index.ts"
import { BetweenStore, Tables } from "../../src/RunLog.ts"
import { scripted } from "../support/conductors.ts"

const agent = Agent.make("thinker", { instructions: "x", model: "scripted:test", limits: { attempts: 1 } })
const provider = (turn: Model.Scripted.Turn) => Model.Scripted.make(() => turn)

it.live("A run whose process dies in a model call goes on, also where an answer is asked for once only", () =>
  Effect.gen(function*() {
    const runtime = (turn: Model.Scripted.Turn) => Layer.fresh(Conductor.layerTables({ agents: [agent], models: scripted(provider(turn)) }))
    const box = { dead: false }
    /** From its death on nothing of the process is written. */
    const mortal = Layer.succeed(BetweenStore, (store) => ({ ...store, flush: (batch) => box.dead ? Effect.never : store.flush(batch) }))
    const run = yield* Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "go")
      yield* Effect.sleep("100 millis")
      box.dead = true
      return run
    }).pipe(Effect.provide(Layer.provide(runtime({ text: "x", hang: true }), mortal)))
    const text = yield* Effect.gen(function*() {
      return (yield* Conductor.result(run)).text
    }).pipe(Effect.provide(runtime({ text: "answer" })))
    assert.strictEqual(text, "answer")
  }).pipe(Effect.provide(Tables.layer)), 60_000)
