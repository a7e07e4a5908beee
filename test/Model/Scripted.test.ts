import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { describe as describeFailure, type Request, Scripted } from "../../src/Model.ts"
import { play } from "../support/anthropic.ts"

const request = (...messages: Request["messages"]): Request => ({ model: "demo", system: "", messages, tools: [], maxOutput: 10 })
const user = (text: string): Request["messages"][number] => ({ role: "user", text })
const said: Request["messages"][number] = { role: "assistant", model: "scripted:demo", parts: [{ type: "text", text: "…" }] }

const error = AiError.make({ module: "Test", method: "stream", reason: new AiError.InternalProviderError({ description: "down" }) })

describe("Scripted", () => {
  it.effect("says each turn by the answers before it, again and again the same", () =>
    Effect.gen(function*() {
      const provider = Scripted.make(["one", { text: "two", usage: { output: 7, cacheWriteHour: 3 } }, { toolCalls: [{ name: "a" }, { name: "b", params: { x: 1 } }] }])
      for (let again = 0; again < 2; again++) {
        const first = yield* play(provider(request(user("hi"))))
        assert.deepStrictEqual(first.answer?.parts, [{ type: "text", text: "one" }])
        assert.strictEqual(first.answer?.finish, "stop")
        assert.strictEqual(first.answer?.requestId, "scripted_1")
        const second = yield* play(provider(request(user("hi"), said)))
        assert.deepStrictEqual(second.answer?.usage, { uncached: 10, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 3, output: 7, reasoning: 0 })
        const third = yield* play(provider(request(user("hi"), said, user("go"), said)))
        assert.deepStrictEqual(third.answer?.parts, [
          { type: "tool-call", id: "call_3_1", name: "a", arguments: "{}" },
          { type: "tool-call", id: "call_3_2", name: "b", arguments: "{\"x\":1}" }
        ])
        assert.strictEqual(third.answer?.finish, "tool-calls")
      }
    }))

  it.effect("streams in pieces: reasoning with its signature, text, arguments as they are written", () =>
    Effect.gen(function*() {
      const provider = Scripted.make([{
        reasoning: "hmm", signature: "sig", text: "hello", toolCalls: [{ name: "a", id: "mine", arguments: "{\"cut" }], finish: "length", note: "odd"
      }], { pieces: 2 })
      const { answer, parts } = yield* play(provider(request()))
      assert.deepStrictEqual(parts.filter((part) => part.type === "text-delta").map((part) => part.delta), ["he", "ll", "o"])
      assert.deepStrictEqual(answer?.parts, [
        { type: "reasoning", text: "hmm", opaque: { scripted: { signature: "sig" } } },
        { type: "text", text: "hello" },
        { type: "tool-call", id: "mine", name: "a", arguments: "{\"cut" }
      ])
      assert.deepStrictEqual([answer?.finish, answer?.note], ["length", "odd"])
      const silent = yield* play(Scripted.make([{ text: "", reasoning: "" }])(request()))
      assert.deepStrictEqual(silent.answer?.parts, [{ type: "reasoning", text: "" }, { type: "text", text: "" }])
    }))

  it.effect("answers by a function of the request, or an effect", () =>
    Effect.gen(function*() {
      const echo = Scripted.make((asked) => `${asked.messages.length} messages`)
      assert.deepStrictEqual((yield* play(echo(request(user("a"), said)))).answer?.parts, [{ type: "text", text: "2 messages" }])
      const slow = Scripted.make([() => Effect.succeed({ text: "thought" }), () => Effect.fail(error)])
      assert.deepStrictEqual((yield* play(slow(request()))).answer?.parts, [{ type: "text", text: "thought" }])
      assert.strictEqual((yield* play(slow(request(said)))).error, error)
    }))

  it.effect("counts requests where it is sequential", () =>
    Effect.gen(function*() {
      const provider = Scripted.make(["one", "two"], { sequential: true })
      const texts = [yield* play(provider(request())), yield* play(provider(request()))].map((outcome) => outcome.answer?.parts)
      assert.deepStrictEqual(texts, [[{ type: "text", text: "one" }], [{ type: "text", text: "two" }]])
      assert.isDefined((yield* play(provider(request()))).error)
    }))

  it.effect("says what was wrong where script and run disagree", () =>
    Effect.gen(function*() {
      const failure = (script: Parameters<typeof Scripted.make>[0], asked: Request) =>
        Effect.map(play(Scripted.make(script)(asked)), ({ error, parts }) => {
          assert.strictEqual(parts.length, 0)
          assert.isDefined(error)
          const told = describeFailure(error)
          assert.isFalse(told.retryable)
          return told.message
        })
      assert.include(yield* failure(["one"], request(user("a"), said, user("more?"))), "it has 1 turn, and turn 2 was asked for after user: more?")
      assert.include(yield* failure([], request()), "it has 0 turns, and turn 1 was asked for after no message")
      assert.include(
        yield* failure([{ expect: "sunny", text: "" }], request({ role: "tool", results: [{ id: "1", name: "a", isFailure: false, result: "rain" }] })),
        "Turn 1 of the script expected the last message to contain \"sunny\", but there came tool: rain"
      )
      assert.include(
        yield* failure([{ expect: (asked) => asked.tools.length > 0 || "a tool", text: "" }], request(user("a"))),
        "Turn 1 of the script expected a tool, but there came user: a"
      )
      assert.include(yield* failure(["", { expect: "zebra" }], request(said)), "there came assistant: [")
      const { error } = yield* play(Scripted.make([{ expect: "rain", text: "ok" }])(request(user("rain?"))))
      assert.isUndefined(error)
    }))

  it.effect("fails at once or in the middle, and ends without its finish", () =>
    Effect.gen(function*() {
      const provider = Scripted.make([{ fail: error }, { text: "abc", fail: error, failAfter: 3 }, { text: "cut", cut: true }], { pieces: 1 })
      const first = yield* play(provider(request()))
      assert.deepStrictEqual([first.parts.length, first.error], [0, error])
      const second = yield* play(provider(request(said)))
      assert.deepStrictEqual([second.parts.length, second.error], [3, error])
      const third = yield* play(provider(request(said, said)))
      assert.isUndefined(third.error)
      assert.isUndefined(third.answer)
    }))

  it.effect("waits, and hangs", () =>
    Effect.gen(function*() {
      const provider = Scripted.make([{ text: "abc", delay: "1 second", pace: "1 second" }, { text: "never", hang: true }])
      const seen: Array<string> = []
      const watch = (asked: Request) =>
        Effect.forkChild(Stream.runForEach(provider(asked), (part) => Effect.sync(() => seen.push(part.type))))
      const slow = yield* watch(request())
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 milli")
      assert.deepStrictEqual(seen, ["response-metadata"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, ["response-metadata", "text-start"])
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(slow)
      assert.strictEqual(seen.length, 5)
      const hung = yield* watch(request(said))
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(hung.pollUnsafe())
      yield* Fiber.interrupt(hung)
    }))
})
