import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer } from "effect"
import { Agent } from "../../src/index.ts"
import { BetweenStore } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { ask, events, served } from "../support/api.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })
const runtime = testing.layer({ agents: [agent], model: testing.script(() => "Hello.") })

/** Lists that are read just now, and how many there were at most; they go on once the latch is open. */
const lists = { now: 0, most: 0, latch: Latch.makeUnsafe(false) }

const between = Layer.succeed(BetweenStore, (store) => ({
  ...store,
  as: (org) => ({
    ...store.as(org),
    list: (filter) =>
      Effect.acquireUseRelease(
        Effect.sync(() => lists.most = Math.max(lists.most, ++lists.now)),
        () => Effect.andThen(lists.latch.await, store.as(org).list(filter)),
        () => Effect.sync(() => lists.now--)
      )
  })
}))

layer(served(Layer.provide(runtime, between)), { excludeTestServices: true })("A server of which much is read that takes long", (it) => {
  it.effect("reads a little at a time, and starts runs and says how it is meanwhile", () =>
    Effect.gen(function*() {
      const reading = yield* Effect.forkChild(Effect.forEach(Array.from({ length: 30 }), () => ask("/v1/runs?limit=1000"), { concurrency: "unbounded" }))
      while (lists.now < 6) yield* Effect.sleep("5 millis")
      const started = yield* ask("/v1/runs", { body: { input: "hello" } })
      assert.strictEqual(started.status, 202)
      assert.strictEqual((yield* ask("/health", { key: null })).status, 200)
      yield* lists.latch.open
      assert.deepStrictEqual(new Set((yield* Fiber.join(reading)).map(({ status }) => status)), new Set([200]))
      assert.strictEqual(lists.most, 6)
      const { sent } = yield* events(started.body.run)
      assert.strictEqual(sent.at(-1)?.event, "RunCompleted")
    }), 30_000)
})
