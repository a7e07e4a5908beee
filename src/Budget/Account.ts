import * as DateTime from "effect/DateTime"
import * as Money from "../Money.ts"
import type { BudgetPeriod } from "../Run.ts"

/** How often the spending of a budget begins anew, by UTC; `none` where it never does. */
export type Period = BudgetPeriod | "none"

/** What a scope may spend, as process memory keeps it: the columns of `budgets`. Times are milliseconds since 1970. */
export interface Account {
  readonly scope: string
  limit: Money.Money
  spent: Money.Money
  reserved: Money.Money
  excess: Money.Money
  period: Period
  since: number
  until: number | null
  /** How many rows the ledger had when it began to count: those after them were charged to it. */
  rows: number
  warned: boolean
  removed: boolean
}

/** A point in the life of a process: the time, and how many rows the ledger has. */
export interface Moment {
  readonly at: number
  readonly rows: number
}

/** The beginning of the period that a time is in. */
const sinceOf = (period: BudgetPeriod, at: number): number => DateTime.startOf(DateTime.makeUnsafe(at), period).epochMilliseconds

/** Its end, which is the beginning of the next. */
const untilOf = (period: Period, at: number): number | null =>
  period === "none" ? null : DateTime.add(DateTime.makeUnsafe(sinceOf(period, at)), { [`${period}s`]: 1 }).epochMilliseconds

/** The rule of the constraint `budgets_within_limit`: what would break it is not done. */
const within = (account: Account, spent: Money.Money, reserved: Money.Money, limit: Money.Money, excess: Money.Money): void => {
  if (reserved < 0n || excess < 0n || (!account.removed && spent + reserved > limit + excess)) {
    throw new Error(`The budget of ${account.scope} would hold more than its limit (${
      [limit, spent, reserved, excess].map(Money.format).join(" ")}).`)
  }
}

/** A new account. */
export const open = (scope: string, limit: Money.Money, period: Period, { at, rows }: Moment): Account => ({
  scope,
  limit,
  spent: Money.zero,
  reserved: Money.zero,
  excess: Money.zero,
  period,
  since: at,
  until: untilOf(period, at),
  rows,
  warned: false,
  removed: false
})

/** What a budget admits, at most: nothing where it was removed. */
export const free = (account: Account): Money.Money | undefined =>
  account.removed ? undefined : Money.subtract(Money.subtract(account.limit, account.spent), account.reserved)

const over = ({ limit, reserved, spent }: Pick<Account, "limit" | "reserved" | "spent">): Money.Money =>
  Money.most(Money.zero, Money.subtract(Money.add(spent, reserved), limit))

/** Whether so much of the limit is spent that somebody should know. */
export const isNearlyUsed = ({ limit, spent }: Pick<Account, "limit" | "spent">): boolean => limit > 0n && 5n * spent >= 4n * limit

/** Begins the next period, where this one is over; what is reserved is carried. */
export const roll = (account: Account, { at, rows }: Moment): void => {
  if (account.until === null || account.until > at || account.period === "none") return
  account.spent = Money.zero
  account.warned = false
  account.since = sinceOf(account.period, at)
  account.until = untilOf(account.period, at)
  account.rows = rows
  account.excess = Money.least(account.excess, over(account))
}

/** Sets limit and period, by the rules of the trigger `budgets_limit`. */
export const setLimit = (account: Account, limit: Money.Money, period: Period, now: Moment): void => {
  if (account.removed || period !== account.period) Object.assign(account, open(account.scope, limit, period, now), { reserved: account.reserved })
  roll(account, now)
  account.limit = limit
  account.excess = over(account)
  account.warned &&= isNearlyUsed(account)
}

/** Takes in what an attempt cost, and gives back what was reserved for it. */
export const settle = (account: Account, cost: Money.Money, back: Money.Money): void => {
  const spent = Money.add(account.spent, cost)
  const reserved = Money.most(Money.zero, Money.subtract(account.reserved, back))
  const dearer = Money.most(Money.zero, Money.subtract(cost, back))
  const excess = account.removed ? Money.zero : Money.least(Money.add(account.excess, dearer), over({ limit: account.limit, spent, reserved }))
  within(account, spent, reserved, account.limit, excess)
  account.spent = spent
  account.reserved = reserved
  account.excess = excess
}

/** Sets money aside. */
export const reserve = (account: Account, amount: Money.Money): void => {
  const reserved = Money.add(account.reserved, amount)
  within(account, account.spent, reserved, account.limit, account.excess)
  account.reserved = reserved
}
