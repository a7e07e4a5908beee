import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Router, Routing, type RoutingOptions, type Unavailable } from "../../src/Model.ts"
import * as Money from "../../src/Money.ts"
import { BudgetExceeded, ModelRef, OrgId } from "../../src/Run.ts"

const model = ModelRef.make("anthropic:claude")
const org = OrgId.make("org")

const routed = (options: RoutingOptions) => Layer.provide(Layer.fresh(Router.layer), Layer.succeed(Routing, options))

const wanted = (more: Partial<Parameters<Router["Service"]["lead"]>[0]> = {}) => ({ model, org, hasOther: false, until: Infinity, ...more })

const fails = (reason: string, retryAfterMs: number | null = null) => Effect.succeed({ reason, retryAfterMs })
const answers = Effect.undefined

/** Makes an attempt that fails, or that answers. */
const tries = (attempt: Effect.Effect<{ readonly reason: string; readonly retryAfterMs: number | null } | undefined>, more?: Parameters<typeof wanted>[0]) =>
  Effect.flatMap(Router, (router) => router.lead(wanted(more), () => attempt))

const times = (count: number, attempt: Parameters<typeof tries>[0]) => Effect.repeat(tries(attempt), { times: count - 1 })

const unavailable = (more?: Parameters<typeof wanted>[0]): Effect.Effect<Unavailable, void, Router> => Effect.flip(tries(answers, more))

/** Requests that are under way until somebody lets them end, in the order in which they began. */
const makeProvider = () => {
  const begun: Array<string> = []
  let most = 0
  let now = 0
  const open: Array<Deferred.Deferred<void>> = []
  return {
    begun,
    most: () => most,
    now: () => now,
    /** Lets the oldest request end. */
    end: Effect.suspend(() => {
      const oldest = open.shift()
      return oldest === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(oldest, undefined))
    }),
    request: (name: string, more: Parameters<typeof wanted>[0] = {}) =>
      Effect.flatMap(Router, (router) =>
        router.lead(wanted(more), () =>
          Effect.gen(function*() {
            const done = yield* Deferred.make<void>()
            open.push(done)
            begun.push(name)
            most = Math.max(most, ++now)
            yield* Effect.ensuring(Deferred.await(done), Effect.sync(() => now--))
            return undefined
          })))
  }
}

/** Starts a request and lets it come as far as it does at once. */
const started = <A, E, R>(request: Effect.Effect<A, E, R>) => Effect.tap(Effect.forkChild(request), () => TestClock.adjust(0))

describe("the circuit of a provider", () => {
  it.effect("opens after so many failures in a row, tries again after a while, and closes with the first answer", () =>
    Effect.gen(function*() {
      yield* times(2, fails("InternalProviderError"))
      yield* tries(answers)
      yield* times(2, fails("NetworkError"))
      yield* tries(fails("RateLimitError"))
      const error = yield* unavailable({ hasOther: true })
      assert.deepStrictEqual([error.model, error.waitMs], [model, 20_000])
      assert.match(error.problem, /failed too often, and is not asked for another 20s/)
      // Who has nobody else to ask waits, and one of them tries how it stands.
      const provider = makeProvider()
      const probe = yield* started(provider.request("probe"))
      const second = yield* started(provider.request("second"))
      yield* TestClock.adjust("19 seconds")
      assert.deepStrictEqual(provider.begun, [])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(provider.begun.length, 1)
      assert.strictEqual((yield* unavailable({ hasOther: true })).model, model)
      yield* provider.end
      yield* TestClock.adjust("1 second")
      assert.strictEqual(provider.begun.length, 2)
      yield* provider.end
      yield* Fiber.joinAll([probe, second])
      yield* tries(answers, { hasOther: true })
    }).pipe(Effect.provide(routed({ breaker: { failures: 3, coolDown: "20 seconds" } }))))

  it.effect("opens again where the one that tries fails, and does not count what is no fault of the provider's", () =>
    Effect.gen(function*() {
      yield* times(20, fails("AuthenticationError"))
      yield* times(20, fails("FirstTokenTimedOut"))
      yield* times(10, fails("NetworkError"))
      yield* TestClock.adjust("30 seconds")
      yield* tries(fails("InvalidRequestError"), { hasOther: true })
      yield* tries(fails("NetworkError"), { hasOther: true })
      assert.strictEqual((yield* unavailable({ hasOther: true })).waitMs, 30_000)
    }).pipe(Effect.provide(routed({}))))

  it.effect("is not waited for beyond the time that there is, and can be done without", () =>
    Effect.gen(function*() {
      yield* times(1, fails("NetworkError"))
      const error = yield* unavailable({ until: 29_999 })
      assert.strictEqual(error.waitMs, 30_000)
      const waiting = yield* started(tries(answers, { until: 30_000 }))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(waiting)
    }).pipe(
      Effect.provide(routed({ breaker: { failures: 1 } })),
      Effect.andThen(Effect.provide(times(50, fails("NetworkError")), routed({ breaker: false })))
    ))

  it.effect("takes failures into account that began before it opened, and only those of its own provider", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const late = yield* Effect.forEach([1, 2, 3], () => started(tries(Effect.andThen(Deferred.await(gate), fails("NetworkError")))))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.joinAll(late)
      assert.strictEqual((yield* unavailable({ hasOther: true })).waitMs, 30_000)
      yield* tries(answers, { hasOther: true, model: ModelRef.make("google:gemini") })
    }).pipe(Effect.provide(routed({ breaker: { failures: 3 } }))))

  it.effect("is a model's own where the provider has many hosts", () =>
    Effect.gen(function*() {
      const at = (name: string) => ({ hasOther: true, model: ModelRef.make(`openrouter:${name}`) })
      yield* Effect.repeat(tries(fails("InternalProviderError"), at("deepseek/v4")), { times: 9 })
      yield* unavailable(at("deepseek/v4"))
      yield* tries(answers, at("qwen/qwen4"))
    }).pipe(Effect.provide(routed({}))))

  it.effect("is neither opened nor closed by what a budget refuses, which is told to whoever asked, also by the one that tries", () =>
    Effect.gen(function*() {
      const error = new BudgetExceeded({ scope: "org:org", limit: Money.usd("1"), spent: Money.usd("1"), reserved: Money.zero, asked: Money.usd("0.1") })
      const refused = (more?: Parameters<typeof wanted>[0]) =>
        Effect.flatMap(Router, (router) => Effect.flip(router.lead(wanted(more), () => Effect.fail(error))))
      // Between failures it does not count as an answer, and by itself it is no failure.
      yield* Effect.repeat(refused(), { times: 5 })
      yield* times(2, fails("NetworkError"))
      assert.strictEqual(yield* refused(), error)
      yield* tries(fails("NetworkError"))
      assert.strictEqual((yield* unavailable({ hasOther: true })).waitMs, 30_000)
      // Once it may be tried, who is refused leaves the try to the next, and has told nothing of the provider.
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* refused({ hasOther: true }), error)
      yield* tries(fails("NetworkError"), { hasOther: true })
      assert.strictEqual((yield* unavailable({ hasOther: true })).waitMs, 30_000)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* refused({ hasOther: true }), error)
      yield* tries(answers, { hasOther: true })
      yield* times(2, fails("NetworkError"))
      yield* tries(answers, { hasOther: true })
    }).pipe(Effect.provide(routed({ breaker: { failures: 3 } }))))

  it.effect("is closed by an interruption neither, nor opened", () =>
    Effect.gen(function*() {
      yield* times(2, fails("NetworkError"))
      yield* TestClock.adjust("30 seconds")
      const provider = makeProvider()
      const probe = yield* started(provider.request("probe"))
      assert.strictEqual(provider.now(), 1)
      yield* Fiber.interrupt(probe)
      assert.strictEqual(provider.now(), 0)
      yield* tries(answers, { hasOther: true })
    }).pipe(Effect.provide(routed({ breaker: { failures: 2 } }))))
})

describe("a provider that asks to be left alone", () => {
  it.effect("is asked by nobody before that time, and not waited for long where another model can be asked", () =>
    Effect.gen(function*() {
      yield* tries(fails("RateLimitError", 4_000))
      const short = yield* started(tries(answers, { hasOther: true }))
      yield* TestClock.adjust("3999 millis")
      assert.isUndefined(short.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(short)
      yield* tries(fails("RateLimitError", 6_000))
      assert.match((yield* unavailable({ hasOther: true })).problem, /asked to be left alone for another 6s/)
      const long = yield* started(tries(answers))
      yield* TestClock.adjust("5 seconds")
      yield* tries(answers, { hasOther: true }).pipe(Effect.timeout("1 second"), (effect) => Effect.tap(started(effect), () => TestClock.adjust("1 second")))
      yield* Fiber.join(long)
    }).pipe(Effect.provide(routed({}))))
})

describe("the limits of an account", () => {
  const small = OrgId.make("small")
  const noisy = OrgId.make("noisy")

  it.effect("let organisations take turns, each with its oldest request", () =>
    Effect.gen(function*() {
      const provider = makeProvider()
      for (let n = 0; n < 6; n++) yield* started(provider.request(`noisy ${n}`, { org: noisy }))
      for (let n = 0; n < 2; n++) yield* started(provider.request(`small ${n}`, { org: small }))
      for (let n = 0; n < 8; n++) {
        yield* provider.end
        yield* TestClock.adjust(0)
      }
      assert.deepStrictEqual(provider.begun, ["noisy 0", "noisy 1", "noisy 2", "small 0", "noisy 3", "small 1", "noisy 4", "noisy 5"])
      assert.strictEqual(provider.most(), 2)
    }).pipe(Effect.provide(routed({ accounts: { anthropic: { concurrency: 2 } } }))))

  it.effect("bound the wait of a small organisation beside one with 500 requests", () =>
    Effect.gen(function*() {
      const waits: Record<string, Array<number>> = { small: [], noisy: [] }
      const router = yield* Router
      let under = 0
      let most = 0
      const request = (org: OrgId) =>
        router.lead(wanted({ org }), (waitedMs) =>
          Effect.gen(function*() {
            waits[org]?.push(waitedMs)
            most = Math.max(most, ++under)
            yield* Effect.sleep("1 second")
            under--
            return undefined
          }))
      const all = [yield* Effect.forkChild(Effect.forEach(Array.from({ length: 500 }), () => request(noisy), { concurrency: "unbounded", discard: true }))]
      for (let n = 0; n < 40; n++) {
        yield* TestClock.adjust("500 millis")
        all.push(yield* Effect.forkChild(request(small)))
      }
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.joinAll(all)
      const p95 = (all: ReadonlyArray<number> = []) => all.toSorted((a, b) => a - b)[Math.floor(all.length * 0.95)] ?? NaN
      assert.deepStrictEqual([waits["small"]?.length, waits["noisy"]?.length, most], [40, 500, 20])
      // A place becomes free at each second, and the next turn is the small organisation's.
      assert.isAtMost(p95(waits["small"]), 1_000)
      assert.isAtLeast(p95(waits["noisy"]), 20_000)
    }).pipe(Effect.provide(routed({ accounts: { "*": { concurrency: 20 } } }))))

  it.effect("pace requests, in turns too", () =>
    Effect.gen(function*() {
      const router = yield* Router
      const begun: Array<string> = []
      const request = (org: OrgId) =>
        router.lead(wanted({ org }), (waitedMs) => Effect.sync(() => void begun.push(`${org} ${waitedMs / 1_000}`)))
      const all = yield* Effect.forEach([noisy, noisy, noisy, noisy, noisy, small], (org) => started(request(org)))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.joinAll(all)
      assert.deepStrictEqual(begun, ["noisy 0", "noisy 0", "noisy 10", "noisy 20", "small 30", "noisy 40"])
    }).pipe(Effect.provide(routed({ accounts: { anthropic: { rate: { requests: 2, per: "20 seconds" } } } }))))

  it.effect("are not used up by those who wait for another model of the same account", () =>
    Effect.gen(function*() {
      const router = yield* Router
      const [broken, healthy] = ["openrouter:qwen/a", "openrouter:deepseek/b"].map((name) => ModelRef.make(name)) as [ModelRef, ModelRef]
      yield* tries(fails("InternalProviderError"), { model: broken })
      // One tries the open circuit for ten minutes, and forty others wait for what comes of it.
      const waiting = yield* Effect.forEach(Array.from({ length: 41 }), () => started(router.lead(wanted({ model: broken }), () => Effect.as(Effect.sleep("10 minutes"), undefined))))
      yield* TestClock.adjust("2 minutes")
      const waits: Array<number> = []
      yield* started(router.lead(wanted({ model: healthy }), (waitedMs) => Effect.sync(() => void waits.push(waitedMs))))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(waits.length, 1)
      yield* Effect.forEach(waiting, Fiber.interrupt)
    }).pipe(Effect.provide(routed({ breaker: { failures: 1, coolDown: "10 seconds" }, accounts: { openrouter: { rate: { requests: 1, per: "1 second" } } } }))))

  it.effect("hold for one organisation over all accounts", () =>
    Effect.gen(function*() {
      const provider = makeProvider()
      const names = ["anthropic:claude", "google:gemini", "google:gemini"].map((name) => ModelRef.make(name))
      const fibers = yield* Effect.forEach(names, (model) => started(provider.request(model, { org: noisy, model })))
      fibers.push(yield* started(provider.request("small", { org: small })))
      assert.deepStrictEqual(provider.begun, ["anthropic:claude", "google:gemini", "small"])
      for (let n = 0; n < 4; n++) yield* provider.end
      yield* Fiber.joinAll(fibers.slice(0, 2))
      yield* TestClock.adjust(0)
      yield* provider.end
      yield* Fiber.joinAll(fibers)
      assert.strictEqual(provider.begun.length, 4)
    }).pipe(Effect.provide(routed({ perOrganisation: (org) => org === noisy ? 2 : 5 }))))

  it.effect("give a place back however the request ends, and take none for one that stopped waiting", () =>
    Effect.gen(function*() {
      const provider = makeProvider()
      const first = yield* started(provider.request("first"))
      const waiting = yield* started(provider.request("given up"))
      const third = yield* started(provider.request("third"))
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(provider.begun, ["first", "third"])
      yield* Fiber.interrupt(third)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(tries(Effect.die("broken")))))
      const router = yield* Router
      assert.strictEqual(yield* Effect.flip(router.lead(wanted(), () => Effect.fail("refused"))), "refused")
      yield* tries(answers)
    }).pipe(Effect.provide(routed({ accounts: { anthropic: { concurrency: 1, rate: { requests: 100, per: "1 second" } } }, perOrganisation: 1 }))))
})
