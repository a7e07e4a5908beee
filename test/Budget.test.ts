import { assert, layer } from "@effect/vitest"
import { DateTime, Deferred, Effect } from "effect"
import { AuditLog } from "../src/AuditLog.ts"
import { Budget } from "../src/Budget.ts"
import * as Money from "../src/Money.ts"
import { CurrentPrincipal } from "../src/Org.ts"
import { RunLog } from "../src/RunLog.ts"
import { answer, ask, balanceOf, begin, endPeriod, refused, show, turn } from "./support/budgets.ts"
import type { makeRun } from "./support/runs.ts"
import { stores } from "./support/stores.ts"

const usd = Money.usd

type Run = ReturnType<typeof makeRun>

const balance = (run: Run, scope = `run:${run.run}`) => Effect.map(balanceOf(run.org, scope), show)

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

    it.effect("settles an answer and admits the next request in one go, with what the answer left", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.3")
        const first = yield* log.append(ask(run))
        const answered = log.submit(answer(run, first, "0.15"))
        const next = yield* Deferred.await(log.submit(ask(run)))
        yield* Deferred.await(answered)
        assert.strictEqual(next.steps.length, 1)
        assert.strictEqual(next.steps[0].after.attempt?.maxOutput, 500)
        assert.strictEqual(yield* balance(run), "0.3 0.15 0.15")
        assert.strictEqual((yield* log.state(run.run)).attempt?.maxOutput, 500)
      }))

    it.effect("keeps and settles an answer once where the request that came with it is refused", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.25")
        const first = yield* log.append(ask(run))
        const answered = log.submit(answer(run, first, "0.15"))
        const error = yield* Effect.flip(Deferred.await(log.submit(ask(run))))
        assert.isTrue(error._tag === "BudgetExceeded")
        if (error._tag === "BudgetExceeded") {
          assert.deepStrictEqual([error.limit, error.spent, error.reserved, error.asked].map(Money.format), ["0.25", "0.15", "0", "0.11"])
        }
        yield* Deferred.await(answered)
        assert.strictEqual(yield* balance(run), "0.25 0.15 0")
        assert.strictEqual((yield* log.find(run.run)).seq, 3)
        assert.strictEqual((yield* log.state(run.run)).turns, 1)
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
        const runs = [first, ...(yield* Effect.forEach(Array.from({ length: 29 }), () => begin(null, { org: first.org })))]
        yield* (yield* Budget).set(first.org, `org:${first.org}`, usd("2"))
        const outcomes = yield* Effect.forEach(runs, (run) => Effect.result(log.append(ask(run))), { concurrency: "unbounded" })
        assert.strictEqual(outcomes.filter((outcome) => outcome._tag === "Success").length, 10)
        assert.strictEqual(yield* balance(first, `org:${first.org}`), "2 0 2")
      }))

    it.effect("keeps what is spent and reserved when the limit is changed, and says how far it is above", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin("1")
        const scope = `run:${run.run}`
        yield* turn(run, "0.3")
        const granted = yield* log.append(ask(run))
        yield* budget.set(run.org, scope, usd("0.4"))
        assert.strictEqual(yield* balance(run), "0.4 0.3 0.2 0.1")
        assert.strictEqual((yield* refused(run))._tag, "BudgetExceeded")
        yield* log.append(answer(run, granted, "0.05"))
        assert.strictEqual(yield* balance(run), "0.4 0.35 0")
        yield* budget.set(run.org, scope, usd("0.2"))
        assert.strictEqual(yield* balance(run), "0.2 0.35 0 0.15")
        yield* budget.set(run.org, scope, usd("2"))
        assert.strictEqual(yield* balance(run), "2 0.35 0")
        assert.strictEqual((yield* balanceOf(run.org, scope))?.share, 0.175)
      }))

    it.effect("takes in what was dearer than its reservation, and says so", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = yield* begin("0.25")
        const granted = yield* log.append(ask(run))
        yield* log.append(answer(run, granted, "0.400000000001"))
        assert.strictEqual(yield* balance(run), "0.25 0.400000000001 0 0.150000000001")
        assert.strictEqual((yield* refused(run))._tag, "BudgetExceeded")
      }))

    it.effect("begins to count anew with each period, and carries what is reserved", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin(null)
        const scope = `org:${run.org}`
        for (const period of ["day", "month"] as const) {
          yield* budget.set(run.org, scope, usd("0.5"), { period })
          const before = yield* balanceOf(run.org, scope)
          const now = yield* DateTime.now
          assert.strictEqual(before?.period, period)
          assert.strictEqual(before?.until, DateTime.endOf(now, period).epochMilliseconds + 1)
          yield* turn(run, "0.15")
          const granted = yield* log.append(ask(run))
          const error = yield* refused(run, { min: 1_000 })
          assert.isTrue(error._tag === "BudgetExceeded" && error.period === period)
          assert.include(error.message, `for this ${period} does not cover the next request: limit 0.5 USD, spent 0.15, reserved 0.2, asked 0.2.`)
          const next = DateTime.formatIso(DateTime.makeUnsafe(before?.until ?? 0)).slice(0, 16).replace("T", " ")
          assert.include(error.message, `Or wait until ${next} UTC, when the next ${period} begins.`)
          yield* endPeriod(run.org, scope)
          // Seen at once, though nothing was written since.
          const after = yield* balanceOf(run.org, scope)
          assert.strictEqual(show(after), "0.5 0 0.2")
          assert.deepStrictEqual([after?.since, after?.until], [DateTime.startOf(now, period).epochMilliseconds, before?.until])
          // An attempt is settled in the period in which it ends.
          yield* log.append(answer(run, granted, "0.11"))
          assert.strictEqual(yield* balance(run, scope), "0.5 0.11 0")
          yield* endPeriod(run.org, scope)
          const last = yield* log.append(ask(run))
          assert.strictEqual(yield* balance(run, scope), "0.5 0 0.2")
          yield* log.append(answer(run, last, "0.01"))
        }
        // A limit keeps its period, and with another one it counts from then on.
        yield* budget.set(run.org, scope, usd("0.6"))
        assert.strictEqual((yield* balanceOf(run.org, scope))?.period, "month")
        assert.strictEqual(yield* balance(run, scope), "0.6 0.01 0")
        yield* budget.set(run.org, scope, usd("0.6"), { period: "none" })
        const last = yield* balanceOf(run.org, scope)
        assert.deepStrictEqual([show(last), last?.period, last?.until], ["0.6 0 0", "none", null])
      }))

    it.effect("tells once in each period that four fifths are spent, in the run's log and in the audit trail", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const audit = yield* AuditLog
        const run = yield* begin("10")
        const scope = `org:${run.org}`
        yield* budget.set(run.org, scope, usd("1"), { period: "month" })
        const warned = Effect.fnUntraced(function*(cost: string) {
          const granted = yield* turn(run, cost, { input: usd("0.01"), rate: usd("1") })
          const event = granted.steps[0].logged.event
          return event._tag === "TurnStarted" ? event.warnings?.map((one) => `${one.scope} ${Money.format(one.spent)} ${one.period}`) : undefined
        })
        assert.isUndefined(yield* warned("0.799999999999"))
        assert.isUndefined(yield* warned("0.000000000001"))
        assert.deepStrictEqual(yield* warned("0.01"), [`${scope} 0.8 month`])
        assert.isUndefined(yield* warned("0.01"))
        yield* endPeriod(run.org, scope)
        assert.isUndefined(yield* warned("0.9"))
        assert.deepStrictEqual(yield* warned("0.01"), [`${scope} 0.9 month`])
        // With a higher limit less than four fifths are spent, so that it is told when they are.
        yield* budget.set(run.org, scope, usd("2"))
        assert.isUndefined(yield* warned("0.7"))
        assert.deepStrictEqual(yield* warned("0.01"), [`${scope} 1.61 month`])
        const state = yield* log.state(run.run)
        assert.strictEqual(state.attempt, null)
        const rows = yield* audit.list({ org: run.org, action: "budget_warning", limit: 10 })
        assert.deepStrictEqual(rows.map((row) => [row.tool, row.run, (row.input as { readonly spent: string }).spent]), [
          [scope, run.run, "1.61"], [scope, run.run, "0.9"], [scope, run.run, "0.8"]
        ])
      }))

    it.effect("is removed at once, and what it holds is settled all the same", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin(null)
        const scope = `org:${run.org}`
        yield* budget.set(run.org, scope, usd("0.3"))
        const granted = yield* log.append(ask(run))
        assert.isTrue(yield* budget.remove(run.org, scope))
        assert.isFalse(yield* budget.remove(run.org, scope))
        assert.strictEqual(yield* balance(run, scope), "none")
        const free = yield* log.append(ask(run, { priced: false }))
        assert.deepStrictEqual(free.steps[0].after.attempt?.scopes, [])
        // Set again, it counts from then on, and what the first attempt holds is still under way.
        yield* budget.set(run.org, scope, usd("0.5"))
        assert.strictEqual(yield* balance(run, scope), "0.5 0 0.2")
        yield* log.append(answer(run, granted, "0.15"))
        assert.strictEqual(yield* balance(run, scope), "0.5 0.15 0")
        assert.isTrue(yield* budget.remove(run.org, scope))
        assert.isFalse(yield* budget.remove(run.org, scope))
      }))

    it.effect("writes into the audit trail who set and removed it", () =>
      Effect.gen(function*() {
        const budget = yield* Budget
        const audit = yield* AuditLog
        const run = yield* begin(null)
        const scope = `session:${run.session}`
        yield* budget.set(run.org, scope, usd("3"), { period: "day" }).pipe(Effect.provideService(CurrentPrincipal, "user:9"))
        yield* budget.set(run.org, scope, usd("4"))
        yield* budget.remove(run.org, scope)
        const rows = yield* audit.list({ org: run.org, action: "admin", limit: 10 })
        assert.deepStrictEqual(rows.toReversed().map((row) => [row.tool, row.target, row.principal, row.input]), [
          ["budget.set", scope, "user:9", { limit: "3", period: "day" }],
          ["budget.set", scope, "local", { limit: "4" }],
          ["budget.remove", scope, "local", null]
        ])
        assert.isUndefined((yield* audit.verify({ org: run.org })).broken)
      }))

    it.effect("corrects what an attempt cost by its provider's report, once for each, and the last counts", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin("10")
        const scope = `org:${run.org}`
        const daily = `session:${run.session}`
        yield* budget.set(run.org, scope, usd("0.5"))
        yield* budget.set(run.org, daily, usd("5"), { period: "day" })
        const granted = yield* turn(run, "0.2")
        const attempt = granted.steps[0].after.attempt?.id ?? ""
        const report = (cost: string) => budget.correct(run.org, attempt, { cost: usd(cost), source: "reported" })
        const balances = Effect.map(Effect.all([balance(run), balance(run, daily), balance(run, scope)]), (all) => all.join(" | "))
        const first = yield* report("0.123456789012")
        assert.deepStrictEqual([Money.format(first.before), Money.format(first.difference), first.changed], ["0.2", "-0.076543210988", true])
        assert.strictEqual(yield* balances, "10 0.123456789012 0 | 5 0.123456789012 0 | 0.5 0.123456789012 0")
        assert.isFalse((yield* report("0.123456789012")).changed)
        assert.strictEqual(yield* balances, "10 0.123456789012 0 | 5 0.123456789012 0 | 0.5 0.123456789012 0")
        // Dearer than what was reserved: spent all the same, and said to be above the limit.
        assert.isTrue((yield* report("0.6")).changed)
        assert.strictEqual(yield* balances, "10 0.6 0 | 5 0.6 0 | 0.5 0.6 0 0.1")
        assert.strictEqual(Money.format((yield* log.find(run.run)).cost), "0.6")
        // What is over is over; and a budget that was set later was not charged for it.
        yield* endPeriod(run.org, daily)
        yield* budget.remove(run.org, scope)
        yield* budget.set(run.org, scope, usd("1"))
        assert.isTrue((yield* report("0.5")).changed)
        assert.strictEqual(yield* balances, "10 0.5 0 | 5 0 0 | 1 0 0")
        const rows = yield* (yield* AuditLog).list({ org: run.org, limit: 100 })
        const corrections = rows.filter((row) => row.tool === "budget.correct").map((row) => [row.target, row.input])
        assert.deepStrictEqual(corrections.at(-1), [attempt, { before: "0.2", cost: "0.123456789012", source: "reported" }])
        assert.strictEqual(corrections.length, 3)
      }))

    it.effect("knows an attempt by its organisation, and corrects what it used too", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const [run, other] = [yield* begin(null), yield* begin(null)]
        const attempt = (yield* turn(run, "0.2")).steps[0].after.attempt?.id ?? ""
        const usage = { uncached: 90, cacheRead: 20, cacheWrite: 0, cacheWriteHour: 0, output: 31, reasoning: 4 }
        const report = { cost: usd("0.2"), source: "reported", usage } as const
        for (const [org, name] of [[other.org, attempt], [run.org, "nobody.2"], [run.org, `${attempt}+1`]] as const) {
          assert.strictEqual((yield* Effect.flip(budget.correct(org, name, report)))._tag, "AttemptNotFound")
        }
        const before = yield* log.find(run.run)
        assert.isTrue((yield* budget.correct(run.org, attempt, report)).changed)
        assert.isFalse((yield* budget.correct(run.org, attempt, report)).changed)
        const after = yield* log.find(run.run)
        assert.deepStrictEqual([after.inputTokens - before.inputTokens, after.outputTokens - before.outputTokens], [-10, 1])
        assert.strictEqual((yield* Effect.flip(budget.correct(run.org, `${attempt}+1`, report)))._tag, "AttemptNotFound")
      }))

    it.effect("tells the price of a run again once an unpriced attempt was reported", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const budget = yield* Budget
        const run = yield* begin(null)
        const granted = yield* log.append(ask(run, { priced: false }))
        const end = answer(run, granted, "0")
        const [step] = end.steps
        const { event } = step.logged
        assert(event._tag === "TurnCompleted")
        yield* log.append({ ...end, steps: [{ ...step, logged: { ...step.logged, event: { ...event, bill: { ...event.bill, source: "unpriced" } } } }] })
        assert.isFalse((yield* log.find(run.run)).priced)
        yield* budget.correct(run.org, event.attemptId, { cost: usd("0.07"), source: "reported" })
        const row = yield* log.find(run.run)
        assert.deepStrictEqual([row.priced, Money.format(row.cost)], [true, "0.07"])
      }))
  })
}
