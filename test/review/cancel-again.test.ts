import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const stubborn = Tool.make("stubborn", { description: "Does not stop.", success: Schema.String, effect: "pure", timeout: "10 minutes" })
const agent = Agent.make("stubborn", {
  instructions: "x", model: "scripted:test", limits: { time: "10 seconds" },
  plugins: [Plugin.make("p", { tools: [stubborn], handlers: { stubborn: () => Effect.uninterruptible(Effect.as(Effect.sleep("1 minute"), "x")) } })]
})
const provider = Model.Scripted.make((request) => request.messages.at(-1)?.role === "user" ? { toolCalls: [{ name: "stubborn" }] } : { text: "x", hang: true })

layer(testing.layer({ agents: [agent], model: provider }))("A cancel", (it) => {
  it.effect("is followed in a run that is retried after it had failed beside an earlier cancel", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "go")
      yield* TestClock.adjust("9 seconds")
      yield* TestClock.adjust("1100 millis")
      // The time is up, and its tools are given a moment to stop.
      yield* Conductor.cancel(run)
      yield* TestClock.adjust("1 second")
      const conductor = yield* Conductor
      assert.strictEqual((yield* conductor.state(run)).status, "failed")
      yield* conductor.retry(run, { principal: "user:1" })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* conductor.state(run)).status, "running")
      yield* Conductor.cancel(run)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* conductor.state(run)).status, "cancelled")
    }))
})
