import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { describe as describeFailure } from "../../src/Model.ts"
import * as Money from "../../src/Money.ts"
import { transportFaults } from "../support/faults.ts"
import {
  answerTo, ask, asked, atEveryByte, type Chunk, chunk, delta, end, errorBody, failureOf, type Outcome, processing, sse, text, toolCall, usage
} from "../support/openrouter.ts"
import { replay } from "../support/replay.ts"

const thought = (fields: object) => ({ type: "reasoning.text", format: "anthropic-claude-v1", index: 0, ...fields })

/** Every shape of an answer at once: keep-alives, reasoning with its details, two tools at a time, things that do not exist yet. */
const rich: ReadonlyArray<Chunk> = [
  processing,
  processing,
  delta({ reasoning: "Grüße, ", reasoning_details: [thought({ text: "Grüße, " })] }),
  "event: weather\nid: 7\nretry: 3000",
  delta({ reasoning: "🦊!", reasoning_details: [thought({ text: "🦊!" })] }),
  delta({ reasoning_details: [thought({ signature: "sig/+=ä" })] }),
  ...text("Let me ", "look — 🌍."),
  processing,
  toolCall({ index: 0, id: "call_a", type: "function", function: { name: "weather", arguments: "" } }),
  toolCall({ index: 0, function: { arguments: "{\"city\":\"Köl" } }),
  toolCall({ index: 1, id: "call_b", type: "function", function: { name: "clock", arguments: "{}" } }),
  toolCall({ index: 0, function: { arguments: "n\"}" } }),
  chunk({ delta: { hologram: { depth: 3 }, reasoning_details: [{ type: "reasoning.encrypted", data: "opaque==", id: "call_a", index: 1 }] } }),
  { object: "chat.completion.chunk", weather: "blue" },
  ...end("tool_calls", "tool_use", usage(137, 50, {
    cost: 0.0011560000000000001,
    prompt_tokens_details: { cached_tokens: 100, cache_write_tokens: 30 },
    completion_tokens_details: { reasoning_tokens: 30 },
    server_tool_use: { web_search_requests: 2 }
  }))
]

const checkRich = ({ answer, error, parts }: Outcome) => {
  assert.isUndefined(error)
  assert.deepInclude(answer, {
    parts: [
      {
        type: "reasoning", text: "Grüße, 🦊!",
        opaque: {
          openrouter: {
            reasoning_details:
              "[{\"type\":\"reasoning.text\",\"format\":\"anthropic-claude-v1\",\"index\":0,\"text\":\"Grüße, 🦊!\",\"signature\":\"sig/+=ä\"},{\"type\":\"reasoning.encrypted\",\"data\":\"opaque==\",\"id\":\"call_a\",\"index\":1}]"
          }
        }
      },
      { type: "text", text: "Let me look — 🌍." },
      { type: "tool-call", id: "call_a", name: "weather", arguments: "{\"city\":\"Köln\"}" },
      { type: "tool-call", id: "call_b", name: "clock", arguments: "{}" }
    ],
    finish: "tool-calls",
    note: null,
    requestId: "gen-1",
    servedModel: "deepseek/deepseek-v4-pro-0813",
    host: "DeepInfra",
    nativeFinish: "tool_use",
    reportedCost: Option.some(Money.usd("0.001156"))
  })
  assert.deepInclude(answer?.usage, { uncached: 7, cacheRead: 100, cacheWrite: 30, cacheWriteHour: 0, output: 50, reasoning: 30, webSearches: 2 })
  const metadata = parts[0]?.type === "response-metadata" ? parts[0].metadata?.["openrouter"] : undefined
  assert.deepStrictEqual(metadata, { requestId: "gen-1", host: "DeepInfra" })
}

describe("OpenRouter, own bytes", () => {
  it.effect("reads every shape of an answer", () => Effect.map(answerTo(rich), checkRich))

  it.live("reads it cut in two at every byte, and in pieces of one byte", () => atEveryByte(sse(rich), checkRich), 240_000)

  it.effect("reads it with the line ends of other systems, and with an end that no blank line follows", () =>
    Effect.gen(function*() {
      for (const body of [sse(rich).replaceAll("\n", "\r\n"), sse(rich).replaceAll("\n", "\r"), sse(rich, "data: [DONE]"), `\uFEFF${sse(rich)}`]) {
        checkRich(yield* answerTo([], { body }))
      }
    }))

  it.effect("is whole without [DONE] once the end and its usage have come, even if the last line is not ended", () =>
    Effect.gen(function*() {
      checkRich(yield* answerTo([], { body: sse(rich, "") }))
      checkRich(yield* answerTo([], { body: sse(rich, "").trimEnd() }))
    }))

  it.effect("starts, continues and ends each part, and ends a finished call when the next begins", () =>
    Effect.gen(function*() {
      const { parts } = yield* answerTo([
        delta({ reasoning: "a" }), ...text("b"), delta({ reasoning: "c" }),
        toolCall({ index: 0, id: "x", function: { name: "f", arguments: "{\"n\":1}" } }),
        toolCall({ index: 1, id: "y", function: { name: "g", arguments: "{}" } }),
        ...text("d"), ...end("tool_calls", "tool_calls")
      ])
      assert.deepStrictEqual(parts.map((part) => "id" in part && part.type !== "response-metadata" ? `${part.type} ${part.id}` : part.type), [
        "response-metadata", "reasoning-start 0", "reasoning-delta 0", "text-start 1", "text-delta 1", "text-end 1",
        "reasoning-start 2", "reasoning-delta 2", "tool-params-start x", "tool-params-delta x", "tool-params-end x", "tool-call x",
        "tool-params-start y", "tool-params-delta y", "text-start 3", "text-delta 3", "text-end 3",
        "reasoning-end 0", "reasoning-end 2", "tool-params-end y", "tool-call y", "finish"
      ])
    }))

  it.effect("takes reasoning from whichever field has it, once", () =>
    Effect.gen(function*() {
      for (const fields of [
        { reasoning: "hm" }, { reasoning_content: "hm" }, { reasoning: "hm", reasoning_content: "hm" }, { reasoning: null, reasoning_content: "hm" }, { reasoning: "", reasoning_content: "hm" },
        { reasoning_details: [thought({ text: "hm" })] }, { reasoning_details: [{ type: "reasoning.summary", summary: "hm" }] },
        { reasoning: "hm", reasoning_details: [thought({ text: "hm" })] }
      ]) {
        const { answer } = yield* answerTo([delta(fields), ...text("x"), ...end("stop", "stop")])
        assert.deepStrictEqual(answer?.parts.map(({ type, ...part }) => [type, "text" in part && part.text]), [["reasoning", "hm"], ["text", "x"]])
      }
    }))

  it.effect("keeps details that come without any text, and blocks that a signature ends apart", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([
        delta({ reasoning_details: [{ type: "reasoning.encrypted", data: "a", index: 0 }] }),
        delta({ reasoning_details: [{ type: "reasoning.encrypted", data: "b", index: 0 }, null, "odd"] }),
        delta({ reasoning_details: [thought({ text: "", signature: "one" })] }),
        delta({ reasoning_details: [thought({ text: "two", signature: null })] }),
        ...text("x"), ...end("stop", "stop")
      ])
      const [first, second] = answer?.parts ?? []
      assert.strictEqual(first?.type === "reasoning" ? first.text : first?.type, "two")
      assert.deepStrictEqual(JSON.parse(first?.opaque?.["openrouter"]?.["reasoning_details"] ?? ""), [
        { type: "reasoning.encrypted", data: "a", index: 0 }, { type: "reasoning.encrypted", data: "b", index: 0 },
        thought({ text: "", signature: "one" }), thought({ text: "two", signature: null })
      ])
      assert.deepStrictEqual(second, { type: "text", text: "x" })
      const { answer: bare } = yield* answerTo([delta({ reasoning_details: [{ type: "reasoning.encrypted", data: "a" }] }), ...end("stop", "stop")])
      assert.deepStrictEqual(bare?.parts, [
        { type: "reasoning", text: "", opaque: { openrouter: { reasoning_details: "[{\"type\":\"reasoning.encrypted\",\"data\":\"a\"}]" } } }
      ])
    }))

  for (const [finish, native, reason] of [
    ["stop", "stop", "stop"], ["length", "MAX_TOKENS", "length"], ["content_filter", "refusal", "content-filter"], ["hologram", "x", "other"]
  ] as const) {
    it.effect(`ends with ${finish}`, () =>
      Effect.gen(function*() {
        const { answer } = yield* answerTo([...text("x"), ...end(finish, native)])
        assert.deepInclude(answer, { finish: reason, nativeFinish: native })
      }))
  }

  it.effect("makes no call out of what a refusal cut off, and tells what was said", () =>
    Effect.gen(function*() {
      const { answer, parts } = yield* answerTo([
        toolCall({ index: 0, id: "x", function: { name: "harm", arguments: "{\"a\":" } }), delta({ refusal: "I will not." }), ...end("content_filter", "refusal")
      ])
      assert.deepInclude(answer, { finish: "content-filter", note: "I will not.", parts: [] })
      assert.isFalse(parts.some((part) => part.type === "tool-call"))
    }))

  it.effect("calls tools although the host says that it just stopped", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([toolCall({ index: 0, id: "x", function: { name: "f", arguments: "{}" } }), ...end("stop", "stop")])
      assert.strictEqual(answer?.finish, "tool-calls")
    }))

  it.effect("gives the text of arguments that were cut, and of those that would set a prototype", () =>
    Effect.gen(function*() {
      const { answer, parts } = yield* answerTo([
        toolCall({ index: 0, id: "a", function: { name: "write", arguments: "{\"__proto__\":{\"x\":1}}" } }),
        toolCall({ index: 1, id: "b", function: { name: "write", arguments: "[1]" } }),
        toolCall({ index: 2, id: "c", function: { name: "write", arguments: "{\"text\":\"never end" } }), ...end("length", "length")
      ])
      assert.deepStrictEqual(parts.flatMap((part) => part.type === "tool-call" ? [part.params] : []), [
        "{\"__proto__\":{\"x\":1}}", "[1]", "{\"text\":\"never end"
      ])
      assert.strictEqual(answer?.finish, "length")
    }))

  for (const [cost, told] of [
    [0.1 + 0.2, "0.3"], [1e-7, "0.0000001"], [0, "0"], [12, "12"], [0.000000000001, "0.000000000001"], [1.5e-13, "0"]
  ] as const) {
    it.effect(`writes a cost of ${cost} as ${told}`, () =>
      Effect.gen(function*() {
        const { answer } = yield* answerTo([...text("x"), ...end("stop", "stop", usage(1, 1, { cost }))])
        assert.deepStrictEqual(answer?.reportedCost, Option.some(Money.usd(told)))
      }))
  }

  it.effect("adds what the host takes where the key for it is one's own", () =>
    Effect.gen(function*() {
      const billed = (more: object) => Effect.map(answerTo([...text("x"), ...end("stop", "stop", usage(1, 1, more))]), ({ answer }) => answer?.reportedCost)
      const cost_details = { upstream_inference_cost: 0.02 }
      assert.deepStrictEqual(yield* billed({ cost: 0.001, is_byok: true, cost_details }), Option.some(Money.usd("0.021")))
      assert.deepStrictEqual(yield* billed({ cost: 0.02, is_byok: false, cost_details }), Option.some(Money.usd("0.02")))
      for (const cost of [undefined, null, "1", -1, 1e30]) assert.deepStrictEqual(yield* billed({ cost }), Option.none())
    }))

  it.effect("takes the last usage, with empty choices too, DeepSeek's own count of cached tokens, and no nonsense", () =>
    Effect.gen(function*() {
      const [finish] = end("stop", "stop")
      assert.isDefined(finish)
      const of = (...usages: ReadonlyArray<unknown>) =>
        Effect.map(answerTo([...text("x"), finish, ...usages.map((use) => chunk({}, { choices: [], usage: use }))]), ({ answer }) => answer?.usage)
      assert.deepInclude(yield* of(null, usage(7, 3), null), { uncached: 7, output: 3, reasoning: 0 })
      assert.deepInclude(yield* of(usage(7, 3, { prompt_cache_hit_tokens: 5 })), { uncached: 2, cacheRead: 5 })
      assert.deepInclude(yield* of(usage(7, 3, { prompt_tokens_details: { cached_tokens: 9 }, completion_tokens_details: { reasoning_tokens: 99 } })), {
        uncached: 0, cacheRead: 9, output: 3, reasoning: 3
      })
      assert.deepInclude(yield* of({ prompt_tokens: -1, completion_tokens: 1.5, prompt_tokens_details: 7 }), { uncached: 0, output: 0 })
    }))

  it.effect("survives chunks without their fields, and content in pieces", () =>
    Effect.gen(function*() {
      const { answer, error } = yield* answerTo([
        "data: 7", "data: null", "data: []", "data: {}", "data", "data:", { choices: null }, { choices: [null] }, { choices: [{}] }, { choices: [{ delta: null }] },
        { choices: [{ delta: { content: [{ type: "text", text: "a" }, null, { type: "image" }], tool_calls: [], reasoning: 3 } }] },
        { choices: [{ delta: { content: "b", tool_calls: [null, {}, { function: null }] } }], error: null },
        { choices: [{ finish_reason: "stop" }] }
      ], { headers: {} })
      assert.isUndefined(error)
      assert.deepInclude(answer, { parts: [{ type: "text", text: "ab" }], requestId: null, servedModel: null })
    }))

  it.effect("reads an answer of a gateway that does not stream", () =>
    Effect.gen(function*() {
      const body = `\n   \n   \n${JSON.stringify({
        id: "gen-1", object: "chat.completion", model: "deepseek/deepseek-v4-pro-0813", provider: "DeepInfra", usage: usage(3, 2, { cost: 0.5 }),
        choices: [{
          finish_reason: "tool_calls", native_finish_reason: "tool_use",
          message: { role: "assistant", content: "Looking.", tool_calls: [{ type: "function", id: "x", function: { name: "f", arguments: "{}" } }] }
        }]
      }, null, 2)}\n`
      const { answer, error } = yield* answerTo([], { body, headers: { "content-type": "application/json" } })
      assert.isUndefined(error)
      assert.deepInclude(answer, { finish: "tool-calls", reportedCost: Option.some(Money.usd("0.5")) })
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Looking." }, { type: "tool-call", id: "x", name: "f", arguments: "{}" }])
      const { error: cut } = yield* answerTo([], { body: body.slice(0, -20) })
      assert.isDefined(cut)
      assert.deepInclude(describeFailure(cut), { reason: "NetworkError", retryable: true })
    }))
})

describe("OpenRouter, failures", () => {
  const begun = text("Hel")

  const within = (error: unknown, more: object = {}) =>
    Effect.map(answerTo([...begun, chunk({ delta: { content: "" }, finish_reason: "error", ...more }, { error }), ...text("after")]), ({ answer, error, parts }) => {
      assert.isUndefined(answer)
      assert.deepStrictEqual(parts.map((part) => part.type), ["response-metadata", "text-start", "text-delta"])
      assert.isDefined(error)
      return describeFailure(error)
    })

  for (const [code, error_type, reason, retryable] of [
    [429, undefined, "RateLimitError", true], ["rate_limit_exceeded", undefined, "RateLimitError", true], [502, "provider_unavailable", "InternalProviderError", true],
    ["503", undefined, "InternalProviderError", true], ["server_error", undefined, "InternalProviderError", true], [402, "payment_required", "QuotaExhaustedError", false],
    ["x", "content_policy_violation", "ContentPolicyError", false], ["x", "context_length_exceeded", "InvalidRequestError", false],
    [undefined, "provider_overloaded", "InternalProviderError", true], [undefined, "hologram", "InternalProviderError", true]
  ] as const) {
    it.effect(`an error ${code} ${error_type ?? ""} within a stream is ${reason}`, () =>
      Effect.gen(function*() {
        const failure = yield* within({ code, message: "Sorry", metadata: { error_type, provider_name: "Alibaba", raw: "busy" } })
        assert.deepInclude(failure, { reason, retryable, requestId: "gen-1" })
        assert.include(failure.message, "Sorry (Alibaba: busy)")
      }))
  }

  it.effect("an error counts by its field, whatever the finish_reason is, and however odd it is", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* within({ code: 500, message: "Oh" }, { finish_reason: null }), { reason: "InternalProviderError" })
      assert.deepInclude(yield* within({ code: 500, message: "Oh" }, { finish_reason: "stop" }), { reason: "InternalProviderError" })
      assert.include((yield* within("just text")).message, "just text")
      assert.include((yield* within(undefined)).message, "broke the answer off")
      assert.include((yield* within(undefined, { finish_reason: "insufficient_system_resource" })).message, "broke the answer off")
      assert.include((yield* within(undefined, { error: { code: 429, message: "in the choice" } })).message, "in the choice")
    }))

  it.effect("what was billed by then is told before the failure", () =>
    Effect.gen(function*() {
      for (const failed of [{ error: { code: 502, message: "Oh" } }, { choices: [{ delta: {}, finish_reason: "error" }] }]) {
        const { answer, error, parts } = yield* answerTo([...begun, chunk({ delta: {} }, { usage: usage(7, 3, { cost: 0.25 }), ...failed })])
        assert.isUndefined(answer)
        assert.isDefined(error)
        const finish = parts.at(-1)
        assert.isTrue(finish?.type === "finish" && finish.reason === "error")
        if (finish?.type !== "finish") return
        assert.deepInclude(finish.usage.inputTokens, { total: 7 })
        assert.deepInclude(finish.metadata?.["openrouter"], { cost: "0.25", requestId: "gen-1" })
      }
    }))

  const billed = (parts: Outcome["parts"]) => parts.flatMap((part) => part.type === "finish" ? [part] : [])

  it.effect("what is billed only after the error is read on for, and nothing else of it is taken", () =>
    Effect.gen(function*() {
      const error = chunk({ delta: {}, finish_reason: null }, { error: { code: 502, message: "Oh" } })
      const late = { choices: [], usage: usage(7, 3, { cost: 0.25 }) }
      const pieces = sse([...begun, error]).length - "data: [DONE]\n\n".length
      for (const script of [
        { body: sse([...begun, error, ...text("after"), processing, late]) },
        { body: sse([...begun, error, late, { choices: [], usage: usage(9, 9) }]) },
        // In a piece of its own, with a connection that breaks or stays open after it.
        { body: sse([...begun, error, late], ""), cuts: [pieces], gap: 30, then: "reset" },
        { body: sse([...begun, error, late], ""), cuts: [pieces], gap: 30, then: "hang" },
        { body: sse([...begun, "data: nonsense", late]) },
        { body: JSON.stringify([...begun, error, late]), headers: { "content-type": "application/json" } }
      ] as const) {
        const { answer, error, parts } = yield* answerTo([], script)
        assert.isUndefined(answer)
        assert.isDefined(error)
        assert.notInclude(describeFailure(error).reason, "NetworkError")
        const [finish, ...more] = billed(parts)
        assert.deepStrictEqual(more, [])
        assert.deepInclude(finish, { reason: "error" })
        assert.deepInclude(finish?.usage.inputTokens, { total: 7 })
        assert.deepInclude(finish?.metadata?.["openrouter"], { cost: "0.25" })
        assert.strictEqual(parts.flatMap((part) => part.type === "text-delta" ? [part.delta] : []).join(""), "Hel")
      }
    }))

  it.live("nobody waits for a bill for longer than a second, or reads much for it", () =>
    Effect.gen(function*() {
      const error = chunk({ delta: {} }, { error: { code: 502, message: "Oh" } })
      const late = { choices: [], usage: usage(7, 3) }
      for (const script of [
        { body: sse([...begun, error], ""), then: "hang" },
        { body: sse([...begun, error, late], "data: [DONE]\n\n"), cuts: [sse([...begun, error], "").length], gap: 2_500 },
        { body: sse([...begun, error, ...text("x".repeat(100_000)), late]), pieces: 4_096 },
        { body: sse([...begun, error]) },
        { body: sse([...begun, error], ""), then: "reset" }
      ] as const) {
        const { error, parts } = yield* answerTo([], script)
        assert.isDefined(error)
        assert.include(error.message, "Oh")
        assert.deepStrictEqual(billed(parts), [])
      }
    }))

  it.effect("an error may come as JSON with status 200", () =>
    Effect.gen(function*() {
      const { error } = yield* answerTo([], { body: `   \n${errorBody(429, "Slow down.")}`, headers: { "content-type": "application/json" } })
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "RateLimitError", retryable: true })
    }))

  for (const [status, message, metadata, reason, retryable] of [
    [400, "temperature must be a number", undefined, "InvalidRequestError", false],
    [401, "No auth credentials found", undefined, "AuthenticationError", false],
    [402, "Insufficient credits. Add more using https://openrouter.ai/credits", undefined, "QuotaExhaustedError", false],
    [403, "Your chosen model requires moderation", { reasons: ["violence"], flagged_input: "…" }, "ContentPolicyError", false],
    [403, "Key limit exceeded (monthly limit)", undefined, "QuotaExhaustedError", false],
    [403, "Only management keys may do this", undefined, "AuthenticationError", false],
    [404, "No endpoints found for qwen/qwen9", undefined, "InvalidRequestError", false],
    [408, "Request timed out", undefined, "InternalProviderError", true],
    [413, "Payload too large", undefined, "InvalidRequestError", false],
    [429, "Provider returned error", { raw: "qwen is temporarily rate-limited upstream", provider_name: "Alibaba" }, "RateLimitError", true],
    [429, "Rate limit exceeded: free-models-per-day", undefined, "QuotaExhaustedError", false],
    [500, "Internal Server Error", undefined, "InternalProviderError", true],
    [502, "Provider returned error", { raw: { odd: true } }, "InternalProviderError", true],
    [503, "No instances available", undefined, "InternalProviderError", true],
    [529, "Overloaded", undefined, "InternalProviderError", true]
  ] as const) {
    it.effect(`status ${status}, "${message}", is ${reason}, and is asked once`, () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ status, headers: { "content-type": "application/json", "x-generation-id": "gen-5" }, body: errorBody(status, message, metadata) })
        const { error } = yield* ask(server.url)
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.deepInclude(failure, { reason, retryable, requestId: "gen-5" })
        assert.include(failure.message, message)
        assert.strictEqual(server.received.length, 1)
      })))
  }

  it.effect("a refusal says what to do", () =>
    Effect.gen(function*() {
      const told = (status: number, message: string) => Effect.map(failureOf({ status, body: errorBody(status, message) }), ({ message }) => message)
      assert.include(yield* told(401, "No auth credentials found"), "Check OPENROUTER_API_KEY")
      assert.include(yield* told(402, "Insufficient credits"), "billing")
      assert.include(yield* told(404, "No such model"), "https://openrouter.ai/models")
      assert.include(yield* told(400, "This endpoint's maximum context length is 200000 tokens."), "choose a model with a longer context")
    }))

  it.effect("a refusal that is no JSON is told too, not more of it than fits", () =>
    Effect.gen(function*() {
      const failure = yield* failureOf({ status: 529, body: "<h1>busy</h1>".repeat(50_000), headers: { "content-type": "text/html" } })
      assert.strictEqual(failure.reason, "InternalProviderError")
      assert.include(failure.message, "529: <h1>busy")
      assert.isBelow(failure.message.length, 500)
      assert.include((yield* failureOf({ status: 500, body: "" })).message, "status 500: an empty answer")
    }))

  it.effect("a refusal that breaks off is told by its status", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* failureOf({ status: 401, body: "{\"error\":", then: "reset" }), { reason: "AuthenticationError", retryable: false })
    }))

  it.effect("a redirect is not followed, because it would take the key elsewhere", () =>
    Effect.scoped(Effect.gen(function*() {
      const other = yield* replay({ body: "" })
      const failure = yield* failureOf({ status: 307, headers: { location: `${other.url}/elsewhere` }, body: "" })
      assert.deepInclude(failure, { reason: "InvalidRequestError", retryable: false })
      assert.include(failure.message, "OPENROUTER_BASE_URL")
      assert.strictEqual(other.received.length, 0)
    })))

  it.effect("a rate limit says when to come back, at most in a minute; without that it is one still", () =>
    Effect.gen(function*() {
      const limit = (headers: Record<string, string>, more: object = {}, status = 429) =>
        failureOf({ status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ error: { code: status, message: "Slow down.", ...more } }) })
      const isLimit = (retryAfterMs: number | null) => ({ reason: "RateLimitError", retryable: true, retryAfterMs })
      assert.include((yield* limit({})).message, "Slow down.")
      assert.deepInclude(yield* limit({}), isLimit(null))
      assert.deepInclude(yield* limit({ "retry-after": "7" }), isLimit(7000))
      assert.deepInclude(yield* limit({ "retry-after-ms": "250", "retry-after": "7" }), isLimit(250))
      assert.deepInclude(yield* limit({ "retry-after": "86400" }), isLimit(60_000))
      assert.deepInclude(yield* limit({ "retry-after": "-1" }), isLimit(null))
      assert.deepInclude(yield* limit({ "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT" }), isLimit(null))
      assert.deepInclude(yield* limit({}, { availability: { retry_after: 12 } }), isLimit(12_000))
      // The test's clock stands at zero.
      assert.deepInclude(yield* limit({ "x-ratelimit-reset": "4000" }), isLimit(4000))
      assert.deepInclude(yield* limit({ "retry-after": "3" }, {}, 402), isLimit(3000))
      assert.deepInclude(yield* limit({ "retry-after": "3" }, {}, 503), { reason: "InternalProviderError", retryable: true, retryAfterMs: 3000 })
    }))
})

transportFaults("OpenRouter", asked, {
  begun: sse([processing, ...text("Hel")], ""),
  begins: ["response-metadata", "text-start", "text-delta"],
  rest: sse([...text("lo"), ...end("stop", "stop")]),
  keepAlive: `${processing}\n\n`,
  ending: "before its finish_reason"
})
