import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Layer, Result, Schema, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import * as TestClock from "effect/testing/TestClock"
import { Catalog, fallback, languageModel, Models, plan, type Provider, Scripted } from "../../src/Model.ts"

const failure = (reason: AiError.AiErrorReason) => AiError.make({ module: "Test", method: "stream", reason })
const busy = failure(new AiError.InternalProviderError({ description: "busy" }))
const badKey = failure(new AiError.AuthenticationError({ kind: "InvalidKey" }))
const policy = failure(new AiError.ContentPolicyError({ description: "no" }))
const limited = (seconds: number) => failure(new AiError.RateLimitError({ retryAfter: Duration.seconds(seconds) }))

/** A provider that plays these turns one after the other, and counts requests by its name. */
const providers = (scripts: Readonly<Record<string, ReadonlyArray<Scripted.Turn>>>) => {
  const asked: Array<string> = []
  const all = Object.fromEntries(Object.entries(scripts).map(([name, turns]) => {
    let next = 0
    const provider: Provider = Scripted.make(() => {
      asked.push(name)
      return turns[Math.min(next++, turns.length - 1)] ?? { text: "" }
    })
    return [name, provider] as const
  }))
  return { asked, layer: Layer.provideMerge(Models.layerOf(all), Catalog.layerOf([])) }
}

const chain = fallback("one:m", "two:m", "three:m")

const text = Effect.map(LanguageModel.generateText({ prompt: "Hello" }), (response) => response.text)

/** Does something while time passes, and tells how much it took. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    const ended = Effect.gen(function*() {
      const result = yield* Effect.result(effect)
      return { result, tookMs: (yield* Clock.currentTimeMillis) - start }
    })
    const fiber = yield* Effect.forkChild(ended)
    for (let n = 0; n < 200; n++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

describe("a plan of models", () => {
  it.effect("asks a model again after pauses, and the next one at once", () =>
    Effect.gen(function*() {
      const { asked, layer } = providers({ one: [{ fail: busy }], two: [{ fail: limited(20) }, { fail: busy }], three: [{ text: "here" }] })
      const { result, tookMs } = yield* timed(text.pipe(Effect.provide(languageModel(chain)), Effect.provide(layer)))
      assert.deepStrictEqual(result, Result.succeed("here"))
      assert.deepStrictEqual(asked, ["one", "one", "one", "two", "two", "two", "three"])
      assert.strictEqual(tookMs, 500 + 1_000 + 20_000 + 1_000)
    }))

  it.effect("does not repeat what will not get better, nor ask another where it is the input's fault", () =>
    Effect.gen(function*() {
      const hopeless = providers({ one: [{ fail: badKey }], two: [{ fail: badKey }], three: [{ fail: policy }] })
      const failed = yield* timed(text.pipe(Effect.provide(languageModel(chain)), Effect.provide(hopeless.layer)))
      assert.isTrue(failed.result._tag === "Failure" && AiError.isAiError(failed.result.failure) && failed.result.failure.reason._tag === "ContentPolicyError")
      assert.deepStrictEqual([hopeless.asked, failed.tookMs], [["one", "two", "three"], 0])
      const first = providers({ one: [{ fail: policy }], two: [{ text: "never" }], three: [{ text: "never" }] })
      yield* timed(text.pipe(Effect.provide(languageModel(chain)), Effect.provide(first.layer)))
      assert.deepStrictEqual(first.asked, ["one"])
    }))

  it.effect("streams, and does not say anything twice", () =>
    Effect.gen(function*() {
      const heard = (layer: Layer.Layer<Models | Catalog>) =>
        LanguageModel.streamText({ prompt: "Hello" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.map((part) => part.delta),
          Stream.runCollect,
          Effect.provide(languageModel(chain, { attempts: 2 })),
          Effect.provide(layer)
        )
      const before = providers({ one: [{ fail: busy }], two: [{ text: "whole" }], three: [] })
      const whole = yield* timed(heard(before.layer))
      assert.deepStrictEqual(whole.result, Result.succeed(["whole"]))
      assert.deepStrictEqual(before.asked, ["one", "one", "two"])
      const amid = providers({ one: [{ text: "half of it", fail: busy, failAfter: 3 }], two: [{ text: "never" }], three: [] })
      assert.strictEqual((yield* timed(heard(amid.layer))).result._tag, "Failure")
      assert.deepStrictEqual(amid.asked, ["one"])
    }))

  it.effect("gives objects of a schema", () =>
    Effect.gen(function*() {
      const { layer } = providers({ one: [{ fail: badKey }], two: [{ text: "{\"n\":1}" }], three: [] })
      const response = yield* LanguageModel.generateObject({ prompt: "A number", schema: Schema.Struct({ n: Schema.Int }) }).pipe(
        Effect.provide(languageModel(chain)),
        Effect.provide(layer)
      )
      assert.deepStrictEqual(response.value, { n: 1 })
    }))

  it.effect("is an ExecutionPlan for any effect, of which it repeats nothing but for the model's failures", () =>
    Effect.gen(function*() {
      const { asked, layer } = providers({ one: [{ fail: badKey }], two: [{ text: "here" }], three: [] })
      const made = yield* Effect.provide(plan(chain), layer)
      assert.strictEqual(made.steps.length, 3)
      let count = 0
      const own = Effect.andThen(text, Effect.suspend(() => Effect.fail(`mine ${++count}`)))
      assert.strictEqual(yield* Effect.flip(Effect.withExecutionPlan(own, made)), "mine 1")
      assert.deepStrictEqual(asked, ["one", "two"])
      const unknown = yield* Effect.flip(Effect.provide(plan("four:m"), layer))
      assert.strictEqual(unknown._tag, "UnknownModel")
    }))
})
