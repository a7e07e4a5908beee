import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Conductor, Model, Money } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { month, reviewer, routing } from "./models.ts"

const script = testing.script([{ text: "Looks good.", usage: { uncached: 1_000, output: 100 } }])

/** Claude is not there today; Gemini is. */
const models = Model.Models.layerOf({
  anthropic: Object.assign(Model.Scripted.make([{ cut: true }]), { ready: true }),
  google: script,
  openrouter: script
}).pipe(Layer.provideMerge(Model.Catalog.layerShipped))

describe("Choosing models", () => {
  it.live("asks the next model where one cannot answer, within a budget, and tells what it cost", () =>
    Effect.gen(function*() {
      const before = yield* month
      assert.strictEqual(before.left?.spent, Money.zero)
      const { cost, run, text } = yield* Conductor.run(reviewer, "diff --git a b")
      assert.strictEqual(text, "Looks good.")
      yield* testing.check(run)
      const after = yield* month
      assert.deepStrictEqual(after.left?.spent, cost)
      assert.strictEqual(after.left?.period, "month")
      assert.isTrue(after.models.some((line) => line.key === "google:gemini-3.8-flash"))
    }).pipe(Effect.provide(Conductor.layerMemory({ agents: [reviewer], models }).pipe(Layer.provide(routing)))), 30_000)
})
