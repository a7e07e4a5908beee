import { assert, describe, it } from "@effect/vitest"
import * as Money from "../../src/Money.ts"
import { expectedOf } from "../../src/Runs/Bill.ts"
import { reserve } from "../support/budgets.ts"
import { makeRun } from "../support/runs.ts"

/** A run that has begun, with a limit of its own or none. */
const begun = (cost: string | null) => {
  const run = makeRun()
  const event = run.started()
  run.append({ ...event, limits: { ...event.limits, cost: cost === null ? null : Money.usd(cost) } })
  return run.state() ?? assert.fail("no state")
}

const nothing = { reserved: Money.zero, scopes: [] }

describe("What an attempt says beforehand that it is granted", () => {
  it("is nothing where the run has no limit and nobody has paid yet", () => assert.deepStrictEqual(expectedOf(begun(null), reserve, undefined), nothing))

  it("is all that it wants, of the run's own limit", () => {
    const state = begun("1")
    assert.deepStrictEqual(expectedOf(state, reserve, undefined), { reserved: Money.usd("0.2"), scopes: [`run:${state.run}`] })
  })

  it("is paid as the last one was, whatever the limit", () => {
    assert.deepStrictEqual(expectedOf(begun(null), reserve, ["org:a"]), { reserved: Money.usd("0.2"), scopes: ["org:a"] })
    assert.deepStrictEqual(expectedOf(begun("1"), reserve, []), nothing)
  })

  it("is nothing without a price", () => assert.deepStrictEqual(expectedOf(begun("1"), { ...reserve, priced: false }, undefined), nothing))
})
