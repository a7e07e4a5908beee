import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { inject } from "vitest"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { carryOut, describe as describeOutcome, sure } from "./campaign.ts"
import type { Place } from "./worker.ts"

const campaign = (database: "postgres" | "pglite", at: Place, workers: number) =>
  Effect.gen(function*() {
    const seed = inject("seed")
    const outcome = yield* Effect.promise(() => carryOut({ seed: `${seed}-${database}`, kills: 10, runs: 25, at, workers }))
    const again = `\nAgain: npm run survive -- --seed ${seed} --kills 10 --runs 25 --database ${database}\n${describeOutcome(outcome)}`
    assert.deepStrictEqual(outcome.broken, [], again)
    assert.strictEqual(outcome.counts["kills"], 10)
    assert.deepStrictEqual(sure.filter((phase) => (outcome.phases.get(phase) ?? 0) === 0), [], again)
  })

describe("runs whose workers are killed with SIGKILL, ten times", () => {
  it.live("end or are parked, each effect as its class promises (postgres, two workers)", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      yield* campaign("postgres", { url: Redacted.value(url) }, 2)
    }), 300_000)

  it.live("end or are parked, each effect as its class promises (pglite)", () =>
    Effect.gen(function*() {
      yield* campaign("pglite", { dir: yield* freshDirectory }, 1)
    }), 300_000)
})
