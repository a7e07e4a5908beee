import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Clock, Effect, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { filled, makeRate } from "../../src/Org/Rate.ts"
import { type Allowance, KeyId } from "../../src/Org/Tenants.ts"

const key = KeyId.make("key")

/** An allowance that is kept here, and how often it was asked. */
const counted = (limit: number) => {
  let allowance: Allowance = { tokens: limit, at: 0 }
  const asked = { times: 0 }
  const take: Parameters<typeof makeRate>[0]["take"] = (_, { at, back, count }) =>
    Effect.sync(() => {
      asked.times++
      const there = Math.min(limit, filled(allowance, limit, at) + back)
      const taken = Math.min(count, Math.floor(there))
      allowance = { tokens: there - taken, at: Math.max(allowance.at, at) }
      return { taken, tokens: there - taken }
    })
  return { asked, process: () => makeRate({ take }) }
}

describe("the rate of a key", () => {
  it.effect("costs a busy key a few round trips, an idle one as many as it makes requests, and who is refused none", () =>
    Effect.gen(function*() {
      const { asked, process } = counted(6_000)
      const admit = process()
      const admitted = (count: number) =>
        Effect.map(Effect.forEach(Array.from({ length: count }), () => Effect.result(admit(key, 6_000)), { concurrency: 50 }), (results) =>
          results.filter(Result.isSuccess).length)
      // 1, 2, 4, … 64, then 100 at a time.
      assert.deepStrictEqual([yield* admitted(1_000), asked.times], [1_000, 16])
      assert.deepStrictEqual([yield* admitted(10_000), asked.times], [5_000, 67])
      assert.deepStrictEqual([yield* admitted(10_000), asked.times], [0, 67])
      yield* TestClock.adjust("1 minute")
      for (let times = 1; times <= 5; times++) {
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual([yield* admitted(1), asked.times], [1, 67 + times])
      }
    }))

  it.effect.prop("is never more than what it may make at once and what has come since, nor much less, however many processes share it", {
    limit: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2_000 }))),
    processes: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))),
    steps: Arbitrary.array(Arbitrary.schema(Schema.Struct({
      process: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
      requests: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 300 })),
      pause: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 }))
    })), { minLength: 1, maxLength: 40 })
  }, ({ limit, processes, steps }) =>
    Effect.gen(function*() {
      const { process } = counted(limit)
      const all = Array.from({ length: processes }, process)
      const begun = yield* Clock.currentTimeMillis
      let through = 0
      for (const { pause, process, requests } of steps) {
        yield* TestClock.adjust(pause)
        const admit = all[process % processes]
        if (admit === undefined) continue
        let refused = 0
        for (let request = 0; request < requests; request++) {
          const result = yield* Effect.result(admit(key, limit))
          if (Result.isSuccess(result)) through++
          else refused++
        }
        const elapsed = (yield* Clock.currentTimeMillis) - begun
        assert.isAtMost(through, limit + elapsed * limit / 60_000 + 1e-6)
        // What is refused is so because it was made, or is held for a second by the others.
        if (refused > 0) assert.isAtLeast(through + processes * (Math.ceil(limit / 60) + 1), Math.min(limit, requests))
      }
    }))
})
