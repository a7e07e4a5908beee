import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const slow = Tool.make("slow", { description: "Is slow.", success: Schema.String, effect: "pure" })
const vital = Tool.make("vital", { description: "Is vital.", success: Schema.String, failure: Schema.String, failureMode: "error", effect: "pure" })
const plugin = Plugin.make("tools", {
  tools: [slow, vital],
  handlers: { slow: () => Effect.as(Effect.sleep("20 seconds"), "done"), vital: () => Effect.as(Effect.sleep("20 seconds"), "done") }
})

const provider = Model.Scripted.make((request) => {
  const [first] = request.messages
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map((one) => one.result).join()
  const text = first?.role === "user" ? first.text : ""
  switch (text) {
    case "late":
      return { text: "at last", delay: "30 seconds" }
    case "stall":
      return { text: "a long answ", hang: true }
    case "talk":
      return { text: "so much to say", pace: "3 seconds" }
    default:
      return { toolCalls: [{ name: text }] }
  }
}, { pieces: 2 })

const agent = Agent.make("timed", {
  instructions: "Be quick.",
  model: "scripted:test",
  plugins: [plugin],
  limits: { attempts: 2, firstToken: "10 seconds", streamIdle: "5 seconds", turnTime: "15 seconds", toolTime: "8 seconds", time: "1 minute" }
})

/** Runs it with a minute and a half passing. */
const settle = (input: string, options?: Parameters<typeof Conductor.start>[2]) =>
  Effect.gen(function*() {
    const run = yield* Conductor.start(agent, input, options)
    const fiber = yield* Effect.forkChild(Effect.exit(Conductor.result(run)))
    for (let n = 0; n < 90; n++) yield* TestClock.adjust("1 second")
    const state = yield* testing.check(run)
    yield* Fiber.join(fiber)
    return { state, events: yield* testing.events(run) }
  })

const failure = (input: string, options?: Parameters<typeof Conductor.start>[2]) =>
  Effect.map(settle(input, options), ({ events, state }) => ({
    error: state.failure,
    tookMs: (state.endedAt ?? 0) - (events[0]?.at ?? 0),
    reasons: events.flatMap(({ event }) => event._tag === "AttemptFailed" ? [event.error.reason] : [])
  }))

layer(testing.layer({ agents: [agent], model: provider }))("A limit of time", (it) => {
  it.effect("ends an attempt that says nothing, and the run after the last attempt", () =>
    Effect.gen(function*() {
      const { error, reasons, tookMs } = yield* failure("late", { limits: { turnMs: 60_000 } })
      assert.deepInclude(error, { _tag: "FirstTokenTimedOut", limitMs: 10_000 })
      assert.deepStrictEqual(reasons, ["FirstTokenTimedOut", "FirstTokenTimedOut"])
      assert.strictEqual(tookMs, 20_000)
    }))

  it.effect("ends an attempt that falls silent", () =>
    Effect.gen(function*() {
      const { error, reasons, tookMs } = yield* failure("stall")
      assert.deepInclude(error, { _tag: "StreamStalled", limitMs: 5_000 })
      assert.deepStrictEqual(reasons, ["StreamStalled", "StreamStalled"])
      assert.strictEqual(tookMs, 10_000)
    }))

  it.effect("ends a turn with all its attempts", () =>
    Effect.gen(function*() {
      const { error, reasons, tookMs } = yield* failure("talk")
      assert.deepInclude(error, { _tag: "TurnTimedOut", limitMs: 15_000 })
      assert.deepStrictEqual(reasons, ["TurnTimedOut"])
      assert.strictEqual(tookMs, 15_000)
      const both = yield* failure("late")
      assert.strictEqual(both.error?._tag, "TurnTimedOut")
      assert.deepStrictEqual(both.reasons, ["FirstTokenTimedOut", "TurnTimedOut"])
    }))

  it.effect("ends a tool: as a result for the model, or with the run where its failure is fatal", () =>
    Effect.gen(function*() {
      const { state } = yield* settle("slow")
      assert.strictEqual(Run.answerOf(state), "The tool \"slow\" did not finish within 8s.")
      const told = yield* settle("vital")
      assert.deepInclude(told.state.failure, { _tag: "ToolTimedOut", tool: "vital", limitMs: 8_000 })
    }))

  it.effect("ends the run", () =>
    Effect.gen(function*() {
      const { error, tookMs } = yield* failure("late", { limits: { timeMs: 4_000 } })
      assert.deepInclude(error, { _tag: "RunTimedOut", limitMs: 4_000 })
      assert.strictEqual(tookMs, 4_000)
    }))
})
