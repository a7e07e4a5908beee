import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Budget } from "../src/Budget.ts"
import * as Money from "../src/Money.ts"
import type { Limits } from "../src/Run.ts"
import { type Append, type Reserve, RunLog } from "../src/RunLog.ts"
import { makeRun } from "./support/runs.ts"
import { stores } from "./support/stores.ts"

const usd = Money.usd

/** Input for 0.10 USD and up to 1,000 output tokens at 100 USD a million, so 0.10 USD: together 0.20 USD. */
const reserve: Reserve = { input: usd("0.1"), rate: usd("100"), max: 1_000, min: 100, priced: true }

const show = (balance: { readonly limit: Money.Money; readonly spent: Money.Money; readonly reserved: Money.Money }) =>
  [balance.limit, balance.spent, balance.reserved].map(Money.format).join(" ")

type Run = ReturnType<typeof makeRun>

const begin = Effect.fnUntraced(function*(cost: string | null, org?: string) {
  const run = org === undefined ? makeRun() : makeRun({ org })
  const event = run.started()
  const limits: Limits = { ...event.limits, cost: cost === null ? null : usd(cost) }
  yield* (yield* RunLog).append(run.append({ ...event, limits }))
  return run
})

const ask = (run: Run, more: Partial<Reserve> = {}): Append => ({
  ...run.append({ ...run.turnStarted(), maxOutput: reserve.max }),
  reserve: { ...reserve, ...more }
})

const balance = Effect.fnUntraced(function*(run: Run, scope = `run:${run.run}`) {
  const all = yield* (yield* Budget).list(run.org)
  const found = all.find((one) => one.scope === scope)
  return found === undefined ? "none" : show(found)
})

/** The answer to the attempt that an append started, as the owner of the run writes it: it knows what was granted. */
const answer = (run: Run, granted: Append, cost: string): Append => {
  const step = granted.steps.at(-1)
  const append = run.append({ ...run.turnCompleted({ cost }) })
  const [first] = append.steps
  return { ...append, steps: [{ ...first, before: step?.after }] }
}

for (const { layer: store, name } of stores) {
  layer(store, { excludeTestServices: true })(`Budget (${name})`, (it) => {
    it.effect("sets money aside before a request and settles it with the attempt's end", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("1")
        assert.strictEqual(yield* balance(run), "1 0 0")
        const granted = yield* log.append(ask(run))
        const event = granted.steps[0].logged.event
        assert.isTrue(event._tag === "TurnStarted")
        if (event._tag === "TurnStarted") {
          assert.strictEqual(Money.format(event.reserved), "0.2")
          assert.strictEqual(event.maxOutput, 1_000)
          assert.deepStrictEqual(event.scopes, [`run:${run.run}`])
        }
        assert.strictEqual(yield* balance(run), "1 0 0.2")
        yield* log.append(answer(run, granted, "0.123456789012"))
        assert.strictEqual(yield* balance(run), "1 0.123456789012 0")
        const state = yield* log.state(run.run)
        assert.strictEqual(Money.format(state.cost), "0.123456789012")
      }))

    it.effect("grants as much output as is left, and stores what it granted", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.15")
        const granted = yield* log.append(ask(run))
        assert.strictEqual(granted.steps[0].after.attempt?.maxOutput, 500)
        assert.strictEqual(yield* balance(run), "0.15 0 0.15")
        const state = yield* log.state(run.run)
        assert.strictEqual(state.attempt?.maxOutput, 500)
        assert.strictEqual(Money.format(state.attempt?.reserved ?? Money.zero), "0.15")
      }))

    it.effect("refuses a request that is not covered, and says by how much", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.105")
        const error = yield* Effect.flip(log.append(ask(run)))
        assert.isTrue(error._tag === "BudgetExceeded")
        if (error._tag === "BudgetExceeded") {
          assert.strictEqual(error.scope, `run:${run.run}`)
          assert.deepStrictEqual([error.limit, error.spent, error.reserved, error.asked].map(Money.format), ["0.105", "0", "0", "0.11"])
        }
        assert.strictEqual(yield* balance(run), "0.105 0 0")
        assert.strictEqual((yield* log.find(run.run)).seq, 1)
      }))

    it.effect("admits by all scopes or by none", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin("1")
        yield* budget.set(run.org, `org:${run.org}`, usd("0.1"))
        const append = ask(run)
        const error = yield* Effect.flip(log.append(append))
        assert.isTrue(error._tag === "BudgetExceeded" && error.scope === `org:${run.org}`)
        assert.strictEqual(yield* balance(run), "1 0 0")
        assert.strictEqual(yield* balance(run, `org:${run.org}`), "0.1 0 0")
        yield* budget.set(run.org, `org:${run.org}`, usd("5"))
        const granted = yield* log.append(append)
        assert.strictEqual(yield* balance(run, `org:${run.org}`), "5 0 0.2")
        yield* log.append(answer(run, granted, "0.15"))
        assert.strictEqual(yield* balance(run), "1 0.15 0")
        assert.strictEqual(yield* balance(run, `org:${run.org}`), "5 0.15 0")
      }))

    it.effect("charges a budget that was set while a request was under way, without releasing what it never held", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin(null)
        const granted = yield* log.append(ask(run))
        assert.deepStrictEqual(granted.steps[0].after.attempt?.scopes, [])
        yield* (yield* Budget).set(run.org, `session:${run.session}`, usd("1"))
        yield* log.append(answer(run, granted, "0.3"))
        assert.strictEqual(yield* balance(run, `session:${run.session}`), "1 0.3 0")
      }))

    it.effect("refuses a model without a price under a budget, and lets it be without one", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const bounded = yield* begin("1")
        assert.strictEqual((yield* Effect.flip(log.append(ask(bounded, { priced: false, input: Money.zero, rate: Money.zero }))))._tag, "UnpricedModel")
        const free = yield* begin(null)
        yield* log.append(ask(free, { priced: false, input: Money.zero, rate: Money.zero }))
      }))

    it.effect("grants all output where output is free", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.1")
        yield* log.append(ask(run, { rate: Money.zero }))
        assert.strictEqual(yield* balance(run), "0.1 0 0.1")
        const poor = yield* begin("0.09")
        assert.strictEqual((yield* Effect.flip(log.append(ask(poor, { rate: Money.zero }))))._tag, "BudgetExceeded")
      }))

    it.effect("never lets concurrent runs overdraw one organisation", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const first = yield* begin(null)
        const runs = [first, ...(yield* Effect.forEach(Array.from({ length: 29 }), () => begin(null, first.org)))]
        yield* (yield* Budget).set(first.org, `org:${first.org}`, usd("2"))
        const outcomes = yield* Effect.forEach(runs, (run) => Effect.result(log.append(ask(run))), { concurrency: "unbounded" })
        assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Success").length, 10)
        assert.strictEqual(yield* balance(first, `org:${first.org}`), "2 0 2")
      }))
  })
}
