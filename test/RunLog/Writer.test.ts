import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { BetweenStore, Observer, RunLog } from "../../src/RunLog.ts"
import { makeRun } from "../support/runs.ts"

it.live("After a flush of many runs the event loop turns again before all of them have gone on", () =>
  Effect.gen(function*() {
    let turn = 0
    const turns = new Map<number, number>()
    const log = RunLog.layerMemory([], []).pipe(
      // What stands between is not gone around: the store is flushed to, as a database is.
      Layer.provide(Layer.succeed(BetweenStore, (store) => ({ ...store, flush: (batch) => store.flush(batch) }))),
      Layer.provide(Layer.succeed(Observer, () => {
        turns.set(turn, (turns.get(turn) ?? 0) + 1)
      })),
      Layer.provide(SecureRandom.layerWebCrypto)
    )
    yield* Effect.gen(function*() {
      const { submit } = yield* RunLog
      const pending = Array.from({ length: 400 }, () => {
        const run = makeRun()
        return submit(run.append(run.started()))
      })
      let isOver = false
      const count = () => {
        turn++
        if (!isOver) setImmediate(count)
      }
      count()
      yield* Effect.forEach(pending, Deferred.await, { concurrency: "unbounded" })
      isOver = true
      assert.strictEqual([...turns.values()].reduce((sum, runs) => sum + runs, 0), 400)
      assert.isAtMost(Math.max(...turns.values()), 50)
    }).pipe(Effect.provide(log))
  }))
