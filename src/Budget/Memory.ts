import * as Money from "../Money.ts"
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
    const accounts = new Map<string, Account>()
    return {
      find: (org: string, scope: string) => accounts.get(`${org}/${scope}`),
      open: (org: string, scope: string, limit: Money.Money) => {
        const account = accounts.get(`${org}/${scope}`)
        if (account !== undefined) account.limit = limit
        else accounts.set(`${org}/${scope}`, { scope, limit, spent: Money.zero, reserved: Money.zero })
      },
      list: (org: string) =>
        [...accounts].filter(([key]) => key.startsWith(`${org}/`)).map(([, account]) => ({ ...account }))
          .toSorted((a, b) => a.scope < b.scope ? -1 : 1)
    }
  })

const free = (account: Account): Money.Money =>
  Money.subtract(Money.subtract(account.limit, account.spent), account.reserved)

const cost = (reserve: Reserve, output: number): Money.Money =>
  Money.add(reserve.input, Money.charge([{ units: output, perMillion: reserve.rate }]))

const admit = (append: number, reserve: Reserve, accounts: ReadonlyArray<Account>): Verdict | undefined => {
  const [tightest] = accounts.toSorted((a, b) => free(a) < free(b) ? -1 : 1)
  if (tightest === undefined) return undefined
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

/** The rules of `conductor_gate_budget`, on process memory. */
export const judge: Gate["judge"] = (appends, isOut, tables) => {
  const budgets = table(tables)
  const asks = appends.map((append, index) => isOut(index) ? undefined : askOf(append))
  for (const ask of asks) {
    if (ask?.limit !== undefined) budgets.open(ask.state.org, `run:${ask.state.run}`, ask.limit)
  }
  return asks.flatMap((ask, index): ReadonlyArray<Verdict> => {
    if (ask === undefined) return []
    const accounts = scopesOf(ask.state).flatMap((scope) => budgets.find(ask.state.org, scope) ?? [])
    for (const settled of ask.settle) {
      for (const account of accounts) {
        account.spent = Money.add(account.spent, settled.cost)
        if (settled.scopes.includes(account.scope)) account.reserved = Money.subtract(account.reserved, settled.reserved)
      }
    }
    const verdict = ask.reserve === undefined ? undefined : admit(index, ask.reserve, accounts)
    return verdict === undefined ? [] : [verdict]
  })
}
