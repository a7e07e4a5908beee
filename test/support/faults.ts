import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { describe as describeFailure, IdleTimeout, Models } from "../../src/Model.ts"
import { ModelRef } from "../../src/Run.ts"
import { replay, type Script } from "./replay.ts"
import { type Asking, play } from "./wire.ts"

/** An answer in its provider's format, in two parts, of which the first alone is not whole. */
export interface Pieces {
  /** Events up to the middle of a text. */
  readonly begun: string
  /** What they are read as. */
  readonly begins: ReadonlyArray<string>
  readonly rest: string
  /** What keeps a connection alive and says nothing. */
  readonly keepAlive: string
  /** How a failure names the end that did not come. */
  readonly ending: string
}

/** What every provider owes to a connection: how it breaks, falls silent and is closed. */
export const transportFaults = (name: string, asked: Asking, { begins, begun, ending, keepAlive, rest }: Pieces) => {
  const { answerOf, ask, failureOf, models, names, request, resolved } = asked

  describe(`${name}, broken connections`, () => {
    it.effect("an end in the middle is a failure to try again", () =>
      Effect.gen(function*() {
        const { answer, error, parts } = yield* answerOf({ body: begun })
        assert.isUndefined(answer)
        assert.deepStrictEqual(parts.map((part) => part.type), begins)
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.strictEqual(failure.reason, "NetworkError")
        assert.isTrue(failure.retryable)
        assert.include(failure.message, ending)
      }))

    for (const body of ["", "<html>hello</html>", "\n\n", ": only a comment\n\n"]) {
      it.effect(`so is ${JSON.stringify(body)}, which is no event at all`, () =>
        Effect.gen(function*() {
          const failure = yield* failureOf({ body, headers: { "content-type": "text/html" } })
          assert.deepInclude(failure, { reason: "NetworkError", retryable: true })
        }))
    }

    it.effect("an event that is not JSON is the provider's fault", () =>
      Effect.gen(function*() {
        const failure = yield* failureOf({ body: "event: message_start\ndata: {\"type\":\n\n" })
        assert.deepInclude(failure, { reason: "InternalProviderError", retryable: true })
        assert.include(failure.message, "not JSON")
      }))

    it.live("a reset connection is a network failure", () =>
      Effect.gen(function*() {
        const failure = yield* failureOf({ body: begun, then: "reset" })
        assert.deepInclude(failure, { reason: "NetworkError", retryable: true })
      }))

    it.effect("so is an address where nobody listens, and nothing was sent to it", () =>
      Effect.gen(function*() {
        const server = yield* Effect.scoped(replay())
        const { error } = yield* ask(server.url)
        assert.isDefined(error)
        const { message, reason, unsent } = describeFailure(error)
        assert.strictEqual(reason, "NetworkError")
        assert.include(message, "ECONNREFUSED")
        assert.notInclude(message, "\n")
        assert.isTrue(unsent)
      }))
  })

  describe(`${name}, keys and addresses`, () => {
    it.effect("no key is told by a sentence, and nothing is sent; a choice of models leaves the provider out", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: "" })
        for (const key of ["", " "]) {
          const model = yield* Effect.provide(resolved, models(server.url, { [names.key]: key }))
          assert.strictEqual(model.stream.ready, false)
          const { error } = yield* play(model.stream(request()))
          assert.isDefined(error)
          const failure = describeFailure(error)
          assert.deepInclude(failure, { reason: "AuthenticationError", retryable: false })
          assert.include(failure.message, `Set ${names.key}`)
        }
        assert.strictEqual(server.received.length, 0)
      })))

    it.effect("a key is sent without the white space around it, and one that is none is not told", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun + rest, headers: asked.headers })
        const trimmed = yield* Effect.provide(resolved, models(server.url, { [names.key]: " sk-test\n" }))
        const { error: none } = yield* play(trimmed.stream(request()))
        assert.isUndefined(none)
        const broken = yield* Effect.provide(resolved, models(server.url, { [names.key]: "sk-sec\nret–key" }))
        const { error } = yield* play(broken.stream(request()))
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.strictEqual(failure.reason, "AuthenticationError")
        assert.include(failure.message, names.key)
        assert.notInclude(failure.message, "sec")
        assert.strictEqual(server.received.length, 1)
      })))

    it.effect("addresses of OpenAI, and what is no address, are refused", () =>
      Effect.gen(function*() {
        for (const url of ["https://api.openai.com", "https://mine.openai.azure.com/v1", "https://API.OpenAI.com"]) {
          const { error } = yield* ask(url)
          assert.isDefined(error)
          assert.include(describeFailure(error).message, `unset ${names.baseUrl}`)
        }
        const { error } = yield* ask("localhost:8080")
        assert.isDefined(error)
        assert.deepInclude(describeFailure(error), { reason: "InvalidRequestError", retryable: false })
        assert.include(describeFailure(error).message, names.baseUrl)
      }))

    it.effect("an address may end in slashes", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun + rest, headers: asked.headers })
        yield* ask(`${server.url}//`)
        yield* ask(server.url)
        const [slashed, plain] = server.received.map(({ path }) => path)
        assert.isDefined(plain)
        assert.strictEqual(slashed, plain)
      })))

    it.effect("models of OpenAI do not resolve", () =>
      Effect.gen(function*() {
        const { resolve } = yield* Models
        for (const model of ["gpt-6", "openai/gpt-6", "openai/o5-mini"]) {
          const error = yield* Effect.flip(Effect.suspend(() => resolve(ModelRef.make(`${name.toLowerCase()}:${model}`))))
          assert.strictEqual(error._tag, "ForbiddenModel")
        }
      }).pipe(Effect.provide(models("http://127.0.0.1:9"))))
  })

  describe(`${name}, silence and interruption`, () => {
    const first = (script: Script, then: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<void>) =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay(script)
        const model = yield* Effect.provide(resolved, models(server.url))
        const fiber = yield* Effect.forkChild(play(model.stream(request())))
        yield* server.written
        yield* then(fiber)
        yield* server.closed
        return fiber
      }))

    it.live("silence after the first bytes ends the exchange", () =>
      Effect.gen(function*() {
        const fiber = yield* first({ body: begun, then: "hang" }, () => Effect.void)
        assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
      }).pipe(Effect.provideService(IdleTimeout, Duration.millis(400))))

    it.live("silence is told as a network failure, before the headers as well", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun, then: "hang" }, { body: "", then: "hang" })
        for (const count of [begins.length, 0]) {
          const outcome = yield* ask(server.url)
          assert.strictEqual(outcome.parts.length, count)
          assert.isDefined(outcome.error)
          const failure = describeFailure(outcome.error)
          assert.deepInclude(failure, { reason: "NetworkError", retryable: true })
          assert.include(failure.message, "nothing came for 400 ms")
        }
      })).pipe(Effect.provideService(IdleTimeout, Duration.millis(400))))

    it.live("silence within a refusal ends it too", () =>
      Effect.gen(function*() {
        const { retryable } = yield* failureOf({ status: 500, body: "{\"error\":", then: "hang" })
        assert.isTrue(retryable)
      }).pipe(Effect.provideService(IdleTimeout, Duration.millis(300))))

    it.live("keep-alives count as life", () =>
      Effect.gen(function*() {
        // In all they take longer than silence may last, and a process that others keep waiting is not that late with one.
        const alive = keepAlive.repeat(40)
        const cuts = Array.from({ length: 40 }, (_, index) => (index + 1) * Buffer.byteLength(keepAlive))
        const { answer } = yield* answerOf({ body: alive + begun + rest, cuts, gap: 25 })
        assert.strictEqual(answer?.finish, "stop")
      }).pipe(Effect.provideService(IdleTimeout, Duration.millis(800))), 20_000)

    it.live("so does an answer that drips", () =>
      Effect.gen(function*() {
        const body = begun + rest
        const { answer } = yield* answerOf({ body, pieces: 40, gap: 50 })
        assert.strictEqual(answer?.finish, "stop")
      }).pipe(Effect.provideService(IdleTimeout, Duration.millis(400))), 20_000)

    it.effect("by default a minute of the clock passes", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun, then: "hang" })
        const started = yield* Deferred.make<void>()
        const model = yield* Effect.provide(resolved, models(server.url))
        const fiber = yield* Effect.forkChild(play(Stream.tap(model.stream(request()), () => Deferred.succeed(started, undefined))))
        yield* Deferred.await(started)
        yield* TestClock.adjust("59 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("62 seconds")
        const { error } = yield* Fiber.join(fiber)
        assert.isDefined(error)
        assert.include(describeFailure(error).message, "nothing came for 60000 ms")
      })))

    it.effect("once the answer is over nothing more is awaited", () =>
      Effect.gen(function*() {
        const { answer, error } = yield* answerOf({ body: begun + rest, then: "hang" })
        assert.isUndefined(error)
        assert.strictEqual(answer?.finish, "stop")
      }))

    it.live("and its connection is used again where its end comes soon, and otherwise closed", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun + rest, headers: asked.headers })
        for (let turn = 0; turn < 8; turn++) {
          const { answer } = yield* ask(server.url)
          assert.strictEqual(answer?.finish, "stop")
        }
        // The next request may begin before the end of the answer before it has come.
        assert.isBelow(server.connections(), 4)
        server.play({ body: begun + rest, headers: asked.headers, then: "hang" })
        yield* ask(server.url)
        yield* server.closed
      })))

    it.live("interruption closes the connection", () =>
      Effect.gen(function*() {
        const fiber = yield* first({ body: begun, then: "hang" }, (fiber) => Fiber.interrupt(fiber))
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }))

    it.live("before the headers too", () =>
      Effect.gen(function*() {
        const fiber = yield* first({ body: "", then: "hang" }, (fiber) => Fiber.interrupt(fiber))
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      }))

    it.live("so does a reader that has had enough", () =>
      Effect.scoped(Effect.gen(function*() {
        const server = yield* replay({ body: begun, then: "hang" })
        const model = yield* Effect.provide(resolved, models(server.url))
        const parts = yield* Stream.runCollect(Stream.take(model.stream(request()), 1))
        assert.strictEqual(parts.length, 1)
        yield* server.closed
      })))
  })
}
