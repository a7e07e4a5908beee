import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Equivalence from "effect/Equivalence"
import * as Money from "../Money.ts"
import type { BudgetWarning } from "../Run.ts"
import type { Gate, Tables, Verdict } from "../RunLog.ts"
import { type Account, free, isNearlyUsed, type Moment, open, type Period, reserve, roll, setLimit, settle } from "./Account.ts"
import { amountOf, askOf, type Wanted } from "./Ask.ts"
import { countOf } from "./ModelCalls.ts"

/** Now, as budgets count. */
export const momentOf = (tables: Tables["Service"], at: number): Moment => ({ at, rows: countOf(tables) })

/** The budgets of a process. Times are milliseconds since 1970. */
export const table = (tables: Tables["Service"]) =>
  tables.get("budgets", () => {
    const organizations = new Map<string, Map<string, Account>>()
    return {
      of: (org: string): ReadonlyMap<string, Account> | undefined => organizations.get(org),
      /** Sets a limit, with a period or with the one that it has. */
      set: (org: string, scope: string, limit: Money.Money, period: Period | undefined, now: Moment) => {
        const accounts = organizations.get(org) ?? new Map<string, Account>()
        organizations.set(org, accounts)
        const account = accounts.get(scope)
        if (account === undefined) accounts.set(scope, open(scope, limit, period ?? "none", now))
        else setLimit(account, limit, period ?? account.period, now)
      },
      /** Removes a budget; one that holds reservations stays, unseen, until they are settled. True where there was one. */
      remove: (org: string, scope: string): boolean => {
        const account = organizations.get(org)?.get(scope)
        if (account === undefined) return false
        const wasThere = !account.removed
        account.removed = true
        if (account.reserved === 0n) organizations.get(org)?.delete(scope)
        return wasThere
      },
      /** What there is, by scope, as it is at that time. */
      list: (org: string, now: Moment): ReadonlyArray<Account> =>
        [...organizations.get(org)?.values() ?? []].filter(({ removed }) => !removed).map((account) => {
          const copy = { ...account }
          roll(copy, now)
          return copy
        }).toSorted((a, b) => a.scope < b.scope ? -1 : 1)
    }
  })

const sameScopes = Arr.makeEquivalence(Equivalence.String)

/** What a limit is for, and until when. */
const during = ({ period, until }: Account) =>
  period === "none" || until === null ? {} : { period, until: DateTime.formatIso(DateTime.makeUnsafe(until)).replace(".000Z", "Z") }

/** Tells of a budget that is nearly used up; nothing where that is not so, or was told before. */
const warn = (account: Account): ReadonlyArray<BudgetWarning> => {
  if (account.warned || !isNearlyUsed(account)) return []
  account.warned = true
  const { limit, reserved, scope, spent } = account
  return [{ scope, limit, spent, reserved, ...during(account) }]
}

const admit = (append: number, { said, wanted }: Wanted, accounts: ReadonlyArray<Account>): Verdict | undefined => {
  let tightest: Account | undefined
  let least = Money.zero
  for (const account of accounts) {
    const left = free(account)
    if (left === undefined || (tightest !== undefined && left >= least)) continue
    tightest = account
    least = left
  }
  if (tightest === undefined) return said.scopes.length === 0 ? undefined : { append, grant: { maxOutput: wanted.max, reserved: Money.zero, scopes: [] } }
  if (!wanted.priced) return { append, refuse: { _tag: "UnpricedModel" } }
  const left = Money.subtract(least, wanted.input)
  const granted = left < 0n ? -1 : Math.min(wanted.max, Money.affordable(left, wanted.rate))
  if (granted < wanted.min) {
    return {
      append,
      refuse: {
        _tag: "BudgetExceeded",
        scope: tightest.scope,
        limit: Money.format(tightest.limit),
        spent: Money.format(tightest.spent),
        reserved: Money.format(tightest.reserved),
        asked: Money.format(amountOf(wanted, wanted.min)),
        ...during(tightest)
      }
    }
  }
  const amount = amountOf(wanted, granted)
  const live = accounts.filter(({ removed }) => !removed)
  for (const account of live) reserve(account, amount)
  const warnings = live.flatMap(warn)
  const scopes = live.map(({ scope }) => scope)
  if (warnings.length === 0 && granted === said.maxOutput && amount === said.reserved && sameScopes(scopes, said.scopes)) return undefined
  const grant = { maxOutput: granted, reserved: amount, scopes }
  return { append, grant: warnings.length === 0 ? grant : { ...grant, warnings } }
}

/** The rules of `conductor_gate_budgets`, on process memory. */
export const judge: Gate["judge"] = (appends, isOut, tables, at) => {
  const budgets = table(tables)
  const now = momentOf(tables, at)
  const asks = appends.map((append, index) => isOut(index) ? undefined : askOf(append))
  for (const ask of asks) {
    if (ask?.limit !== undefined) budgets.set(ask.state.org, `run:${ask.state.run}`, ask.limit, undefined, now)
  }
  const verdicts: Array<Verdict> = []
  for (let index = 0; index < asks.length; index++) {
    const ask = asks[index]
    if (ask === undefined) continue
    const all = budgets.of(ask.state.org)
    const accounts: Array<Account> = []
    const unsettled: Array<Account> = []
    ask.scopes.forEach((scope, place) => {
      const account = all?.get(scope)
      if (account === undefined) return
      roll(account, now)
      if (ask.settle !== undefined && ask.wants !== undefined) unsettled.push({ ...account })
      if (ask.settle !== undefined) settle(account, ask.settle.cost, ask.settle.back[place] ?? Money.zero)
      accounts.push(account)
    })
    const verdict = ask.wants === undefined ? undefined : admit(index, ask.wants, accounts)
    if (verdict === undefined) continue
    verdicts.push(verdict)
    // What is refused is not written, and what it would have settled is settled with what is written in its place.
    if ("refuse" in verdict) unsettled.forEach((before, place) => Object.assign(accounts[place] ?? {}, before))
  }
  return verdicts
}
