import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { describe as describeFailure, type Request } from "../../src/Model.ts"
import { ask, request } from "../support/gemini.ts"

/** Somebody else's double of Gemini's API, so that our own bytes are not the only witness. */
const mock = (prepare: (mock: LLMock) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = new LLMock({ port: 0 })
        prepare(server)
        await server.start()
        return server
      }),
      (server) => Effect.promise(() => server.stop())
    ),
    (server) => ({ url: `${server.url}/v1beta`, requests: () => server.getRequests() })
  )

const tools = [
  { name: "weather", description: "Tells the weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
  { name: "clock", description: "Tells the time", parameters: { type: "object", properties: {} } }
]

describe("Gemini, by aimock", () => {
  it.effect("answers", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) => mock.onMessage("Hello", { content: "Hi there, 🌍!", usage: { input_tokens: 11, output_tokens: 7 } }))
      const { answer, error } = yield* ask(server.url)
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Hi there, 🌍!" }])
      assert.strictEqual(answer?.finish, "stop")
      assert.deepInclude(answer?.usage, { uncached: 11, output: 7 })
    })))

  it.effect("calls two tools at once, and is given their results", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.on({ hasToolResult: true }, { content: "Rain at nine." })
          .on({ userMessage: "umbrella", hasToolResult: false }, {
            toolCalls: [{ name: "weather", arguments: "{\"city\":\"Lisbon\"}" }, { name: "clock", arguments: "{}" }], reasoning: "Two questions."
          })
      )
      const messages: Array<Request["messages"][number]> = [{ role: "user", text: "Do I need an umbrella?" }]
      const first = yield* ask(server.url, request({ tools, messages }))
      assert.isDefined(first.answer)
      assert.strictEqual(first.answer.finish, "tool-calls")
      const [thought, ...calls] = first.answer.parts
      assert.deepStrictEqual(thought, { type: "reasoning", text: "Two questions." })
      assert.deepStrictEqual(calls.map((call) => call.type === "tool-call" && [call.name, call.arguments]), [["weather", "{\"city\":\"Lisbon\"}"], ["clock", "{}"]])
      messages.push(
        { role: "assistant", model: "google:gemini-3.8-flash", parts: first.answer.parts },
        { role: "tool", results: calls.flatMap((call) => call.type === "tool-call" ? [{ id: call.id, name: call.name, isFailure: false, result: `"${call.name} ok"` }] : []) }
      )
      const second = yield* ask(server.url, request({ tools, messages }))
      assert.deepStrictEqual(second.answer?.parts, [{ type: "text", text: "Rain at nine." }])
      assert.include(JSON.stringify(server.requests().at(-1)?.body), "weather ok")
    })))

  it.effect("is overloaded once and then answers: repeating is the caller's to decide", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.on({ userMessage: "Hello", sequenceIndex: 0 }, { error: { message: "Overloaded", type: "UNAVAILABLE" }, status: 503 })
          .on({ userMessage: "Hello", sequenceIndex: 1 }, { content: "Here I am." })
      )
      const { error } = yield* ask(server.url)
      assert.isDefined(error)
      assert.deepInclude(describeFailure(error), { reason: "InternalProviderError", retryable: true })
      assert.strictEqual(server.requests().length, 1)
      const { answer } = yield* ask(server.url)
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Here I am." }])
    })))

  it.effect("limits the rate", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* mock((mock) =>
        mock.onMessage("Hello", { error: { message: "Slow down", type: "RESOURCE_EXHAUSTED" }, status: 429, retryAfter: 3 })
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
      const server = yield* mock((mock) => mock.onMessage("Hello", { content: "No.", finishReason: "SAFETY" }))
      const { answer } = yield* ask(server.url)
      assert.strictEqual(answer?.finish, "content-filter")
    })))
})
