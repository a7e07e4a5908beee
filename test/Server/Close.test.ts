import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Latch, Layer, Scope } from "effect"
import { Agent } from "../../src/index.ts"
import { BetweenStore } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, served } from "../support/api.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })

/** A server whose lists wait for a latch. */
const waiting = Effect.gen(function*() {
  const latch = Latch.makeUnsafe(false)
  let asked = 0
  const between = Layer.succeed(BetweenStore, (store) => ({
    ...store,
    as: (org) => ({
      ...store.as(org),
      list: (filter) => Effect.andThen(Effect.andThen(Effect.sync(() => asked++), latch.await), store.as(org).list(filter))
    })
  }))
  const scope = yield* Scope.make()
  const runtime = testing.layer({ agents: [agent], model: testing.script(() => "Hello.") })
  const services = yield* Layer.buildWithScope(served(Layer.provide(Layer.fresh(runtime), between)), scope)
  const all = (count: number) =>
    Effect.forEach(Array.from({ length: count }), () => Effect.exit(Effect.timeout(ask("/v1/runs"), "10 seconds")), { concurrency: "unbounded" }).pipe(
      Effect.provideService(Address, Context.get(services, Address))
    )
  return { all, latch, scope, asked: () => asked }
})

describe("A server that closes", () => {
  it.live("answers the requests under way, whichever socket they came by", () =>
    Effect.gen(function*() {
      const { all, asked, latch, scope } = yield* waiting
      const answers = yield* Effect.forkChild(all(6))
      while (asked() < 6) yield* Effect.sleep("10 millis")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.sleep("300 millis")
      yield* latch.open
      for (const exit of yield* Fiber.join(answers)) assert.strictEqual(Exit.isSuccess(exit) ? exit.value.status : exit, 200)
      yield* Fiber.join(closing)
    }), 30_000)

  it.live("lets go of those that take too long", () =>
    Effect.gen(function*() {
      const { all, asked, scope } = yield* waiting
      const answers = yield* Effect.forkChild(all(3))
      while (asked() < 3) yield* Effect.sleep("10 millis")
      yield* Effect.timeout(Scope.close(scope, Exit.void), "8 seconds")
      for (const exit of yield* Fiber.join(answers)) assert.isFalse(Exit.isSuccess(exit) && exit.value.status === 200)
    }), 30_000)
})
