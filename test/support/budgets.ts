/** Runs that ask for money, and the end of periods at will, on every store. */
import { Effect, Option } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { amountOf, type Balance, Budget } from "../../src/Budget.ts"
import { table } from "../../src/Budget/Memory.ts"
import * as Money from "../../src/Money.ts"
import type { Limits, OrgId } from "../../src/Run.ts"
import { type Append, type Reserve, RunLog, Tables } from "../../src/RunLog.ts"
import { makeRun } from "./runs.ts"

/** Input for 0.10 USD and up to 1,000 output tokens at 100 USD a million, so 0.10 USD: together 0.20 USD. */
export const reserve: Reserve = { input: Money.usd("0.1"), rate: Money.usd("100"), max: 1_000, min: 100, priced: true }

type Run = ReturnType<typeof makeRun>

/** Starts a run with a budget of its own or none. What it does happens now. */
export const begin = Effect.fnUntraced(function*(cost: string | null, options: { readonly org?: string; readonly session?: string } = {}) {
  const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  const run = makeRun({ at, ...options })
  const event = run.started()
  const limits: Limits = { ...event.limits, cost: cost === null ? null : Money.usd(cost) }
  yield* (yield* RunLog).append(run.append({ ...event, limits }))
  return run
})

/** The start of an attempt, which asks for money; its event says that these scopes pay for all of it. */
export const ask = (run: Run, more: Partial<Reserve> = {}, scopes: ReadonlyArray<string> = []): Append => {
  const wanted = { ...reserve, ...more }
  const said = scopes.length === 0 ? {} : { scopes, reserved: amountOf(wanted, wanted.max) }
  return { ...run.append({ ...run.turnStarted(), maxOutput: wanted.max, ...said }), reserve: wanted }
}

/** How the start of an attempt is refused; the run is then where it was. */
export const refused = Effect.fnUntraced(function*(run: Run, more: Partial<Reserve> = {}) {
  const error = yield* Effect.flip((yield* RunLog).append(ask(run, more)))
  run.retract()
  return error
})

/** The answer to the attempt that an append started, as the owner of the run writes it: it knows what was granted. */
export const answer = (run: Run, granted: Append, cost: string): Append => {
  const append = run.append({ ...run.turnCompleted({ cost }) })
  const [first] = append.steps
  return { ...append, steps: [{ ...first, before: granted.steps.at(-1)?.after }] }
}

/** A turn that asks, is answered and costs so much. */
export const turn = Effect.fnUntraced(function*(run: Run, cost: string, more: Partial<Reserve> = {}) {
  const log = yield* RunLog
  const granted = yield* log.append(ask(run, more))
  yield* log.append(answer(run, granted, cost))
  return granted
})

/** The balance of a scope; nothing where it has no budget. */
export const balanceOf = Effect.fnUntraced(function*(org: OrgId, scope: string) {
  const all = yield* (yield* Budget).list(org)
  return all.find((one) => one.scope === scope)
})

/** Limit, spent and reserved, and what is in excess where something is. */
export const show = (balance: Balance | undefined): string =>
  balance === undefined ? "none" : [balance.limit, balance.spent, balance.reserved, ...(balance.excess === 0n ? [] : [balance.excess])].map(Money.format).join(" ")

/** Moves the period of a budget into the past, so that it is over. */
export const endPeriod = Effect.fnUntraced(function*(org: OrgId, scope: string) {
  const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
  if (Option.isSome(sql)) {
    yield* sql.value`UPDATE budgets SET since = since - interval '70 days', until = now() - interval '1 second'
      WHERE org_id = ${org} AND scope = ${scope} AND until IS NOT NULL`
    return
  }
  const account = table(yield* Tables).of(org)?.get(scope)
  if (account === undefined || account.until === null) return
  account.since -= 70 * 86_400_000
  account.until = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - 1_000
})
