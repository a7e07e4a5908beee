import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent, Conductor, Model } from "../../src/index.ts"
import { Tables } from "../../src/RunLog.ts"
import { scripted } from "../support/conductors.ts"
import { eventually } from "../support/eventually.ts"

const agentWith = (instructions: string, upgrade: Agent.Policy) => Agent.make("thinker", { instructions, model: "scripted:test", upgrade })
const provider = Model.Scripted.make(() => ({ text: "late", hang: true }))

it.live("A run whose upgrade breaks is failed, not left without a word", () =>
  Effect.gen(function*() {
    const runtime = (text: string, upgrade: Agent.Policy) => Layer.fresh(Conductor.layerTables({ agents: [agentWith(text, upgrade)], models: scripted(provider) }))
    const run = yield* Effect.gen(function*() {
      const run = yield* Conductor.start("thinker", "go")
      yield* Effect.sleep("100 millis")
      return run
    }).pipe(Effect.provide(runtime("1", Agent.keep)))
    yield* Effect.gen(function*() {
      const { status } = yield* eventually((yield* Conductor).state(run), (state) => state.status === "failed")
      assert.strictEqual(status, "failed")
    }).pipe(Effect.provide(runtime("2", () => { throw new Error("a bug") })))
  }).pipe(Effect.provide(Tables.layer)), 60_000)
