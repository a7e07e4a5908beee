import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Ref, Schema, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes } from "../support/conductors.ts"
import { eventually } from "../support/eventually.ts"

const wait = Tool.make("wait", { description: "Waits.", success: Schema.String, effect: "idempotent" })
const launch = Tool.make("launch", { description: "Launches.", success: Schema.String, effect: "unsafe" })

const gate = Latch.makeUnsafe(false)
const finalized = Effect.runSync(Ref.make(0))
/** How many handlers that wait have begun. */
const begun = Effect.runSync(Ref.make(0))
const awaited = Effect.andThen(Ref.update(begun, (n) => n + 1), gate.await)
/** Cannot be interrupted, and takes longer than anybody waits. */
const stubborn = Tool.make("stubborn", { description: "Does not stop.", success: Schema.String, effect: "pure" })

const plugin = Plugin.make("tools", {
  tools: [wait, launch, stubborn],
  handlers: {
    wait: () => Effect.as(awaited, "waited").pipe(Effect.onInterrupt(() => Ref.update(finalized, (n) => n + 1))),
    launch: () => Effect.as(awaited, "launched"),
    stubborn: () => Effect.uninterruptible(Effect.as(Effect.sleep("10 seconds"), "done at last"))
  }
})

/** What was said and answered so far, in short. */
const transcript = (request: Model.Request): string =>
  request.messages.map((message) =>
    message.role === "user" ? message.text : message.role === "tool" ? message.results.map((one) => one.result).join("+") : "…"
  ).join(" | ")

/** `call x y` calls tools, `think` streams slowly, anything else is answered with what was said. */
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role !== "user") return transcript(request)
  const [verb, ...names] = last.text.split(" ")
  if (verb === "call") return { toolCalls: names.map((name) => ({ name })) }
  return verb === "think" ? { text: "let me think", pace: "1 second" } : transcript(request)
}, { pieces: 4 })

const agent = Agent.make("listener", { instructions: "Listen.", model: "scripted:test", plugins: [plugin] })

const until = (run: Run.RunId, tag: Run.RunEvent["_tag"]) =>
  Stream.runDrain(Stream.takeUntil(Conductor.watch(run), (item) => "event" in item && item.event._tag === tag))

for (const { layer: runtime, name } of runtimes([agent], provider)) {
  layer(runtime, { excludeTestServices: true })(`A message (${name})`, (it) => {
    it.effect("steers the next turn, in the order in which it was sent", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const run = yield* Conductor.start(agent, "call wait")
        yield* until(run, "ToolStarted")
        yield* Conductor.send(run, "and b")
        yield* Conductor.send(run, "and c", { mode: "steer" })
        gate.openUnsafe()
        assert.strictEqual((yield* Conductor.result(run)).text, `call wait | … | "waited" | and b | and c`)
        yield* testing.check(run)
      }))

    it.effect("is queued until the model has nothing more to do, each with an answer of its own", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const run = yield* Conductor.start(agent, "call wait")
        yield* until(run, "ToolStarted")
        yield* Conductor.send(run, "later", { mode: "queue" })
        yield* Conductor.send(run, "latest", { mode: "queue" })
        yield* Conductor.send(run, "now")
        gate.openUnsafe()
        assert.strictEqual((yield* Conductor.result(run)).text, `call wait | … | "waited" | now | … | later | … | latest`)
        yield* testing.check(run)
      }))

    it.effect("interrupts tools, whose finalizers run, and says where the outcome is unknown", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const before = yield* Ref.get(finalized)
        yield* Ref.set(begun, 0)
        const run = yield* Conductor.start(agent, "call wait launch")
        yield* eventually(Ref.get(begun), (handlers) => handlers === 2)
        yield* Conductor.send(run, "stop that", { mode: "interrupt" })
        const interrupted = "A message interrupted this call."
        const unknown = `${interrupted} The tool had begun: whether it happened is unknown.`
        assert.strictEqual((yield* Conductor.result(run)).text, `call wait launch | … | ${unknown}+${unknown} | stop that`)
        assert.strictEqual(yield* Ref.get(finalized), before + 1)
        yield* testing.check(run)
      }))

    it.effect("interrupts an answer, which is charged and asked for again with the message, however often", () =>
      Effect.gen(function*() {
        const run = yield* Conductor.start(agent, "think")
        for (const [index, text] of ["think of a", "think of b", "enough"].entries()) {
          yield* eventually(testing.tags(run), (tags) => tags.filter((tag) => tag === "TurnStarted").length > index)
          yield* Conductor.send(run, text, { mode: "interrupt" })
        }
        const result = yield* Conductor.result(run)
        assert.strictEqual(result.text, "think | think of a | think of b | enough")
        const failed = (yield* testing.events(run)).flatMap(({ event }) => event._tag === "AttemptFailed" ? [event.error.reason] : [])
        assert.deepStrictEqual(failed, ["Interrupted", "Interrupted", "Interrupted"])
        yield* testing.check(run)
      }))

    it.effect("is rejected by a run at work, if that is what its sender wants", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const run = yield* Conductor.start(agent, "call wait")
        yield* until(run, "ToolStarted")
        const error = yield* Effect.flip(Conductor.send(run, "hello?", { mode: "reject" }))
        assert.strictEqual(error._tag, "RunConflict")
        gate.openUnsafe()
        assert.strictEqual((yield* Conductor.result(run)).text, `call wait | … | "waited"`)
      }))

    it.effect("is not rejected where it was accepted before", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const run = yield* Conductor.start(agent, "call wait")
        yield* until(run, "ToolStarted")
        const accepted = yield* Conductor.send(run, "hello?", { dedupe: "once" })
        assert.strictEqual(yield* Conductor.send(run, "hello?", { mode: "reject", dedupe: "once" }), accepted)
        gate.openUnsafe()
        assert.include((yield* Conductor.result(run)).text, "hello?")
      }))
  })
}

layer(testing.layer({ agents: [agent], model: provider }))("A cancel", (it) => {
  const cancelled = (input: string) =>
    Effect.gen(function*() {
      gate.closeUnsafe()
      const run = yield* Conductor.start(agent, input)
      const end = yield* Effect.forkChild(Effect.flip(Conductor.result(run)))
      yield* TestClock.adjust("1500 millis")
      yield* Conductor.cancel(run, "enough")
      yield* TestClock.adjust("250 millis")
      const error = yield* Fiber.join(end)
      assert.strictEqual(error._tag, "Cancelled")
      const events = yield* testing.events(run)
      const [command, last] = [events.find(({ event }) => event._tag === "CancelRequested"), events.at(-1)]
      assert.isDefined(last)
      yield* testing.check(run)
      return { events, took: (last?.at ?? 0) - 1500 - (events[0]?.at ?? 0), last: last?.event, command }
    })

  it.effect("ends an answer and tools at once", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* cancelled("think")).took, 0)
      const tools = yield* cancelled("call wait wait launch")
      assert.strictEqual(tools.took, 0)
      assert.deepStrictEqual(tools.last?._tag === "RunCancelled" ? tools.last.left : undefined, [])
    }))

  it.effect("does not wait for what cannot be interrupted, and names it", () =>
    Effect.gen(function*() {
      const { last, took } = yield* cancelled("call stubborn wait")
      assert.isAtMost(took, 250)
      assert.deepStrictEqual(last?._tag === "RunCancelled" ? last.left : undefined, ["stubborn"])
      yield* TestClock.adjust("10 seconds")
    }))
})


for (const { layer: runtime, name } of runtimes([agent], provider)) {
  layer(runtime, { excludeTestServices: true })(`An input for a session (${name})`, (it) => {
    it.effect("starts a run where the session is idle, and is heard by the run at work otherwise, as its sender says", () =>
      Effect.gen(function*() {
        gate.closeUnsafe()
        const session = `talk-${name}`
        const say = (text: string, whenBusy: "queue" | "steer" | "interrupt" | "reject") =>
          Conductor.start(agent, text, { session, whenBusy })
        const first = yield* say("call wait", "steer")
        yield* until(first, "ToolStarted")
        assert.strictEqual((yield* Effect.flip(say("no", "reject")))._tag, "RunConflict")
        assert.strictEqual(yield* say("later", "queue"), first)
        assert.strictEqual(yield* say("now", "steer"), first)
        gate.openUnsafe()
        assert.strictEqual((yield* Conductor.result(first)).text, `call wait | … | "waited" | now | … | later`)
        const second = yield* say("again", "steer")
        assert.notStrictEqual(second, first)
        assert.match((yield* Conductor.result(second)).text, /later \| … \| again$/)
      }))
  })
}
