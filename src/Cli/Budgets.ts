import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Money from "../Money.ts"
import { at } from "./Environment.ts"
import { given, json, place } from "./Options.ts"

const scope = Argument.String("scope").pipe(
  Argument.withDescription("org, org:NAME, session:ID or run:ID")
)

const set = Command.make("set", {
  scope,
  amount: Argument.String("amount").pipe(
    Argument.withDescription("Dollars that may be spent, such as 0.50"),
    Argument.filterMap(Money.parse, () => "Expected an amount of dollars such as 0.50")
  ),
  period: Flag.Literals("period", ["none", "day", "month"]).pipe(
    Flag.withDescription("How often that much may be spent, by UTC (default what the budget has, or none)"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { setBudget } = yield* Effect.promise(() => import("./BudgetList.ts"))
  yield* setBudget(input).pipe(at(input))
})).pipe(
  Command.withDescription("Set what an organisation, a session or a run may spend"),
  Command.withExamples([
    { command: "conductor budgets set org 100 --period month", description: "A hundred dollars a month for everything" },
    { command: "conductor budgets set session:support 2.50", description: "Two and a half for one conversation" }
  ])
)

const remove = Command.make("remove", { scope, ...place }, Effect.fnUntraced(function*(input) {
  const { removeBudget } = yield* Effect.promise(() => import("./BudgetList.ts"))
  yield* removeBudget(input.scope).pipe(at(input))
})).pipe(Command.withDescription("Remove a limit"))

/** `conductor budgets`: what may be spent, and what is. */
export const budgets = Command.make("budgets", {
  all: given("all", "Budgets of runs too that hold nothing"),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { printBudgets } = yield* Effect.promise(() => import("./BudgetList.ts"))
  yield* printBudgets(input).pipe(at(input))
})).pipe(
  Command.withDescription("List what may be spent, by organisation, session and run, and what is spent and reserved of it"),
  Command.withSubcommands([set, remove])
)
