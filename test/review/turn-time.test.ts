import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import * as AiError from "effect/ai/AiError"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const agent = Agent.make("hasty", { instructions: "x", model: "scripted:test", limits: { turnTime: "5 seconds", time: "10 minutes" } })
const provider = Model.Scripted.make(() => ({ fail: AiError.make({ module: "Test", method: "stream", reason: new AiError.RateLimitError({ retryAfter: Duration.seconds(60) }) }) }))

layer(testing.layer({ agents: [agent], model: provider }))("The limit of a turn", (it) => {
  it.effect("counts the wait between attempts", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "go")
      const fiber = yield* Effect.forkChild(Effect.exit(Conductor.result(run)))
      for (let n = 0; n < 200; n++) yield* TestClock.adjust("1 second")
      const events = yield* testing.events(run)
      yield* Fiber.join(fiber)
      const state = yield* testing.check(run)
      assert.strictEqual(state.failure?._tag, "TurnTimedOut")
      assert.strictEqual((state.endedAt ?? 0) - (events[0]?.at ?? 0), 5_000)
    }))
})
