import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { describe as describeFailure } from "../../src/Model.ts"
import { transportFaults } from "../support/faults.ts"
import {
  answerTo, ask, asked, atEveryByte, call, chunk, type Chunk, errorBody, failureOf, last, models, quota, request, resolved, retryInfo, sse, usage
} from "../support/gemini.ts"
import { replay } from "../support/replay.ts"
import { type Outcome, play } from "../support/wire.ts"

/** Every shape of an answer at once: thoughts, signatures on everything, calls with and without id, things that do not exist yet. */
const rich: ReadonlyArray<Chunk> = [
  chunk([{ text: "Grüße, ", thought: true }], {}, { usageMetadata: usage(137, 0) }),
  chunk([{ text: "🦊!", thought: true }]),
  chunk([{ text: "signed thought", thought: true, thoughtSignature: "sig/+=ä" }]),
  chunk([{ text: "Let me " }, { text: "look — 🌍." }]),
  chunk([{ text: "" }, { hologram: { depth: 3 } }, { executableCode: { code: "1" }, thoughtSignature: "nobody's" }]),
  chunk([{ text: "", thoughtSignature: "empty-but-signed" }]),
  chunk([{ text: "Now." }, call("weather", { city: "Köln" }, { thoughtSignature: "call-signed" }), { functionCall: { id: "call_9", name: "clock" } }]),
  { weatherReport: "blue" },
  chunk([call("clock", { zone: "UTC" })], { finishReason: "STOP", finishMessage: "Model generated function call(s)." }, {
    usageMetadata: usage(137, 20, { cachedContentTokenCount: 100, toolUsePromptTokenCount: 3, thoughtsTokenCount: 30, totalTokenCount: 190 })
  })
]

const checkRich = (outcome: Outcome) => {
  assert.isUndefined(outcome.error)
  assert.deepStrictEqual(outcome.answer, {
    parts: [
      { type: "reasoning", text: "Grüße, 🦊!" },
      { type: "reasoning", text: "signed thought", opaque: { google: { thoughtSignature: "sig/+=ä" } } },
      { type: "text", text: "Let me look — 🌍." },
      { type: "text", text: "", opaque: { google: { thoughtSignature: "empty-but-signed" } } },
      { type: "text", text: "Now." },
      { type: "tool-call", id: "call_resp-1_1", name: "weather", arguments: "{\"city\":\"Köln\"}", opaque: { google: { thoughtSignature: "call-signed" } } },
      { type: "tool-call", id: "call_9", name: "clock", arguments: "{}", opaque: { google: { id: "call_9" } } },
      { type: "tool-call", id: "call_resp-1_3", name: "clock", arguments: "{\"zone\":\"UTC\"}" }
    ],
    finish: "tool-calls",
    note: null,
    usage: { uncached: 40, cacheRead: 100, cacheWrite: 0, cacheWriteHour: 0, output: 50, reasoning: 30 },
    requestId: "resp-1",
    servedModel: "gemini-3.8-flash",
    host: null,
    nativeFinish: "STOP",
    reportedCost: Option.none()
  })
}

describe("Gemini, own bytes", () => {
  it.effect("reads every shape of an answer", () =>
    Effect.gen(function*() {
      const outcome = yield* answerTo(rich)
      checkRich(outcome)
      const finish = outcome.parts.find((part) => part.type === "finish")
      assert.deepStrictEqual(finish?.usage, {
        inputTokens: { uncached: 40, cacheRead: 100, cacheWrite: 0, total: 140 },
        outputTokens: { total: 50, reasoning: 30, text: 20 }
      })
      assert.deepStrictEqual(finish?.metadata?.["google"], { nativeFinish: "STOP", requestId: "resp-1" })
    }))

  it.live("reads it cut in two at every byte, and in pieces of one byte", () => atEveryByte(sse(rich), checkRich), 120_000)

  it.live("reads it in a slow drip", () =>
    Effect.gen(function*() {
      checkRich(yield* answerTo(rich, undefined, { pieces: 97, gap: 2 }))
    }))

  it.effect("reads a document of chunks, and one with bare line feeds", () =>
    Effect.gen(function*() {
      checkRich(yield* answerTo([], undefined, { body: JSON.stringify(rich, null, 2), headers: { "content-type": "application/json" } }))
      checkRich(yield* answerTo([], undefined, { body: `: hello\n\n${sse(rich).replaceAll("\r\n", "\n")}` }))
    }))

  for (const [native, finish] of [
    ["STOP", "stop"], ["MAX_TOKENS", "length"], ["SAFETY", "content-filter"], ["RECITATION", "content-filter"], ["LANGUAGE", "content-filter"],
    ["BLOCKLIST", "content-filter"], ["PROHIBITED_CONTENT", "content-filter"], ["SPII", "content-filter"], ["OTHER", "other"], ["TEA_TIME", "other"]
  ] as const) {
    it.effect(`ends with ${finish} at ${native}`, () =>
      Effect.gen(function*() {
        const { answer, parts } = yield* answerTo([last(native, [{ text: "a" }])])
        assert.strictEqual(answer?.finish, finish)
        assert.strictEqual(answer?.note, native === "STOP" || native === "MAX_TOKENS" ? null : native)
        assert.deepInclude(parts.at(-1)?.metadata?.["google"], { nativeFinish: native })
      }))
  }

  it.effect("tells why it was refused, and makes no call of what the refusal cut off", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([
        chunk([{ text: "I will" }, call("harm", {})]),
        last("SAFETY", [], { safetyRatings: [{ category: "HARM_CATEGORY_A", blocked: true }, { category: "HARM_CATEGORY_B" }] })
      ])
      assert.strictEqual(answer?.finish, "content-filter")
      assert.strictEqual(answer?.note, "HARM_CATEGORY_A")
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "I will" }])
      const told = yield* answerTo([last("SAFETY", [], { finishMessage: "It could do harm." })])
      assert.strictEqual(told.answer?.note, "It could do harm.")
    }))

  it.effect("tells that the prompt was blocked, and what it cost", () =>
    Effect.gen(function*() {
      const blocked = { promptFeedback: { blockReason: "PROHIBITED_CONTENT" }, usageMetadata: { promptTokenCount: 12 }, modelVersion: "gemini-3.8-flash", responseId: "resp-2" }
      const { answer, error, parts } = yield* answerTo([blocked])
      assert.isUndefined(error)
      assert.strictEqual(answer?.finish, "content-filter")
      assert.strictEqual(answer?.note, "the prompt was blocked: PROHIBITED_CONTENT")
      assert.deepStrictEqual(answer?.parts, [])
      assert.strictEqual(answer?.usage.uncached, 12)
      assert.deepInclude(parts.at(-1)?.metadata?.["google"], { nativeFinish: "PROHIBITED_CONTENT", requestId: "resp-2" })
      const rated = yield* answerTo([{ promptFeedback: { blockReason: "SAFETY", safetyRatings: [{ category: "HARM_CATEGORY_A", blocked: true }] } }])
      assert.strictEqual(rated.answer?.note, "the prompt was blocked: HARM_CATEGORY_A")
    }))

  for (const reason of ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"]) {
    it.effect(`${reason} is to be tried again`, () =>
      Effect.gen(function*() {
        const { answer, error } = yield* answerTo([last(reason, [{ text: "Let me" }], { finishMessage: "print(x" })])
        assert.isUndefined(answer)
        assert.isDefined(error)
        assert.deepInclude(describeFailure(error), { reason: "InvalidOutputError", retryable: true, requestId: "resp-1" })
        assert.include(describeFailure(error).message, "print(x")
      }))
  }

  it.effect("a slip is paid for as it was counted", () =>
    Effect.gen(function*() {
      const usageMetadata = { promptTokenCount: 20, candidatesTokenCount: 4, thoughtsTokenCount: 9 }
      const { parts } = yield* answerTo([{ candidates: [{ finishReason: "MALFORMED_FUNCTION_CALL" }], usageMetadata, responseId: "resp-1" }])
      const finish = parts.at(-1)
      assert.isTrue(finish?.type === "finish" && finish.reason === "error")
      if (finish?.type !== "finish") return
      assert.deepInclude(finish.usage.inputTokens, { total: 20 })
      assert.deepInclude(finish.usage.outputTokens, { total: 13, reasoning: 9 })
      assert.deepInclude(finish.metadata?.["google"], { nativeFinish: "MALFORMED_FUNCTION_CALL" })
    }))

  for (const reason of ["TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"]) {
    it.effect(`${reason} is not`, () =>
      Effect.gen(function*() {
        const { error } = yield* answerTo([last(reason)])
        assert.isDefined(error)
        assert.deepInclude(describeFailure(error), { reason: "InvalidRequestError", retryable: false })
        assert.include(describeFailure(error).message, reason)
      }))
  }

  it.effect("gives the text of arguments that would set a prototype, and of none an empty object", () =>
    Effect.gen(function*() {
      const { answer, parts } = yield* answerTo([], undefined, {
        body: `data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","args":{"__proto__":{"x":1}}}},{"functionCall":{"name":"b"}},{"functionCall":{"name":"c","args":null}}]},"finishReason":"STOP"}],"usageMetadata":{}}\r\n\r\n`
      })
      assert.deepStrictEqual(parts.filter((part) => part.type === "tool-call").map((part) => part.params), ["{\"__proto__\":{\"x\":1}}", {}, {}])
      assert.deepStrictEqual(answer?.parts.map((part) => part.type === "tool-call" && part.arguments), ["{\"__proto__\":{\"x\":1}}", "{}", "{}"])
      assert.deepStrictEqual(answer?.parts.map((part) => part.type === "tool-call" && part.id), ["call_gemini_1", "call_gemini_2", "call_gemini_3"])
    }))

  it.effect("takes counts of the last chunk that has them, also after the reason, and no nonsense", () =>
    Effect.gen(function*() {
      const { answer } = yield* answerTo([
        chunk([{ text: "x" }], {}, { usageMetadata: usage(12, 2, { cachedContentTokenCount: 50 }) }),
        chunk([], { finishReason: "STOP" }),
        { usageMetadata: { candidatesTokenCount: 21, promptTokenCount: -4, thoughtsTokenCount: 1.5, cachedContentTokenCount: "3" } }
      ])
      assert.deepStrictEqual(answer?.usage, { uncached: 0, cacheRead: 12, cacheWrite: 0, cacheWriteHour: 0, output: 21, reasoning: 0 })
      const none = yield* answerTo([chunk([{ text: "x" }], { finishReason: "STOP" })])
      assert.strictEqual(none.answer?.finish, "stop")
      assert.strictEqual(none.answer?.usage.output, 0)
    }))

  it.effect("survives chunks without their fields", () =>
    Effect.gen(function*() {
      const { answer, error } = yield* answerTo([
        {}, { candidates: null }, { candidates: [] }, { candidates: [null] }, { candidates: [{ content: {} }] },
        { candidates: [{ content: { parts: [null, {}, { text: 3 }, { thoughtSignature: "s" }] } }] },
        { candidates: [{ finishReason: "STOP" }], promptFeedback: {}, usageMetadata: null }
      ])
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "", opaque: { google: { thoughtSignature: "s" } } }])
      assert.strictEqual(answer?.requestId, null)
      assert.strictEqual(answer?.servedModel, null)
    }))
})

describe("Gemini, failures", () => {
  const begun = [chunk([{ text: "Hel" }])]

  it.effect("a chunk that is cut is a failure to try again", () =>
    Effect.gen(function*() {
      const body = sse([...begun, last("STOP")])
      assert.deepInclude(yield* failureOf({ body: body.slice(0, -60) }), { reason: "NetworkError", retryable: true })
    }))

  it.effect("an event that is not JSON is the provider's fault", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* failureOf({ body: `data: {"candidates":\r\n\r\n${sse(begun)}` }), { reason: "InternalProviderError", retryable: true })
    }))

  for (const [code, status, reason, retryable] of [
    [503, "UNAVAILABLE", "InternalProviderError", true], [500, "INTERNAL", "InternalProviderError", true],
    [undefined, "DEADLINE_EXCEEDED", "InternalProviderError", true], [undefined, undefined, "InternalProviderError", true],
    [429, "RESOURCE_EXHAUSTED", "RateLimitError", true], [400, "INVALID_ARGUMENT", "InvalidRequestError", false],
    [undefined, "PERMISSION_DENIED", "AuthenticationError", false]
  ] as const) {
    it.effect(`${status ?? "an error without a name"} within a stream is ${reason}`, () =>
      Effect.gen(function*() {
        const { answer, error, parts } = yield* answerTo([...begun, { error: { code, status, message: "Sorry" } }])
        assert.isUndefined(answer)
        assert.strictEqual(parts.length, 3)
        assert.isDefined(error)
        assert.deepInclude(describeFailure(error), { reason, retryable, requestId: "resp-1" })
        assert.include(describeFailure(error).message, "Sorry")
      }))
  }

  it.effect("an error in an answer of status 200 is told, as a document or in a list", () =>
    Effect.gen(function*() {
      const error = errorBody(503, "UNAVAILABLE", "The model is overloaded.")
      for (const body of [error, `[${error}]`]) {
        const failure = yield* failureOf({ body, headers: { "content-type": "application/json" } })
        assert.deepInclude(failure, { reason: "InternalProviderError", retryable: true })
        assert.include(failure.message, "overloaded")
      }
    }))

  for (const [status, name, reason, retryable] of [
    [400, "INVALID_ARGUMENT", "InvalidRequestError", false], [401, "UNAUTHENTICATED", "AuthenticationError", false],
    [403, "PERMISSION_DENIED", "AuthenticationError", false], [404, "NOT_FOUND", "InvalidRequestError", false],
    [499, "CANCELLED", "InvalidRequestError", false], [500, "INTERNAL", "InternalProviderError", true],
    [503, "UNAVAILABLE", "InternalProviderError", true], [504, "DEADLINE_EXCEEDED", "InternalProviderError", true]
  ] as const) {
    it.effect(`status ${status} is ${reason}, and is asked once`, () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ status, headers: { "content-type": "application/json" }, body: errorBody(status, name, "It is so.") })
        const { error } = yield* ask(server.url)
        assert.isDefined(error)
        assert.deepInclude(describeFailure(error), { reason, retryable })
        assert.include(describeFailure(error).message, "It is so.")
        assert.strictEqual(server.received.length, 1)
      })))
  }

  it.effect("a 502 that is no JSON is told too", () =>
    Effect.gen(function*() {
      const failure = yield* failureOf({ status: 502, body: "<h1>bad gateway</h1>", headers: { "content-type": "text/html" } })
      assert.strictEqual(failure.reason, "InternalProviderError")
      assert.include(failure.message, "bad gateway")
      assert.include((yield* failureOf({ status: 502, body: "" })).message, "status 502")
    }))

  it.effect("a rate limit says when to come back, at most in a minute; a quota of a day, or of nothing, is spent", () =>
    Effect.gen(function*() {
      const limit = (details: ReadonlyArray<object>, headers: Record<string, string> = {}, message = "You exceeded your current quota, please check your plan and billing details.") =>
        failureOf({ status: 429, headers: { "content-type": "application/json", ...headers }, body: errorBody(429, "RESOURCE_EXHAUSTED", message, details) })
      const minute = quota("GenerateRequestsPerMinutePerProjectPerModel")
      assert.deepInclude(yield* limit([minute, retryInfo("34.4s")]), { reason: "RateLimitError", retryAfterMs: 34_400, retryable: true })
      assert.deepInclude(yield* limit([retryInfo("86400s")]), { reason: "RateLimitError", retryAfterMs: 60_000 })
      assert.deepInclude(yield* limit([minute]), { reason: "RateLimitError", retryAfterMs: null, retryable: true })
      assert.deepInclude(yield* limit([], { "retry-after": "7" }), { reason: "RateLimitError", retryAfterMs: 7000 })
      assert.deepInclude(yield* limit([retryInfo("soon")]), { reason: "RateLimitError", retryAfterMs: null })
      assert.deepInclude(yield* limit([quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retryInfo("20s")]), { reason: "QuotaExhaustedError", retryable: false })
      assert.deepInclude(yield* limit([quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0")]), { reason: "QuotaExhaustedError" })
      assert.deepInclude(yield* limit([], {}, "Your prepayment credits are depleted."), { reason: "QuotaExhaustedError" })
    }))

  it.effect("tells a conversation that is too long, a key that is wrong and a purse that is empty from other bad requests", () =>
    Effect.gen(function*() {
      const bad = (message: string, status = "INVALID_ARGUMENT", details: ReadonlyArray<object> = []) =>
        failureOf({ status: 400, headers: { "content-type": "application/json" }, body: errorBody(400, status, message, details) })
      const long = yield* bad("The input token count (1048600) exceeds the maximum number of tokens allowed (1048576).")
      assert.strictEqual(long.reason, "InvalidRequestError")
      assert.include(long.message, "start a new session")
      const key = yield* bad("API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID" }])
      assert.strictEqual(key.reason, "AuthenticationError")
      assert.include(key.message, "Check GEMINI_API_KEY or GOOGLE_API_KEY")
      assert.strictEqual((yield* bad("Please enable billing on project.", "FAILED_PRECONDITION")).reason, "QuotaExhaustedError")
    }))

  it.effect("the key is the first of two variables that is set, and none is told by a sentence, with nothing sent", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body: sse([last("STOP", [{ text: "ok" }])]) })
      for (const [keys, sent] of [[{ GOOGLE_API_KEY: "other" }, "sk-test"], [{ GEMINI_API_KEY: " ", GOOGLE_API_KEY: "other" }, "other"]] as const) {
        const model = yield* Effect.provide(resolved, models(server.url, keys))
        assert.notStrictEqual(model.stream.ready, false)
        assert.isUndefined((yield* play(model.stream(request()))).error)
        assert.strictEqual(server.received.at(-1)?.headers["x-goog-api-key"], sent)
      }
      const model = yield* Effect.provide(resolved, models(server.url, { GEMINI_API_KEY: "" }))
      assert.isFalse(model.stream.ready)
      const { error } = yield* play(model.stream(request()))
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "AuthenticationError", retryable: false })
      assert.include(describeFailure(error).message, "Set GEMINI_API_KEY to a key from https://aistudio.google.com/apikey")
      assert.strictEqual(server.received.length, 2)
    })))
})

transportFaults("Gemini", asked, {
  begun: sse([chunk([{ text: "Hel" }])]),
  begins: ["response-metadata", "text-start", "text-delta"],
  rest: sse([last("STOP", [{ text: "lo" }])]),
  keepAlive: ": still here\n\n",
  ending: "before its finishReason"
})

describe("Gemini, counting", () => {
  it.effect("asks for the tokens of the very request", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body: JSON.stringify({ totalTokens: 31, promptTokensDetails: [] }), headers: { "content-type": "application/json" } })
      const model = yield* Effect.provide(resolved, models(server.url))
      const counted = model.stream.count
      assert.isDefined(counted)
      assert.strictEqual(yield* counted(request({ system: "S" })), 31)
      assert.strictEqual(server.received[0]?.path, "/models/gemini-3.8-flash:countTokens")
      const { generateContentRequest } = JSON.parse(server.received[0]?.body ?? "")
      assert.strictEqual(generateContentRequest.model, "models/gemini-3.8-flash")
      assert.deepStrictEqual(generateContentRequest.systemInstruction, { parts: [{ text: "S" }] })
      server.play({ status: 503, body: errorBody(503, "UNAVAILABLE", "Busy") })
      assert.strictEqual(describeFailure(yield* Effect.flip(counted(request()))).reason, "InternalProviderError")
      server.play({ body: "{}", headers: { "content-type": "application/json" } })
      assert.strictEqual(describeFailure(yield* Effect.flip(counted(request()))).reason, "NetworkError")
    })))
})
