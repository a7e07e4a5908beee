import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import type { Row, Tables, Verdict } from "../RunLog.ts"

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

const Ask = Schema.Struct({
  append: Schema.Int,
  org: Schema.String,
  scopes: Schema.Array(Schema.String),
  open: Schema.NullOr(Schema.Struct({ scope: Schema.String, limit: Money.FromString })),
  settle: Schema.NullOr(Schema.Array(
    Schema.Struct({ scopes: Schema.Array(Schema.String), reserved: Money.FromString, cost: Money.FromString })
  )),
  reserve: Schema.NullOr(Schema.Struct({
    input: Money.FromString,
    rate: Money.FromString,
    max: Schema.Int,
    min: Schema.Int,
    priced: Schema.Boolean
  }))
})
type Ask = typeof Ask.Type
const decodeAsks = Schema.decodeUnknownSync(Schema.Array(Ask))

const free = (account: Account): Money.Money =>
  Money.subtract(Money.subtract(account.limit, account.spent), account.reserved)

const cost = (reserve: NonNullable<Ask["reserve"]>, output: number): Money.Money =>
  Money.add(reserve.input, Money.charge([{ units: output, perMillion: reserve.rate }]))

const admit = (ask: Ask, reserve: NonNullable<Ask["reserve"]>, accounts: ReadonlyArray<Account>): Verdict | undefined => {
  const [tightest] = accounts.toSorted((a, b) => free(a) < free(b) ? -1 : 1)
  if (tightest === undefined) return undefined
  if (!reserve.priced) return { append: ask.append, refuse: { _tag: "UnpricedModel" } }
  const left = Money.subtract(free(tightest), reserve.input)
  const granted = left < 0n ? -1 : Math.min(reserve.max, Money.affordable(left, reserve.rate))
  if (granted < reserve.min) {
    return {
      append: ask.append,
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
  return {
    append: ask.append,
    patch: { maxOutput: granted, reserved: Money.format(amount), scopes: accounts.map((account) => account.scope) }
  }
}

/** The rules of `conductor_gate_budget`, on process memory. */
export const judge = (asks: ReadonlyArray<Row>, tables: Tables["Service"]): ReadonlyArray<Verdict> => {
  const budgets = table(tables)
  const decoded = decodeAsks(asks)
  for (const { open, org } of decoded) if (open !== null) budgets.open(org, open.scope, open.limit)
  return decoded.flatMap((ask) => {
    const accounts = ask.scopes.flatMap((scope) => budgets.find(ask.org, scope) ?? [])
    for (const settled of ask.settle ?? []) {
      for (const account of accounts) {
        account.spent = Money.add(account.spent, settled.cost)
        if (settled.scopes.includes(account.scope)) account.reserved = Money.subtract(account.reserved, settled.reserved)
      }
    }
    return (ask.reserve === null ? undefined : admit(ask, ask.reserve, accounts)) ?? []
  })
}
