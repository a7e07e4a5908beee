import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { type Action, AuditLog } from "./AuditLog.ts"
import type { Account, Period } from "./Budget/Account.ts"
import { askOf, cellsOf } from "./Budget/Ask.ts"
import { AttemptNotFound, correct, type Corrected, type Report } from "./Budget/Correct.ts"
import { judge, momentOf, table } from "./Budget/Memory.ts"
import { projection as calls } from "./Budget/ModelCalls.ts"
import { makeSql } from "./Budget/Sql.ts"
import * as Money from "./Money.ts"
import { CurrentPrincipal } from "./Org.ts"
import { BudgetExceeded, type OrgId, type StorageFailed, UnpricedModel } from "./Run.ts"
import { type Gate, type Projection, Tables } from "./RunLog.ts"

export type { Period } from "./Budget/Account.ts"
export { amountOf, scopesOf } from "./Budget/Ask.ts"
export { AttemptNotFound, type Corrected, type Report } from "./Budget/Correct.ts"
export { type ModelCall, modelCalls } from "./Budget/ModelCalls.ts"

/** What a scope may spend, has spent, and has set aside for requests under way. Times are milliseconds since 1970. */
export interface Balance {
  /** `org:…`, `session:…` or `run:…`. */
  readonly scope: string
  readonly limit: Money.Money
  /** How often what is spent counts from zero again, by UTC. */
  readonly period: Period
  /** Since when what is spent counts; null where that is not known. */
  readonly since: number | null
  /** When the next period begins; null without one. */
  readonly until: number | null
  readonly spent: Money.Money
  readonly reserved: Money.Money
  /** How far both are above the limit: because a request was dearer than what was reserved for it, or the limit was lowered. */
  readonly excess: Money.Money
  /** Which part of the limit is spent or reserved: 0.8 for four fifths. */
  readonly share: number
}

const balanceOf = ({ excess, limit, period, reserved, scope, since, spent, until }: Omit<Account, "since" | "rows" | "warned" | "removed"> & { readonly since: number | null }): Balance => ({
  scope,
  limit,
  period,
  since,
  until,
  spent,
  reserved,
  excess,
  share: limit === 0n ? 1 : Number(spent + reserved) / Number(limit)
})

const decodeRefusal = Schema.decodeUnknownSync(BudgetExceeded)

/**
 * Admits each attempt against the budgets of all its scopes, in the order of the appends and under their lock; sets money
 * aside before the request, and settles it with the attempt's end.
 */
export const gate: Gate = {
  name: "budgets",
  ask: (append, index) => {
    const asked = askOf(append)
    return asked === undefined ? [] : cellsOf(asked, index)
  },
  judge,
  refusal: (refuse, append) => {
    if (refuse["_tag"] === "UnpricedModel") return new UnpricedModel({ model: append.steps[0].after.model })
    return refuse["_tag"] === "BudgetExceeded" ? decodeRefusal(refuse) : undefined
  }
}

/** The ledger: one row for each attempt that has ended. */
export const projection: Projection = calls

/** What an administrator did, for the audit trail. */
const act = (org: OrgId, name: string, target: string, input: unknown) =>
  Effect.map(CurrentPrincipal, (principal): Action => ({ org, principal, action: "admin", name, target, input }))

const setting = (org: OrgId, scope: string, limit: Money.Money, period: Period | undefined) =>
  act(org, "budget.set", scope, { limit: Money.format(limit), ...(period === undefined ? {} : { period }) })

const correcting = (org: OrgId, attempt: string, { before, difference }: Corrected) =>
  act(org, "budget.correct", attempt, { before: Money.format(before), cost: Money.format(Money.add(before, difference)), source: "reported" })

/** Limits on what may be spent, by organisation, session and run. What is changed of them is in the audit trail. */
export class Budget extends Context.Service<Budget, {
  /**
   * Sets the limit of a scope, and its period: without one it keeps what it has. What was spent and is reserved stays, but with another
   * period spending counts from zero.
   */
  readonly set: (
    org: OrgId,
    scope: string,
    limit: Money.Money,
    options?: { readonly period?: Period }
  ) => Effect.Effect<void, StorageFailed>
  /** Removes the limit of a scope; true where there was one. */
  readonly remove: (org: OrgId, scope: string) => Effect.Effect<boolean, StorageFailed>
  /** All budgets of an organisation by scope, as they are now; with `idleRuns` false without those of runs that hold nothing. */
  readonly list: (org: OrgId, options?: { readonly idleRuns?: boolean }) => Effect.Effect<ReadonlyArray<Balance>, StorageFailed>
  /**
   * Corrects what an attempt that has ended cost by what its provider reports later: the ledger gets a row with the difference, and it is
   * spent more or less of the budgets that were charged for it and are in that period still, and costs the run more or less. The same
   * report again changes nothing, and of different ones the last counts.
   */
  readonly correct: (org: OrgId, attempt: string, report: Report) => Effect.Effect<Corrected, AttemptNotFound | StorageFailed>
}>()("conductor-ai/Budget") {
  /** Budgets in Postgres. */
  static readonly layer = Layer.effect(Budget, Effect.gen(function*() {
    const sql = yield* makeSql
    const audit = yield* AuditLog
    return Budget.of({
      set: Effect.fn("Budget.set")(function*(org, scope, limit, options) {
        const action = yield* setting(org, scope, limit, options?.period)
        yield* sql.together("budget", Effect.andThen(sql.set(org, scope, limit, options?.period ?? null), audit.append(action)))
      }),
      remove: Effect.fn("Budget.remove")(function*(org, scope) {
        const action = yield* act(org, "budget.remove", scope, undefined)
        return yield* sql.together("budget", Effect.tap(sql.remove(org, scope), (removed) => removed ? audit.append(action) : Effect.void))
      }),
      list: Effect.fn("Budget.list")((org, options) => Effect.map(sql.list(org, options?.idleRuns !== false), (rows) => rows.map(balanceOf))),
      correct: Effect.fn("Budget.correct")(function*(org, attempt, report) {
        const corrected = yield* sql.together("correct", Effect.tap(sql.correct(org, attempt, report), (corrected) =>
          corrected?.changed === true ? Effect.flatMap(correcting(org, attempt, corrected), audit.append) : Effect.void))
        return corrected ?? (yield* new AttemptNotFound({ attempt }))
      })
    })
  }))

  /** Budgets in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Budget, Effect.gen(function*() {
    const tables = yield* Tables
    const audit = yield* AuditLog
    const budgets = table(tables)
    const now = Effect.map(Clock.currentTimeMillis, (at) => momentOf(tables, at))
    return Budget.of({
      set: Effect.fn("Budget.set")(function*(org, scope, limit, options) {
        budgets.set(org, scope, limit, options?.period, yield* now)
        yield* audit.append(yield* setting(org, scope, limit, options?.period))
      }),
      remove: Effect.fn("Budget.remove")(function*(org, scope) {
        const removed = budgets.remove(org, scope)
        if (removed) yield* audit.append(yield* act(org, "budget.remove", scope, undefined))
        return removed
      }),
      list: Effect.fn("Budget.list")((org, options) =>
        Effect.map(now, (at) => budgets.list(org, at).filter((one) =>
          options?.idleRuns !== false || one.reserved > 0n || !one.scope.startsWith("run:")).map(balanceOf))),
      correct: Effect.fn("Budget.correct")(function*(org, attempt, report) {
        const corrected = correct(tables, org, attempt, report, (yield* now).at)
        if (corrected === undefined) return yield* new AttemptNotFound({ attempt })
        if (corrected.changed) yield* audit.append(yield* correcting(org, attempt, corrected))
        return corrected
      })
    })
  }))
}
