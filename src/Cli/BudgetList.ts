import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Balance, Budget, type Period } from "../Budget.ts"
import { Conductor } from "../Conductor.ts"
import * as Money from "../Money.ts"
import { CurrentOrg } from "../Org.ts"
import { OrgId } from "../Run.ts"
import { failed, usage } from "./Failure.ts"
import { amounts, time } from "./Format.ts"
import { printList } from "./Lists.ts"
import { Output, plain } from "./Output.ts"
import { conductor, runId } from "./Runtime.ts"

const named = /^(org|session|run):(.*\S.*)$/s

/** The scope that somebody typed, and whose it is; a run has to be there. */
const scopeOf = Effect.fnUntraced(function*(typed: string) {
  const org = yield* CurrentOrg
  const text = typed.trim()
  if (text === "org") return { org, scope: `org:${org}` }
  const [, kind, name = ""] = named.exec(text) ?? []
  if (kind === undefined) return yield* usage(`The scope "${typed}" is not known: write org, org:NAME, session:ID or run:ID.`)
  if (kind === "org") return { org: OrgId.make(name), scope: text }
  if (kind === "session") return { org, scope: text }
  const { find } = yield* Conductor
  const row = yield* find(yield* runId(name))
  return { org: row.org, scope: `run:${row.run}` }
})

const leftOf = ({ limit, reserved, spent }: Balance): Money.Money =>
  Money.most(Money.zero, Money.subtract(Money.subtract(limit, spent), reserved))

const usedOf = ({ share }: Balance): string => `${Math.floor(share * 1_000) / 10} %`

const encode = (balance: Balance) => {
  const { excess, limit, reserved, spent, ...rest } = balance
  return {
    ...rest,
    limit: Money.format(limit),
    spent: Money.format(spent),
    reserved: Money.format(reserved),
    left: Money.format(leftOf(balance)),
    excess: Money.format(excess)
  }
}

/** `conductor budgets`. */
export const printBudgets = Effect.fnUntraced(function*(input: { readonly all: boolean; readonly json: boolean }) {
  const budget = yield* Budget
  const output = yield* Output
  const balances = yield* budget.list(yield* CurrentOrg, { idleRuns: input.all })
  const columns = [(one: Balance) => one.limit, (one: Balance) => one.spent, (one: Balance) => one.reserved, leftOf]
    .map((column) => amounts(balances.map(column)))
  yield* printList<Balance>(balances, {
    json: input.json,
    head: ["SCOPE", "PERIOD", ">LIMIT", ">SPENT", ">RESERVED", ">LEFT", ">USED", "NEXT PERIOD (UTC)"],
    cells: (one) => {
      const row = balances.indexOf(one)
      return [plain(one.scope), one.period, ...columns.map((column) => column[row] ?? ""), usedOf(one), one.until === null ? "" : time(one.until)]
    },
    encode,
    empty: "There are no budgets here: set one with conductor budgets set org 100 --period month, or give a run one with conductor run --budget."
  })
  const above = balances.filter(({ excess }) => excess > 0n)
  if (input.json || above.length === 0) return
  const [first] = above
  yield* output.note(`Above the limit, because requests were dearer than expected or the limit was lowered: ${plain(first?.scope ?? "")} by ${Money.display(first?.excess ?? Money.zero)}${
    above.length > 1 ? ` and ${above.length - 1} more` : ""}.`)
}, Effect.provide(conductor([])))

/** `conductor budgets set`. */
export const setBudget = Effect.fnUntraced(function*(input: {
  readonly scope: string
  readonly amount: Money.Money
  readonly period: Option.Option<Period>
  readonly json: boolean
}) {
  const budget = yield* Budget
  const output = yield* Output
  const { org, scope } = yield* scopeOf(input.scope)
  yield* budget.set(org, scope, input.amount, Option.match(input.period, { onNone: () => ({}), onSome: (period) => ({ period }) }))
  const balance = (yield* budget.list(org)).find((one) => one.scope === scope)
  if (balance === undefined) return yield* failed(`The budget of ${plain(scope)} was removed again in the meantime: see conductor budgets.`)
  if (input.json) return yield* output.line(JSON.stringify(encode(balance)))
  const often = balance.period === "none" ? "" : ` a ${balance.period}`
  const [limit, spent, reserved, left] = [balance.limit, balance.spent, balance.reserved, leftOf(balance)].map((amount) => `$${Money.format(amount)}`)
  yield* output.line(`${output.paint.green("✓")} ${plain(scope)} may spend ${limit}${often}: ${spent} spent, ${reserved} reserved, ${left} left`)
}, Effect.provide(conductor([])))

/** `conductor budgets remove`. */
export const removeBudget = Effect.fnUntraced(function*(typed: string) {
  const budget = yield* Budget
  const output = yield* Output
  const { org, scope } = yield* scopeOf(typed)
  if (!(yield* budget.remove(org, scope))) return yield* failed(`There is no budget of ${plain(scope)}: see conductor budgets --all.`)
  yield* output.line(`${output.paint.green("✓")} ${plain(scope)} has no limit any more`)
}, Effect.provide(conductor([])))
