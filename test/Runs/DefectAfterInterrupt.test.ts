import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as SchemaGetter from "effect/SchemaGetter"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

/** An answer whose reading breaks, as of a bug of its author. */
const Broken = Schema.Struct({ n: Schema.Int.pipe(Schema.decodeTo(Schema.Int, {
  decode: SchemaGetter.transform((): number => { throw new Error("a bug") }),
  encode: SchemaGetter.transform((n: number) => n)
})) })

const agent = Agent.make("broken", { instructions: "x", model: "scripted:test", output: Broken, limits: { time: "1 minute" } })
const provider = Model.Scripted.make((request) =>
  request.messages.length === 1 && request.messages[0]?.role === "user" && request.messages[0].text === "slow" ? { text: "{\"n\":1}", delay: "10 seconds" } : "{\"n\":1}")

layer(testing.layer({ agents: [agent], model: provider }))("A defect", (it) => {
  const run = (input: string, interrupt: boolean) =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(agent, input)
      const fiber = yield* Effect.forkChild(Effect.exit(Conductor.result(run)))
      yield* TestClock.adjust("1 second")
      if (interrupt) yield* Conductor.send(run, "stop", { mode: "interrupt" })
      for (let n = 0; n < 120; n++) yield* TestClock.adjust("1 second")
      const state = yield* (yield* Conductor).state(run)
      yield* Fiber.interrupt(fiber)
      return state
    })
  it.effect("ends the run", () => Effect.map(run("fast", false), (state) => assert.strictEqual(state.failure?._tag, "InternalError")))
  it.effect("ends the run, also after a message that interrupted", () =>
    Effect.map(run("slow", true), (state) => assert.strictEqual(state.failure?._tag, "InternalError")))
})
