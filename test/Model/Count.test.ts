import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, Conductor, Model, Run } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import * as anthropic from "../support/anthropic.ts"
import { replay } from "../support/replay.ts"

const json = { "content-type": "application/json" }

describe("Anthropic, counting", () => {
  it.effect("asks for the tokens of the very request", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body: JSON.stringify({ input_tokens: 31 }), headers: json })
      const model = yield* Effect.provide(anthropic.resolved, anthropic.models(server.url))
      const { count } = model.stream
      assert.isDefined(count)
      assert.strictEqual(yield* count(anthropic.request({ system: "S" })), 31)
      assert.strictEqual(server.received[0]?.path, "/v1/messages/count_tokens")
      const { body } = yield* anthropic.sentFor(anthropic.request({ system: "S" }))
      const { max_tokens: _, stream: __, ...counted } = body
      assert.deepStrictEqual(JSON.parse(server.received[0]?.body ?? ""), counted)
      server.play({ status: 404, body: anthropic.errorBody("not_found_error", "There is no such thing"), headers: json })
      assert.strictEqual(Model.describe(yield* Effect.flip(count(anthropic.request()))).reason, "InvalidRequestError")
      server.play({ body: "{}", headers: json })
      assert.strictEqual(Model.describe(yield* Effect.flip(count(anthropic.request()))).reason, "InternalProviderError")
    })))
})

describe("The input of a request", () => {
  const request: Model.Request = { model: "test", system: "Be brief.", messages: [{ role: "user", text: "word ".repeat(1000) }], tools: [], maxOutput: 100 }
  const bound = Model.inputBound(request)
  const resolved = (count?: NonNullable<Model.Provider["count"]>): Model.Resolved => ({
    ref: Run.ModelRef.make("scripted:test"),
    id: "test",
    stream: Object.assign(Model.Scripted.make(["ok"]), count === undefined ? {} : { count }),
    entry: Option.none(),
    prices: null
  })
  const counting = Effect.provideService(Model.CountInput, true)

  it.effect("is its bound unless a count is asked for and to be had", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Model.inputTokens(resolved(() => Effect.die("nobody asked")), request), bound)
      assert.strictEqual(yield* counting(Model.inputTokens(resolved(), request)), bound)
    }))

  it.effect("is the count with a margin where it is asked for, and never more than the bound", () =>
    Effect.gen(function*() {
      const counted = (tokens: number, measured?: Model.Measured) =>
        counting(Model.inputTokens(resolved(() => Effect.succeed(tokens)), request, measured))
      assert.strictEqual(yield* counted(1_010), 1_095)
      assert.strictEqual(yield* counted(10_000_000), bound)
      const measured = { messages: 1, tokens: 1_000 }
      assert.strictEqual(yield* counted(5_000, measured), Model.inputBound(request, measured))
    }))

  it.effect("is the bound again where the count fails, or takes too long", () =>
    Effect.gen(function*() {
      const error = AiError.make({ module: "Test", method: "count", reason: new AiError.RateLimitError({}) })
      assert.strictEqual(yield* counting(Model.inputTokens(resolved(() => Effect.fail(error)), request)), bound)
      const fiber = yield* Effect.forkChild(counting(Model.inputTokens(resolved(() => Effect.never), request)))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), bound)
    }))

  it.live("is set aside for a run as counted where the runtime is told to count", () =>
    Effect.scoped(Effect.gen(function*() {
      const agent = Agent.make("assistant", { instructions: "Be brief.", model: "anthropic:claude-haiku-4-5", limits: { cost: "1.00 USD", outputTokens: 1000 } })
      const server = yield* replay()
      /** What a run sets aside: one dollar a million in, 1.25 for what is written to the cache, two for an hour; 5 out. */
      const reserved = Effect.fnUntraced(function*(count: boolean) {
        server.play({ body: JSON.stringify({ input_tokens: 1_010 }), headers: json }, { body: anthropic.sse([anthropic.start(), ...anthropic.text(0, "ok"), ...anthropic.end("end_turn")]) })
        if (!count) server.play({ body: anthropic.sse([anthropic.start(), ...anthropic.text(0, "ok"), ...anthropic.end("end_turn")]) })
        const runtime = Conductor.layerMemory({ agents: [agent], models: anthropic.models(server.url) }).pipe(
          Layer.provide(count ? Layer.succeed(Model.CountInput, true) : Layer.empty)
        )
        const events = yield* Effect.gen(function*() {
          const { run } = yield* Conductor.run(agent, "word ".repeat(1000))
          return yield* testing.events(run)
        }).pipe(Effect.provide(runtime))
        return events.flatMap(({ event }) => event._tag === "TurnStarted" ? [event.reserved] : [])
      })
      const charge = (input: number) => [input * 2_000_000 + 1000 * 5_000_000].map(BigInt)
      assert.deepStrictEqual(yield* reserved(true), charge(1_095))
      assert.deepStrictEqual(yield* reserved(false), charge(bound))
    })))
})
