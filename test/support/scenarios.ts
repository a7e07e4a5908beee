import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Answer, describe as describeFailure, type Request } from "../../src/Model.ts"
import type { Transcript } from "../../src/Run.ts"
import { mock } from "./mock.ts"
import { type Asking, stored } from "./wire.ts"

/** What the double is told in a provider's own words, and what comes of it. */
export interface Words {
  /** Below this path the double answers as the provider does. */
  readonly path?: string
  readonly model: string
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number } | { readonly prompt_tokens: number; readonly completion_tokens: number }
  /** The ids of two calls; absent where the provider has none, so that the adapter makes them. */
  readonly ids?: readonly [string, string]
  readonly signature?: string
  /** The reasoning as it is read. */
  readonly thought: Transcript.AssistantPart
  /** What goes back beside the results of the calls, as far as the double keeps it. */
  readonly goesBack: ReadonlyArray<string>
  readonly overloaded: { readonly status: number; readonly type: string }
  readonly limited: string
  readonly refusal: string
  /** What else holds of a refusal. */
  readonly refused?: (answer: Answer.Answer) => void
}

const tools = [
  { name: "weather", description: "Tells the weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
  { name: "clock", description: "Tells the time", parameters: { type: "object", properties: {} } }
]

/** Conversations with somebody else's double of a provider, so that our own bytes are not the only witness. */
export const scenarios = (name: string, asked: Asking, words: Words) => {
  const { request } = asked
  const ask = (url: string, wanted?: Request) => asked.ask(`${url}${words.path ?? ""}`, wanted)

  describe(`${name}, by aimock`, () => {
    it.effect("answers", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* mock((mock) => mock.onMessage("Hello", { content: "Hi there, 🌍!", usage: words.usage }))
        const { answer, error } = yield* ask(server.url)
        assert.isUndefined(error)
        assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "Hi there, 🌍!" }])
        assert.strictEqual(answer?.finish, "stop")
        assert.deepInclude(answer?.usage, { uncached: 11, output: 7 })
      })))

    it.effect("thinks, calls two tools at once, and is given their results and what it wants back", () =>
      Effect.scoped(Effect.gen(function*() {
        const wanted = [{ name: "weather", arguments: "{\"city\":\"Lisbon\"}" }, { name: "clock", arguments: "{}" }]
        const toolCalls = wanted.map((call, index) => ({ ...call, ...(words.ids === undefined ? {} : { id: words.ids[index] ?? "" }) }))
        const server = yield* mock((mock) =>
          mock.on({ hasToolResult: true }, { content: "Rain at nine." })
            .on({ userMessage: "umbrella", hasToolResult: false }, {
              toolCalls,
              reasoning: "Two questions.",
              ...(words.signature === undefined ? {} : { reasoningSignature: words.signature })
            })
        )
        const messages: Array<Request["messages"][number]> = [{ role: "user", text: "Do I need an umbrella?" }]
        const first = yield* ask(server.url, request({ tools, messages }))
        assert.isDefined(first.answer)
        assert.strictEqual(first.answer.finish, "tool-calls")
        const [thought, ...parts] = first.answer.parts
        assert.deepStrictEqual(thought, words.thought)
        const calls = parts.flatMap((part) => part.type === "tool-call" ? [part] : [])
        assert.strictEqual(calls.length, parts.length)
        assert.deepStrictEqual(calls.map((call) => ({ name: call.name, arguments: call.arguments })), wanted)
        if (words.ids !== undefined) assert.deepStrictEqual(parts, toolCalls.map((call) => ({ type: "tool-call" as const, id: "", ...call })))
        messages.push(
          { role: "assistant", model: words.model, parts: yield* stored(first.answer) },
          { role: "tool", results: calls.map(({ id, name }) => ({ id, name, isFailure: false, result: `"${name} ok"` })) }
        )
        const second = yield* ask(server.url, request({ tools, messages }))
        assert.deepStrictEqual(second.answer?.parts, [{ type: "text", text: "Rain at nine." }])
        const sent = JSON.stringify(server.getRequests().at(-1)?.body)
        for (const text of ["weather ok", ...words.goesBack]) assert.include(sent, text)
      })))

    it.effect("is overloaded once and then answers: repeating is the caller's to decide", () =>
      Effect.scoped(Effect.gen(function*() {
        const { status, type } = words.overloaded
        const server = yield* mock((mock) =>
          mock.on({ userMessage: "Hello", sequenceIndex: 0 }, { error: { message: "Overloaded", type }, status })
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
          mock.onMessage("Hello", { error: { message: "Slow down", type: words.limited }, status: 429, retryAfter: 3 })
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
        const server = yield* mock((mock) => mock.onMessage("Hello", { content: "No.", finishReason: words.refusal }))
        const { answer } = yield* ask(server.url)
        assert.isDefined(answer)
        assert.strictEqual(answer.finish, "content-filter")
        words.refused?.(answer)
      })))
  })
}
