import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model } from "../../src/index.ts"
import { BetweenStore } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"

const agent = Agent.make("slow", { instructions: "x", model: "scripted:test", limits: { time: "10 seconds" } })
const provider = Model.Scripted.make(() => ({ text: "done", delay: "9 seconds" }))

/** A database that takes two seconds for the end of a run. */
const slowly = Layer.succeed(BetweenStore, (store) => ({
  ...store,
  flush: (batch) =>
    Effect.andThen(
      batch.some((append) => append.steps.some((step) => step.logged.event._tag === "RunCompleted")) ? Effect.sleep("2 seconds") : Effect.void,
      store.flush(batch)
    )
}))

layer(testing.layer({ agents: [agent], model: provider }).pipe(Layer.provide(slowly)))("The time limit", (it) => {
  it.effect("does not fail a run that has completed while its end was written", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "go")
      const fiber = yield* Effect.forkChild(Effect.exit(Conductor.result(run)))
      for (let n = 0; n < 20; n++) yield* TestClock.adjust("1 second")
      const tags = yield* testing.tags(run)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(tags.filter((tag) => tag === "RunCompleted" || tag === "RunFailed"), ["RunCompleted"])
    }))
})
