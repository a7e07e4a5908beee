import * as Money from "../Money.ts"
import type { RunState } from "../Run.ts"
import type { Gate, Reserve, Tables, Verdict } from "../RunLog.ts"
import { askOf, scopesOf } from "./Ask.ts"

interface Account {
  readonly scope: string
  limit: Money.Money
  spent: Money.Money
  reserved: Money.Money
}

/** The budgets of a process. */
export const table = (tables: Tables["Service"]) =>
  tables.get("budgets", () => {
    const organizations = new Map<string, Map<string, Account>>()
    return {
      of: (org: string): ReadonlyMap<string, Account> | undefined => organizations.get(org),
      open: (org: string, scope: string, limit: Money.Money) => {
        const accounts = organizations.get(org) ?? new Map<string, Account>()
        organizations.set(org, accounts)
        const account = accounts.get(scope)
        if (account !== undefined) account.limit = limit
        else accounts.set(scope, { scope, limit, spent: Money.zero, reserved: Money.zero })
      },
      list: (org: string) =>
        [...organizations.get(org)?.values() ?? []].map((account) => ({ ...account })).toSorted((a, b) => a.scope < b.scope ? -1 : 1)
    }
  })

const free = (account: Account): Money.Money =>
  Money.subtract(Money.subtract(account.limit, account.spent), account.reserved)

const cost = (reserve: Reserve, output: number): Money.Money =>
  Money.add(reserve.input, Money.charge([{ units: output, perMillion: reserve.rate }]))

const admit = (append: number, reserve: Reserve, accounts: ReadonlyArray<Account>): Verdict | undefined => {
  let [tightest] = accounts
  if (tightest === undefined) return undefined
  for (const account of accounts) if (free(account) < free(tightest)) tightest = account
  if (!reserve.priced) return { append, refuse: { _tag: "UnpricedModel" } }
  const left = Money.subtract(free(tightest), reserve.input)
  const granted = left < 0n ? -1 : Math.min(reserve.max, Money.affordable(left, reserve.rate))
  if (granted < reserve.min) {
    return {
      append,
      refuse: {
        _tag: "BudgetExceeded",
        scope: tightest.scope,
        limit: Money.format(tightest.limit),
        spent: Money.format(tightest.spent),
        reserved: Money.format(tightest.reserved),
        asked: Money.format(cost(reserve, reserve.min))
      }
    }
  }
  const amount = cost(reserve, granted)
  for (const account of accounts) account.reserved = Money.add(account.reserved, amount)
  return { append, grant: { maxOutput: granted, reserved: amount, scopes: accounts.map((account) => account.scope) } }
}

/** The scopes of each run, by what it was started with: made once, for every append asks for them. */
const known = new WeakMap<RunState["started"], ReadonlyArray<string>>()

const scopesOnce = (state: RunState): ReadonlyArray<string> => {
  const found = known.get(state.started)
  if (found !== undefined) return found
  const scopes = scopesOf(state)
  known.set(state.started, scopes)
  return scopes
}

/** The rules of `conductor_gate_budget`, on process memory. */
export const judge: Gate["judge"] = (appends, isOut, tables) => {
  const budgets = table(tables)
  const asks = appends.map((append, index) => isOut(index) ? undefined : askOf(append))
  for (const ask of asks) {
    if (ask?.limit !== undefined) budgets.open(ask.state.org, `run:${ask.state.run}`, ask.limit)
  }
  const verdicts: Array<Verdict> = []
  for (let index = 0; index < asks.length; index++) {
    const ask = asks[index]
    const all = ask === undefined ? undefined : budgets.of(ask.state.org)
    if (ask === undefined || all === undefined) continue
    const accounts: Array<Account> = []
    for (const scope of scopesOnce(ask.state)) {
      const account = all.get(scope)
      if (account !== undefined) accounts.push(account)
    }
    for (const settled of ask.settle) {
      for (const account of accounts) {
        account.spent = Money.add(account.spent, settled.cost)
        if (settled.scopes.includes(account.scope)) account.reserved = Money.subtract(account.reserved, settled.reserved)
      }
    }
    const verdict = ask.reserve === undefined ? undefined : admit(index, ask.reserve, accounts)
    if (verdict !== undefined) verdicts.push(verdict)
  }
  return verdicts
}
