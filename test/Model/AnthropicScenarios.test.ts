import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { describe as describeFailure, type Request } from "../../src/Model.ts"
import { ask, request } from "../support/anthropic.ts"
import { mock, tools } from "../support/mock.ts"

describe("Anthropic, by aimock", () => {
  it.effect("answers", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) => mock.onMessage("Hello", { content: "Hi there, 🌍!", usage: { input_tokens: 11, output_tokens: 7 } }))
      const { answer, error } = yield* ask(server.url)
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Hi there, 🌍!" }])
      assert.strictEqual(answer?.finish, "stop")
      assert.deepInclude(answer?.usage, { uncached: 11, output: 7 })
    })))

  it.effect("calls two tools at once, is given their results, and thinks with its signature kept", () =>
    Effect.scoped(Effect.gen(function*() {
      const calls = [{ id: "toolu_1", name: "weather", arguments: "{\"city\":\"Lisbon\"}" }, { id: "toolu_2", name: "clock", arguments: "{}" }]
      const server = yield* mock((mock) =>
        mock.on({ hasToolResult: true }, { content: "Rain at nine." })
          .on({ userMessage: "umbrella", hasToolResult: false }, { toolCalls: calls, reasoning: "Two questions.", reasoningSignature: "c2lnbmVk" })
      )
      const messages: Array<Request["messages"][number]> = [{ role: "user", text: "Do I need an umbrella?" }]
      const first = yield* ask(server.url, request({ tools, messages }))
      assert.isDefined(first.answer)
      assert.strictEqual(first.answer.finish, "tool-calls")
      assert.deepStrictEqual(first.answer.parts, [
        { type: "reasoning", text: "Two questions.", opaque: { anthropic: { signature: "c2lnbmVk" } } },
        ...calls.map((call) => ({ type: "tool-call" as const, ...call }))
      ])
      messages.push(
        { role: "assistant", model: "anthropic:claude-haiku-4-5-20251001", parts: first.answer.parts },
        { role: "tool", results: calls.map(({ id, name }) => ({ id, name, isFailure: false, result: `${name} ok` })) }
      )
      const second = yield* ask(server.url, request({ tools, messages }))
      assert.deepStrictEqual(second.answer?.parts, [{ type: "text", text: "Rain at nine." }])
      const sent = JSON.stringify(server.getRequests().at(-1)?.body)
      assert.include(sent, "weather ok")
    })))

  it.effect("is overloaded once and then answers: repeating is the caller's to decide", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.on({ userMessage: "Hello", sequenceIndex: 0 }, { error: { message: "Overloaded", type: "overloaded_error" }, status: 529 })
          .on({ userMessage: "Hello", sequenceIndex: 1 }, { content: "Here I am." })
      )
      const { error } = yield* ask(server.url)
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "InternalProviderError", retryable: true })
      assert.strictEqual(server.getRequests().length, 1)
      const { answer } = yield* ask(server.url)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Here I am." }])
    })))

  it.effect("limits the rate", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.onMessage("Hello", { error: { message: "Slow down", type: "rate_limit_error" }, status: 429, retryAfter: 3 })
      )
      const { error } = yield* ask(server.url)
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "RateLimitError", retryAfterMs: 3000 })
    })))

  it.live("breaks off in the middle", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.onMessage("Hello", { content: "A long answer that is cut in the middle of it." }, { chunkSize: 5, latency: 5, truncateAfterChunks: 4 })
      )
      const { answer, error, parts } = yield* ask(server.url)
      assert.isUndefined(answer)
      assert.isAbove(parts.length, 0)
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "NetworkError", retryable: true })
    })))

  it.effect("refuses", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) => mock.onMessage("Hello", { content: "No.", finishReason: "refusal" }))
      const { answer } = yield* ask(server.url)
      assert.strictEqual(answer?.finish, "content-filter")
      assert.isTrue(Option.isNone(answer?.reportedCost ?? Option.none()))
    })))
})
