import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { describe as describeFailure } from "../../src/Model.ts"
import {
  answerTo, ask, asked, atEveryByte, block, end, errorBody, type Event, failureOf, type Outcome, sse, start, text, toolUse, usage
} from "../support/anthropic.ts"
import { transportFaults } from "../support/faults.ts"
import { replay } from "../support/replay.ts"

/** Every shape of an answer at once: keep-alives, signatures, two tools at a time, things that do not exist yet. */
const rich: ReadonlyArray<Event> = [
  start(usage(7, 1, { cache_read_input_tokens: 100, cache_creation_input_tokens: 30, cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 } })),
  { type: "ping" },
  ...block(0, { type: "thinking", thinking: "", signature: "" }, { type: "thinking_delta", thinking: "Grüße, 🦊!" }, { type: "signature_delta", signature: "sig/+=ä" }),
  ...block(1, { type: "redacted_thinking", data: "opaque==" }),
  ...block(2, { type: "thinking", thinking: "", signature: "" }, { type: "signature_delta", signature: "empty-but-signed" }),
  ...text(3, "Let me ", "look — 🌍."),
  { type: "content_block_start", index: 4, content_block: { type: "tool_use", id: "toolu_a", name: "weather", input: {} } },
  { type: "content_block_start", index: 5, content_block: { type: "tool_use", id: "toolu_b", name: "clock", input: {} } },
  { type: "content_block_delta", index: 4, delta: { type: "input_json_delta", partial_json: "" } },
  { type: "content_block_delta", index: 5, delta: { type: "input_json_delta", partial_json: "" } },
  { type: "content_block_delta", index: 4, delta: { type: "input_json_delta", partial_json: "{\"city\":\"Köl" } },
  { type: "ping" },
  { type: "content_block_delta", index: 4, delta: { type: "input_json_delta", partial_json: "n\"}" } },
  { type: "content_block_stop", index: 5 },
  { type: "content_block_stop", index: 4 },
  ...block(6, { type: "hologram", depth: 3 }, { type: "hologram_delta", x: 1 }),
  { type: "content_block_delta", index: 99, delta: { type: "text_delta", text: "nobody's" } },
  { type: "weather_report", sky: "blue" },
  ...end("tool_use", {
    input_tokens: null, output_tokens: 50, output_tokens_details: { thinking_tokens: 30 },
    server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 }
  })
]

const checkRich = (outcome: Outcome) => {
  assert.isUndefined(outcome.error)
  assert.deepStrictEqual(outcome.answer, {
    parts: [
      { type: "reasoning", text: "Grüße, 🦊!", opaque: { anthropic: { signature: "sig/+=ä" } } },
      { type: "reasoning", text: "", opaque: { anthropic: { redacted: "opaque==" } } },
      { type: "reasoning", text: "", opaque: { anthropic: { signature: "empty-but-signed" } } },
      { type: "text", text: "Let me look — 🌍." },
      { type: "tool-call", id: "toolu_a", name: "weather", arguments: "{\"city\":\"Köln\"}" },
      { type: "tool-call", id: "toolu_b", name: "clock", arguments: "{}" }
    ],
    finish: "tool-calls",
    note: null,
    usage: { uncached: 7, cacheRead: 100, cacheWrite: 10, cacheWriteHour: 20, output: 50, reasoning: 30, webSearches: 2 },
    requestId: "req_1",
    servedModel: "claude-haiku-4-5-20251001",
    host: null,
    nativeFinish: "tool_use",
    reportedCost: Option.none()
  })
}

describe("Anthropic, own bytes", () => {
  it.effect("reads every shape of an answer", () =>
    Effect.gen(function*() {
      const outcome = yield* answerTo(rich)
      checkRich(outcome)
      const calls = outcome.parts.filter((part) => part.type === "tool-call")
      assert.deepStrictEqual(calls.map((call) => [call.id, call.params]), [["toolu_b", {}], ["toolu_a", { city: "Köln" }]])
      const finish = outcome.parts.find((part) => part.type === "finish")
      assert.deepStrictEqual(finish?.usage, {
        inputTokens: { uncached: 7, cacheRead: 100, cacheWrite: 30, total: 137 },
        outputTokens: { total: 50, reasoning: 30, text: 20 }
      })
      assert.deepInclude(finish?.metadata?.["anthropic"], { webSearches: 2, webFetches: 1, stopReason: "tool_use" })
    }))

  it.live("reads it cut in two at every byte, and in pieces of one byte", () => atEveryByte(sse(rich), checkRich), 120_000)

  it.live("reads it in a slow drip", () =>
    Effect.gen(function*() {
      checkRich(yield* answerTo(rich, undefined, { pieces: 97, gap: 2 }))
    }))

  it.effect("reads CRLF, comments, and several data lines", () =>
    Effect.gen(function*() {
      const body = `: hello\r\n\r\n${sse([start(), ...text(0, "ok"), ...end("end_turn")]).replaceAll("\n", "\r\n")}`
      const { answer } = yield* answerTo([], undefined, { body })
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "ok" }])
      assert.strictEqual(answer?.finish, "stop")
    }))

  for (const [stop, finish] of [
    ["end_turn", "stop"], ["stop_sequence", "stop"], ["max_tokens", "length"], ["model_context_window_exceeded", "length"],
    ["tool_use", "tool-calls"], ["pause_turn", "pause"], ["refusal", "content-filter"], ["tea_time", "other"], [null, "unknown"]
  ] as const) {
    it.effect(`ends with ${finish} at stop reason ${stop}`, () =>
      Effect.gen(function*() {
        const { answer } = yield* answerTo([start(), ...text(0, "a"), ...end(stop)])
        assert.strictEqual(answer?.finish, finish)
      }))
  }

  it.effect("tells why the model refused, and makes no call of what the refusal cut off", () =>
    Effect.gen(function*() {
      const { answer, parts } = yield* answerTo([
        start(),
        ...text(0, "I will"),
        ...toolUse(1, "toolu_1", "whole", "{}"),
        { type: "content_block_start", index: 2, content_block: { type: "tool_use", id: "toolu_2", name: "cut", input: {} } },
        { type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: "{\"a\"" } },
        ...end("refusal", { output_tokens: 3 }, { stop_details: { type: "refusal", category: "cyber", explanation: "It could do harm." } })
      ])
      assert.strictEqual(answer?.finish, "content-filter")
      assert.strictEqual(answer?.note, "It could do harm.")
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "I will" }])
      assert.deepStrictEqual(parts.filter((part) => part.type === "tool-call").map((part) => part.id), ["toolu_1"])
      assert.deepInclude(parts.find((part) => part.type === "finish")?.metadata?.["anthropic"], {
        stopDetails: { category: "cyber", explanation: "It could do harm." }
      })
    }))

  it.effect("keeps a block that another begins in place of, though nothing ended it", () =>
    Effect.gen(function*() {
      const { answer, parts } = yield* answerTo([
        start(),
        { type: "content_block_start", index: 0, content_block: { type: "tool_use", id: "toolu_1", name: "first", input: { a: 1 } } },
        ...toolUse(0, "toolu_2", "second", "{}"),
        ...end("tool_use")
      ])
      assert.deepStrictEqual(answer?.parts.map((part) => part.type === "tool-call" && part.name), ["first", "second"])
      assert.strictEqual(parts.filter((part) => part.type === "tool-params-end").length, 2)
    }))

  it.effect("names the category of a refusal without an explanation, and accepts one without content", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([start(), ...end("refusal", { output_tokens: 0 }, { stop_details: { type: "refusal", category: "bio", explanation: null } })])
      assert.strictEqual(answer?.note, "bio")
      assert.deepStrictEqual(answer?.parts, [])
    }))

  it.effect("gives the text of arguments that were cut, and of those that would set a prototype", () =>
    Effect.gen(function*() {
      const { answer, error, parts } = yield* answerTo([
        start(), ...toolUse(0, "a", "write", "{\"text\":\"never end"), ...toolUse(1, "b", "write", "{\"__proto__\":{\"x\":1}}"),
        ...toolUse(2, "c", "write", "[1]"), ...end("max_tokens")
      ])
      assert.isUndefined(error)
      assert.deepStrictEqual(parts.filter((part) => part.type === "tool-call").map((part) => part.params), [
        "{\"text\":\"never end", "{\"__proto__\":{\"x\":1}}", "[1]"
      ])
      assert.strictEqual(answer?.finish, "length")
      assert.deepStrictEqual(answer?.parts[0], { type: "tool-call", id: "a", name: "write", arguments: "{\"text\":\"never end" })
    }))

  it.effect("reads arguments, text and thinking that come whole at the start of their block, and closes open blocks", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([
        start(),
        { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "hm", signature: "s" } },
        { type: "content_block_start", index: 1, content_block: { type: "text", text: "hi" } },
        { type: "content_block_start", index: 2, content_block: { type: "tool_use", id: "t", name: "go", input: { a: 1 } } },
        ...end("tool_use")
      ])
      assert.deepStrictEqual(answer?.parts, [
        { type: "reasoning", text: "hm", opaque: { anthropic: { signature: "s" } } },
        { type: "text", text: "hi" },
        { type: "tool-call", id: "t", name: "go", arguments: "{\"a\":1}" }
      ])
    }))

  it.effect("takes counts of the last event that has them, and no nonsense", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([
        start(usage(10, 1)), start(usage(12, 2)), ...text(0, "x"),
        { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 20, input_tokens: -4, cache_creation: 7 } },
        { type: "message_delta", delta: {}, usage: { output_tokens: 21, cache_read_input_tokens: 3, input_tokens: 1.5 } },
        { type: "message_delta" },
        { type: "message_stop" }
      ])
      assert.deepStrictEqual(answer?.usage, { uncached: 12, cacheRead: 3, cacheWrite: 0, cacheWriteHour: 0, output: 21, reasoning: 0 })
      assert.strictEqual(answer?.finish, "stop")
    }))

  it.effect("reads an answer of a gateway that does not stream", () =>
    Effect.gen(function*() {
      const { answer, error } = yield* answerTo([], undefined, {
        headers: { "content-type": "application/json" },
        body: `\n${JSON.stringify({
          id: "msg_1", type: "message", role: "assistant", model: "claude-haiku-4-5", stop_reason: "tool_use", usage: usage(3, 2),
          content: [
            { type: "thinking", thinking: "hm", signature: "s" }, { type: "redacted_thinking", data: "d" }, { type: "text", text: "Looking." },
            { type: "tool_use", id: "x", name: "f", input: { a: 1 } }
          ]
        })}`
      })
      assert.isUndefined(error)
      assert.deepInclude(answer, { finish: "tool-calls", servedModel: "claude-haiku-4-5" })
      assert.deepStrictEqual(answer?.parts, [
        { type: "reasoning", text: "hm", opaque: { anthropic: { signature: "s" } } }, { type: "reasoning", text: "", opaque: { anthropic: { redacted: "d" } } },
        { type: "text", text: "Looking." }, { type: "tool-call", id: "x", name: "f", arguments: "{\"a\":1}" }
      ])
    }))

  it.effect("survives events without their fields", () =>
    Effect.gen(function*() {
      const { answer, error } = yield* answerTo([
        { type: "message_start" }, { type: "content_block_start", index: 0 }, { type: "content_block_delta", index: 0 },
        { type: "content_block_start", index: 1, content_block: { type: "text", text: null } },
        { type: "content_block_delta", index: 1, delta: { type: "text_delta" } },
        ...block(2, { type: "thinking" }), { type: "content_block_stop", index: 77 },
        { type: "message_stop" }
      ], undefined, { headers: {} })
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "" }, { type: "reasoning", text: "" }])
      assert.strictEqual(answer?.requestId, null)
      assert.strictEqual(answer?.servedModel, null)
    }))

  it.effect("asks no further once the message has stopped", () =>
    Effect.gen(function*() {
      const { answer, error } = yield* answerTo([start(), ...text(0, "done"), ...end("end_turn")], undefined, { then: "hang" })
      assert.isUndefined(error)
      assert.strictEqual(answer?.finish, "stop")
    }))
})

describe("Anthropic, failures", () => {
  const begun = [start(), { type: "content_block_start", index: 0, content_block: { type: "text", text: "Hel" } }]

  for (const [type, reason, retryable] of [
    ["overloaded_error", "InternalProviderError", true], ["api_error", "InternalProviderError", true],
    ["timeout_error", "InternalProviderError", true], ["future_error", "InternalProviderError", true],
    ["rate_limit_error", "RateLimitError", true], ["invalid_request_error", "InvalidRequestError", false],
    ["billing_error", "QuotaExhaustedError", false], ["permission_error", "AuthenticationError", false]
  ] as const) {
    it.effect(`${type} within a stream is ${reason}`, () =>
      Effect.gen(function*() {
        const { answer, error, parts } = yield* answerTo([...begun, { type: "error", error: { type, message: "Sorry" } }])
        assert.isUndefined(answer)
        assert.strictEqual(parts.length, 3)
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.strictEqual(failure.reason, reason)
        assert.strictEqual(failure.retryable, retryable)
        assert.strictEqual(failure.requestId, "req_1")
      }))
  }

  for (const [status, type, reason, retryable] of [
    [400, "invalid_request_error", "InvalidRequestError", false], [401, "authentication_error", "AuthenticationError", false],
    [402, "billing_error", "QuotaExhaustedError", false], [403, "permission_error", "AuthenticationError", false],
    [404, "not_found_error", "InvalidRequestError", false], [408, "timeout_error", "InternalProviderError", true],
    [409, "conflict", "InternalProviderError", true], [413, "request_too_large", "InvalidRequestError", false],
    [500, "api_error", "InternalProviderError", true], [529, "overloaded_error", "InternalProviderError", true]
  ] as const) {
    it.effect(`status ${status} is ${reason}, and is asked once`, () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ status, headers: { "content-type": "application/json", "request-id": "req_5" }, body: errorBody(type, "It is so.") })
        const { error } = yield* ask(server.url)
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.strictEqual(failure.reason, reason)
        assert.strictEqual(failure.retryable, retryable)
        assert.strictEqual(failure.requestId, "req_5")
        assert.include(failure.message, "It is so.")
        assert.strictEqual(server.received.length, 1)
      })))
  }

  it.effect("a 529 that is no JSON is told too", () =>
    Effect.gen(function*() {
      const failure = yield* failureOf({ status: 529, body: "<h1>busy</h1>", headers: { "content-type": "text/html" } })
      assert.strictEqual(failure.reason, "InternalProviderError")
      assert.include(failure.message, "529")
    }))

  it.effect("a rate limit says when to come back, at most in a minute", () =>
    Effect.gen(function*() {
      const limit = (headers: Record<string, string>, details?: object) =>
        failureOf({ status: 429, headers: { "content-type": "application/json", ...headers }, body: errorBody("rate_limit_error", "Slow down.", details) })
      assert.include((yield* limit({ "retry-after": "7" })).message, "Slow down.")
      assert.deepInclude(yield* limit({ "retry-after": "7" }), { reason: "RateLimitError", retryAfterMs: 7000, retryable: true })
      assert.deepInclude(yield* limit({ "retry-after-ms": "250", "retry-after": "7" }), { reason: "RateLimitError", retryAfterMs: 250 })
      assert.deepInclude(yield* limit({ "retry-after": "86400" }), { reason: "RateLimitError", retryAfterMs: 60_000 })
      assert.deepInclude(yield* limit({ "x-should-retry": "true" }), { reason: "RateLimitError", retryAfterMs: null })
      assert.deepInclude(yield* limit({}), { reason: "QuotaExhaustedError", retryable: false })
      assert.deepInclude(yield* limit({ "retry-after": "7" }, { error_code: "enforced_spend_limit_reached" }), { reason: "QuotaExhaustedError", retryable: false })
    }))

  it.effect("an empty purse is told by its message as well", () =>
    Effect.gen(function*() {
      const failure = yield* failureOf({
        status: 400, headers: { "content-type": "application/json" },
        body: errorBody("invalid_request_error", "Your credit balance is too low to access the Anthropic API.")
      })
      assert.strictEqual(failure.reason, "QuotaExhaustedError")
      assert.include(failure.message, "credit balance")
    }))
})

transportFaults("Anthropic", asked, {
  begun: sse([start(), { type: "content_block_start", index: 0, content_block: { type: "text", text: "Hel" } }]),
  begins: ["response-metadata", "text-start", "text-delta"],
  rest: sse([...text(1, "late"), ...end("end_turn")]),
  keepAlive: sse([{ type: "ping" }]),
  ending: "before its message_stop"
})
