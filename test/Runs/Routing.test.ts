import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Stream } from "effect"
import * as AiError from "effect/ai/AiError"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Budget, Conductor, Model, Run } from "../../src/index.ts"
import { CrashMatrix } from "../../src/testing.ts"
import * as testing from "../../src/testing.ts"
import { scriptedBy } from "../support/conductors.ts"

const failure = (reason: AiError.AiErrorReason) => AiError.make({ module: "Test", method: "stream", reason })
const busy = failure(new AiError.InternalProviderError({ description: "busy" }))
const badKey = failure(new AiError.AuthenticationError({ kind: "InvalidKey" }))

/** What each provider says, and who was asked. */
const world = { asked: [] as Array<string>, first: "healthy" as "healthy" | "busy" | "badKey" | "hang" | "cut" }

const first = Model.Scripted.make(() => {
  world.asked.push("first")
  switch (world.first) {
    case "busy":
      return { fail: busy }
    case "badKey":
      return { fail: badKey }
    case "hang":
      return { text: "never over", hang: true }
    case "cut":
      return { text: "I was ab", fail: busy, failAfter: 3 }
    default:
      return "I am the first."
  }
}, { pieces: 4 })

const second = Model.Scripted.make(() => {
  world.asked.push("second")
  return "I am the second."
})

const alone = Agent.make("alone", { instructions: "x", model: "first:m", limits: { attempts: 1, cost: "1 USD" } })
const chained = Agent.make("chained", { instructions: "x", model: Model.fallback("first:m", "second:m"), limits: { attempts: 1, cost: "1 USD" } })

const runtime = (routing: Model.RoutingOptions) =>
  Layer.fresh(Conductor.layerMemory({ agents: [alone, chained], models: scriptedBy({ first, second }) })).pipe(
    Layer.provide(Layer.succeed(Model.Routing, routing))
  )

const begin = (how: typeof world.first) => Effect.sync(() => {
  world.asked = []
  world.first = how
})

const wait = (seconds: number) => Effect.forEach(Array.from({ length: seconds }), () => TestClock.adjust("1 second"), { discard: true })

/** The end of a run, after so much time. */
const settled = Effect.fnUntraced(function*(run: Run.RunId, seconds = 0) {
  const fiber = yield* Effect.forkChild(Effect.exit(Conductor.result(run)))
  yield* wait(seconds)
  yield* TestClock.adjust("2 seconds")
  yield* Fiber.join(fiber)
  return yield* testing.check(run)
})

const reservedIn = Effect.fnUntraced(function*(run: Run.RunId) {
  const { org } = yield* (yield* Conductor).state(run)
  return (yield* (yield* Budget).list(org)).find((one) => one.scope === `run:${run}`)?.reserved
})

/** Fails the first model as often as its circuit bears. */
const breakFirst = Effect.gen(function*() {
  yield* begin("busy")
  yield* settled(yield* Conductor.start(alone, "go"))
  yield* settled(yield* Conductor.start(alone, "go"))
  yield* begin("healthy")
})

const breaker = { failures: 2, coolDown: "30 seconds" } as const

describe("A run that waits to ask its model", () => {
  const crowded = runtime({ accounts: { first: { concurrency: 1 } } })

  it.effect("is cancelled at once, with nothing asked or set aside, and takes no place", () =>
    Effect.gen(function*() {
      yield* begin("hang")
      const holder = yield* Conductor.start(alone, "go")
      yield* TestClock.adjust("1 second")
      const waiting = yield* Conductor.start(alone, "go")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([world.asked, yield* reservedIn(waiting)], [["first"], 0n as never])
      yield* Conductor.cancel(waiting)
      const state = yield* settled(waiting)
      assert.deepStrictEqual(yield* testing.tags(waiting), ["RunStarted", "RunClaimed", "CancelRequested", "RunCancelled"])
      assert.strictEqual(state.cost, 0n as never)
      // The one that has the place gives it back with its own end.
      yield* begin("healthy")
      const next = yield* Conductor.start(alone, "go")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(world.asked, [])
      yield* Conductor.cancel(holder)
      assert.strictEqual(Run.answerOf(yield* settled(next)), "I am the first.")
      const started = (yield* testing.events(next)).map(({ event }) => event).find((event) => event._tag === "TurnStarted")
      assert.isTrue(started?._tag === "TurnStarted" && (started.waitedMs ?? 0) >= 1_000)
    }).pipe(Effect.provide(crowded)))

  it.effect("is over with its time, or that of its turn, in which the waiting counts", () =>
    Effect.gen(function*() {
      yield* begin("hang")
      const holder = yield* Conductor.start(alone, "go", { limits: { turnMs: 60_000 } })
      yield* TestClock.adjust("1 second")
      const limited = yield* Conductor.start(alone, "go", { limits: { timeMs: 5_000 } })
      const turn = yield* Conductor.start(alone, "go", { limits: { turnMs: 7_000 } })
      const late = yield* Conductor.start(alone, "go", { limits: { turnMs: 65_000 } })
      assert.strictEqual((yield* settled(limited, 6)).failure?._tag, "RunTimedOut")
      const timedOut = yield* settled(turn)
      assert.deepInclude(timedOut.failure, { _tag: "TurnTimedOut", limitMs: 7_000 })
      assert.strictEqual((timedOut.endedAt ?? 0) - timedOut.since, 7_000)
      assert.deepStrictEqual(yield* testing.tags(turn), ["RunStarted", "RunClaimed", "RunFailed"])
      assert.deepInclude((yield* settled(holder, 60)).failure, { _tag: "TurnTimedOut" })
      // It waited for most of its time, and has the rest for its answer.
      const state = yield* settled(late, 10)
      assert.deepInclude(state.failure, { _tag: "TurnTimedOut", limitMs: 65_000 })
      assert.strictEqual((state.endedAt ?? 0) - state.since, 65_000)
      assert.deepStrictEqual(world.asked, ["first", "first"])
    }).pipe(Effect.provide(crowded)))

  it.effect("is parked with its process as it is", () =>
    Effect.gen(function*() {
      yield* begin("hang")
      yield* Conductor.start(alone, "go")
      yield* TestClock.adjust("1 second")
      const waiting = yield* Conductor.start(alone, "go")
      yield* TestClock.adjust("1 second")
      const draining = yield* Effect.forkChild(Conductor.drain(0))
      yield* wait(5)
      assert.strictEqual((yield* Fiber.join(draining)).parked.length, 2)
      assert.deepStrictEqual(yield* testing.tags(waiting), ["RunStarted", "RunClaimed", "RunParked"])
    }).pipe(Effect.provide(crowded)))
})

describe("A provider that fails", () => {
  it.effect("is passed over by runs that have another model, which stay with that", () =>
    Effect.gen(function*() {
      yield* breakFirst
      const state = yield* settled(yield* Conductor.start(chained, "go"))
      assert.deepStrictEqual([Run.answerOf(state), state.model, world.asked], ["I am the second.", "second:m" as never, ["second"]])
      const events = (yield* testing.events(state.run)).map(({ event }) => event)
      assert.deepStrictEqual(events.flatMap((event) => event._tag === "TurnStarted" ? [[event.attempt, event.model]] : []), [[1, "second:m"]])
    }).pipe(Effect.provide(runtime({ breaker }))))

  it.effect("is waited for by others, where there is the time, and else they fail with a word about it", () =>
    Effect.gen(function*() {
      yield* breakFirst
      const patient = yield* Conductor.start(alone, "go")
      const hasty = yield* Conductor.start(alone, "go", { limits: { timeMs: 20_000 } })
      const failed = yield* settled(hasty)
      assert.deepInclude(failed.failure, { _tag: "ModelFailed", reason: "ProviderUnavailable", attempts: 0 })
      assert.match(failed.failure?.message ?? "", /^first:m was not asked: its provider failed too often, and is not asked for another \d+s\. To mend it: try again later, or name more models/)
      assert.strictEqual((failed.endedAt ?? 0) - failed.since, 0)
      assert.deepStrictEqual(yield* testing.tags(hasty), ["RunStarted", "RunClaimed", "RunFailed"])
      assert.strictEqual(Run.answerOf(yield* settled(patient, 30)), "I am the first.")
    }).pipe(Effect.provide(runtime({ breaker }))))

  it.effect("is asked by nobody before the time that it named, and by the run itself as soon as that has come", () =>
    Effect.gen(function*() {
      let left = 1
      const limited = Model.Scripted.make(() => {
        world.asked.push("first")
        return left-- > 0 ? { fail: failure(new AiError.RateLimitError({ retryAfter: Duration.seconds(20) })) } : "At last."
      })
      yield* begin("healthy")
      yield* Effect.gen(function*() {
        const one = yield* Conductor.start(alone, "go", { limits: { attempts: 2 } })
        yield* TestClock.adjust("1 second")
        const two = yield* Conductor.start(alone, "go")
        const other = yield* settled(yield* Conductor.start(chained, "go"))
        assert.deepStrictEqual([Run.answerOf(other), world.asked], ["I am the second.", ["first", "second"]])
        yield* TestClock.adjust("16 seconds")
        assert.deepStrictEqual(world.asked, ["first", "second"])
        for (const run of [one, two]) assert.strictEqual(Run.answerOf(yield* settled(run, 2)), "At last.")
      }).pipe(Effect.provide(Conductor.layerMemory({ agents: [alone, chained], models: scriptedBy({ first: limited, second }) })))
    }))

  it.effect("has its broken answer taken back from watchers, who hear the next model's", () =>
    Effect.gen(function*() {
      yield* begin("cut")
      const watching = yield* Effect.forkChild(Stream.runCollect(Conductor.stream(chained, "go")))
      yield* wait(2)
      const heard = (yield* Fiber.join(watching)).flatMap((item) =>
        "event" in item ? item.event._tag.startsWith("Turn") ? [item.event._tag] : [] : item._tag === "Delta" ? [item.text] : [item._tag])
      assert.deepStrictEqual(heard, ["TurnStarted", "I wa", "Reset", "TurnStarted", "I am the second.", "TurnCompleted"])
    }).pipe(Effect.provide(runtime({}))))
})

describe("The models of a run", () => {
  it.effect("are the agent's, or those that it is started with", () =>
    Effect.gen(function*() {
      yield* begin("badKey")
      const models = Effect.fnUntraced(function*(options: Parameters<typeof Conductor.start>[2]) {
        world.asked = []
        const state = yield* settled(yield* Conductor.start(chained, "go", options))
        return [state.models.join(), state.status, world.asked.join()]
      })
      const [a, b] = [Run.ModelRef.make("first:m"), Run.ModelRef.make("second:m")]
      assert.deepStrictEqual(yield* models({}), ["first:m,second:m", "completed", "first,second"])
      assert.deepStrictEqual(yield* models({ model: a }), ["first:m", "failed", "first"])
      assert.deepStrictEqual(yield* models({ model: b, fallback: [a, b] }), ["second:m,first:m", "completed", "second"])
      assert.deepStrictEqual(yield* models({ fallback: [] }), ["first:m", "failed", "first"])
      // A provider that this process does not have is no reason to fail where another model is named.
      const nobody = Run.ModelRef.make("nobody:m")
      assert.deepStrictEqual(yield* models({ model: nobody, fallback: [b] }), ["nobody:m,second:m", "completed", "second"])
      const unknown = yield* settled(yield* Conductor.start(chained, "go", { model: nobody }))
      assert.strictEqual(unknown.failure?._tag, "UnknownModel")
    }).pipe(Effect.provide(runtime({}))))

  it.effect("are asked from the first again when a failed run is retried", () =>
    Effect.gen(function*() {
      yield* begin("badKey")
      const run = yield* Conductor.start(chained, "go", { fallback: [Run.ModelRef.make("first:n")] })
      const failed = yield* settled(run)
      assert.deepInclude(failed.failure, { _tag: "ModelFailed", model: "first:n", attempts: 2 })
      assert.match(failed.failure?.message ?? "", /^None of 2 models answered\. first:m failed after 1 attempt: .* first:n failed after 1 attempt: .* To mend it: give the provider "first" a valid key\.$/)
      yield* begin("healthy")
      yield* (yield* Conductor).retry(run)
      const state = yield* settled(run)
      assert.deepStrictEqual([state.model, Run.answerOf(state)], ["first:m" as never, "I am the first."])
    }).pipe(Effect.provide(Layer.fresh(Conductor.layerMemory({ agents: [chained], models: testing.models(first) })))))

  it.effect("are gone through by whichever process has the run, and never back", () =>
    Effect.gen(function*() {
      const trio = Agent.make("trio", {
        instructions: "x",
        model: Model.fallback("test:one", "test:two", "test:three"),
        limits: { attempts: 2, cost: "1 USD" }
      })
      const model = testing.script((request) => request.model === "three" ? "Well." : request.model === "two" ? { text: "I f", fail: busy, failAfter: 2 } : { fail: badKey })
      const report = yield* CrashMatrix.run({
        agents: [trio],
        model,
        program: Conductor.run(trio, "go"),
        deaths: 2,
        pairs: 60,
        check: ({ runs }) =>
          Effect.gen(function*() {
            for (const { cost, messages, model, run, status } of runs) {
              assert.deepStrictEqual([status, model, messages.length], ["completed", "test:three" as never, 2])
              const events = (yield* testing.events(run)).map(({ event }) => event)
              const asked = events.flatMap((event) => event._tag === "TurnStarted" ? [trio.model._tag === "Fallback" ? ["test:one", "test:two", "test:three"].indexOf(event.model) : -1] : [])
              assert.deepStrictEqual(asked, asked.toSorted())
              const [one, two] = [0, 1].map((index) =>
                events.filter((event) => event._tag === "AttemptFailed" && event.error.reason !== "Lost" && event.bill.model === ["test:one", "test:two"][index]).length)
              // What will not get better is not repeated, by no process.
              assert.isTrue((one ?? 0) <= 1 && (two ?? 0) <= 2)
              assert.isTrue(cost > 0n)
            }
          })
      })
      assert.isAbove(report.schedules, 40)
    }), 60_000)
})
