import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Layer, Result, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import { Budget, gate, type Period, scopesOf } from "../../src/Budget.ts"
import * as Money from "../../src/Money.ts"
import { type Append, type AppendError, type Gate, type Reserve, RunLog } from "../../src/RunLog.ts"
import { answer, ask, begin, endPeriod } from "../support/budgets.ts"
import { stores, storesWith } from "../support/stores.ts"

/** Cases for each store; more by the environment. */
const cases = Number(process.env["BUDGET_CASES"] ?? 12)

const below = (maximum: number, minimum = 0) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** What is drawn: numbers, of which {@link actOf} makes something to do. */
const Drawn = Schema.Array(Schema.Struct({
  kind: below(13),
  scope: below(7),
  limit: below(1_500_000_000),
  period: below(3),
  turns: Schema.Array(Schema.Struct({
    run: below(4), input: below(200_000_000), rate: below(300_000_000), max: below(4_000), min: below(200), priced: below(9), share: below(130)
  })).check(Schema.isMinLength(1), Schema.isMaxLength(5))
})).check(Schema.isMinLength(15), Schema.isMaxLength(40))

type Turn = { readonly run: number; readonly want: Reserve; readonly share: number }

type Act =
  | { readonly act: "set"; readonly scope: number; readonly limit: bigint; readonly period: Period | undefined }
  | { readonly act: "remove" | "endPeriod"; readonly scope: number }
  /** Attempts that begin and end, submitted at once. */
  | { readonly act: "turns"; readonly turns: ReadonlyArray<Turn> }

/** An amount of up to 0.2 USD for the input, of up to 300 USD for a million tokens, of up to 1.5 USD as a limit; with all twelve decimals. */
const amount = (drawn: number, unit: bigint): Money.Money => (BigInt(drawn) * unit + BigInt(drawn % 997)) as Money.Money // any amount is money

const actOf = ({ kind, limit, period, scope, turns }: (typeof Drawn.Type)[number]): Act => {
  if (kind < 3) return { act: "set", scope, limit: amount(limit, 1_000n), period: ([undefined, "none", "day", "month"] as const)[period] }
  if (kind < 4) return { act: "remove", scope }
  if (kind < 6) return { act: "endPeriod", scope }
  const first = turns.filter((turn, index) => turns.findIndex(({ run }) => run === turn.run) === index)
  return {
    act: "turns",
    turns: first.map(({ input, max, min, priced, rate, run, share }) => ({
      run,
      share,
      want: { input: amount(input, 1_000n), rate: rate % 10 === 0 ? Money.zero : amount(rate, 1_000_000n), max, min: Math.min(min, max), priced: priced > 0 }
    }))
  }
}

interface Held {
  limit: bigint
  spent: bigint
  reserved: bigint
  period: Period
  warned: boolean
  removed: boolean
  over: boolean
}

/** The rules told plainly: one account a scope, nothing locked, nothing shared, and the output found by trying. */
class Reference {
  readonly accounts = new Map<string, Held>()

  private begin(held: Held) {
    held.spent = 0n
    held.warned = false
    held.over = false
  }

  set(name: string, limit: bigint, period: Period | undefined) {
    const held = this.accounts.get(name)
    if (held === undefined) {
      this.accounts.set(name, { limit, spent: 0n, reserved: 0n, period: period ?? "none", warned: false, removed: false, over: false })
      return
    }
    if (held.removed || held.over || (period !== undefined && period !== held.period)) this.begin(held)
    Object.assign(held, { limit, removed: false, period: period ?? held.period })
    if (held.spent * 10n < held.limit * 8n) held.warned = false
  }

  remove(name: string): boolean {
    const held = this.accounts.get(name)
    if (held === undefined) return false
    const was = !held.removed
    held.removed = true
    if (held.reserved === 0n) this.accounts.delete(name)
    return was
  }

  endPeriod(name: string) {
    const held = this.accounts.get(name)
    if (held !== undefined && held.period !== "none") held.over = true
  }

  private touch(scopes: ReadonlyArray<string>) {
    return scopes.flatMap((name) => {
      const held = this.accounts.get(name)
      if (held?.over === true) this.begin(held)
      return held === undefined ? [] : [{ name, held }]
    })
  }

  reserve(scopes: ReadonlyArray<string>, want: Reserve): string {
    const live = this.touch(scopes).filter(({ held }) => !held.removed)
    const [first] = live
    if (first === undefined) return "free"
    if (!want.priced) return "unpriced"
    const left = ({ held }: typeof first) => held.limit - held.spent - held.reserved
    const tightest = live.reduce((least, one) => left(one) < left(least) ? one : least, first)
    const cost = (output: number) => want.input + (BigInt(output) * want.rate + 999_999n) / 1_000_000n
    let [low, high] = [-1, want.max]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (cost(middle) <= left(tightest)) low = middle
      else high = middle - 1
    }
    if (low < want.min || cost(low) > left(tightest)) {
      const { limit, reserved, spent } = tightest.held
      return ["exceeded", tightest.name, limit, spent, reserved, cost(want.min)].join(" ")
    }
    for (const { held } of live) held.reserved += cost(low)
    const warned = live.filter(({ held }) => !held.warned && held.limit > 0n && held.spent * 10n >= held.limit * 8n)
    for (const { held } of warned) held.warned = true
    return ["granted", low, cost(low), live.map(({ name }) => name), "warned", warned.map(({ name }) => name)].join(" ")
  }

  settle(scopes: ReadonlyArray<string>, cost: bigint, reserved: bigint, held: ReadonlyArray<string>) {
    for (const account of this.touch(scopes)) {
      account.held.spent += cost
      if (held.includes(account.name)) account.held.reserved -= reserved
    }
  }

  list(): ReadonlyArray<string> {
    return [...this.accounts].filter(([, { removed }]) => !removed).map(([name, { limit, over, period, reserved, spent }]) => {
      const now = over ? 0n : spent
      const excess = now + reserved - limit
      return [name, period, limit, now, reserved, excess > 0n ? excess : 0n].join(" ")
    }).toSorted()
  }
}

const outcomeOf = (result: Result.Result<Append, AppendError>): string => {
  if (Result.isSuccess(result)) {
    const event = result.success.steps[0].logged.event
    assert(event._tag === "TurnStarted")
    return event.scopes.length === 0
      ? "free"
      : ["granted", event.maxOutput, event.reserved, event.scopes, "warned", event.warnings?.map((one) => one.scope) ?? []].join(" ")
  }
  const error = result.failure
  if (error._tag === "UnpricedModel") return "unpriced"
  assert(error._tag === "BudgetExceeded", error.message)
  return ["exceeded", error.scope, error.limit, error.spent, error.reserved, error.asked].join(" ")
}

/** Where attempts say beforehand what they are granted, they say that it is paid as the last one was: what does not hold is corrected. */
const play = Effect.fnUntraced(function*(acts: ReadonlyArray<Act>, says: boolean) {
  const log = yield* RunLog
  const budget = yield* Budget
  const org = `org-${randomUUID()}`
  const sessions = [randomUUID(), randomUUID()]
  const runs = yield* Effect.forEach([0, 1, 2, 3, 4], (n) => begin(null, { org, session: n === 0 ? randomUUID() : `${sessions[n % 2]}/${n}` }))
  const [some] = runs
  assert.isDefined(some)
  const names = [`org:${org}`, ...runs.slice(0, 2).map((run) => `session:${run.session}`), ...runs.map((run) => `run:${run.run}`)]
  const reference = new Reference()
  /** The attempt of each run that is under way, and what it was granted. */
  const open = new Map<string, Append>()
  const paid = new Map<string, ReadonlyArray<string>>()

  for (const act of acts) {
    const name = "scope" in act ? names[act.scope] ?? "" : ""
    switch (act.act) {
      case "set":
        yield* budget.set(some.org, name, act.limit as Money.Money, act.period === undefined ? {} : { period: act.period }) // any amount is money
        reference.set(name, act.limit, act.period)
        break
      case "remove":
        assert.strictEqual(yield* budget.remove(some.org, name), reference.remove(name))
        break
      case "endPeriod":
        yield* endPeriod(some.org, name)
        reference.endPeriod(name)
        break
      case "turns": {
        // All are submitted before any is waited for, so that a flush takes several.
        const pending = act.turns.flatMap(({ run: number, share, want }) => {
          const run = runs[number]
          assert.isDefined(run)
          const next = () => {
            const expected = reference.reserve(scopesOf(run), want)
            return { run, expected, begins: true, done: log.submit(ask(run, want, says ? paid.get(run.run) : [])) }
          }
          const granted = open.get(run.run)
          if (granted === undefined) return [next()]
          open.delete(run.run)
          const attempt = granted.steps[0].after.attempt
          assert.isNotNull(attempt)
          // Some cost nothing, some more than was set aside for them.
          const cost = attempt.reserved * BigInt(share) / 100n
          reference.settle(scopesOf(run), cost, attempt.reserved, attempt.scopes)
          const ended = { run, expected: "", begins: false, done: log.submit(answer(run, granted, Money.format(cost as Money.Money))) } // likewise
          // One that is alone asks for its next turn in the same go.
          return act.turns.length === 1 ? [ended, next()] : [ended]
        })
        for (const { begins, done, expected, run } of pending) {
          const result = yield* Effect.result(Deferred.await(done))
          if (!begins) {
            assert.isTrue(Result.isSuccess(result))
            continue
          }
          assert.strictEqual(outcomeOf(result), expected)
          if (Result.isSuccess(result)) {
            open.set(run.run, result.success)
            paid.set(run.run, result.success.steps.at(-1)?.after.attempt?.scopes ?? [])
          } else run.retract()
        }
      }
    }
    const found = (yield* budget.list(some.org)).map((one) => [one.scope, one.period, one.limit, one.spent, one.reserved, one.excess].join(" ")).toSorted()
    assert.deepStrictEqual(found, reference.list(), JSON.stringify(act, (_, value: unknown) => typeof value === "bigint" ? String(value) : value))
  }
})

/** The gate of version 0.1.0, whose processes go on while the database is newer. */
const before: Gate = {
  ...gate,
  name: "budget",
  ask: (append, index) => {
    const state = append.steps[0].after
    const settle = append.steps.flatMap(({ before, logged: { event } }) =>
      event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed" ? [] : [{
        scopes: before?.attempt?.scopes ?? [],
        reserved: Money.format(before?.attempt?.reserved ?? Money.zero),
        cost: Money.format(event.bill.cost)
      }])
    const { reserve } = append
    return reserve === undefined && settle.length === 0 ? [] : [[String(index), JSON.stringify({
      append: index,
      org: state.org,
      scopes: scopesOf(state),
      ...(settle.length === 0 ? {} : { settle }),
      ...(reserve === undefined ? {} : { reserve: { ...reserve, input: Money.format(reserve.input), rate: Money.format(reserve.rate) } })
    })]]
  }
}

/** Takes its questions out of the cells, which those processes do not know of. */
const askedBefore = Layer.effectDiscard(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`
  CREATE OR REPLACE FUNCTION conductor_gate_budget(p_cells text[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT conductor_gate_budget((SELECT jsonb_agg(p_cells[i + 2]::jsonb ORDER BY i) FROM generate_series(0, cardinality(p_cells) - 1, 2) AS g (i)))
  $$`))

const all = [
  ...stores.map(({ layer, name }) => ({ layer, name, says: true })),
  ...storesWith(before, askedBefore).filter(({ name }) => name !== "memory").map(({ layer, name }) => ({ layer, name: `${name}, asked as 0.1.0 asks`, says: false }))
]

for (const { layer: store, name, says } of all) {
  layer(store, { excludeTestServices: true, timeout: "1 minute" })(`Budgets beside a plain model of them (${name})`, (it) => {
    it.effect.prop("hold, admit, refuse and tell the same, to the last digit", { drawn: Drawn }, ({ drawn }) => play(drawn.map(actOf), says), {
      arbitrary: { runs: cases }
    })
  })
}
