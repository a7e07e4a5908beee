import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"

/** What a model can be chosen for. */
export const Task = Schema.Literals(["coding", "reasoning", "agents", "fast", "long-context", "vision", "multilingual", "general"])
export type Task = typeof Task.Type

/** How dear a model may be, from nothing upwards; see {@link budgetOf}. */
export const BudgetTier = Schema.Literals(["free", "budget", "standard", "premium", "flagship"])
export type BudgetTier = typeof BudgetTier.Type

const Strength = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10 }))

/** What a model is good at, from 1 (it can) to 10 (nothing of the catalogue is better); a task that is left out is none of its own. */
export const Strengths = Schema.Struct({
  coding: Schema.optionalKey(Strength),
  reasoning: Schema.optionalKey(Strength),
  agents: Schema.optionalKey(Strength),
  fast: Schema.optionalKey(Strength),
  "long-context": Schema.optionalKey(Strength),
  vision: Schema.optionalKey(Strength),
  multilingual: Schema.optionalKey(Strength),
  general: Schema.optionalKey(Strength)
})
export type Strengths = typeof Strengths.Type

/** Prices of a model by kind; input and output tell how dear it is. */
export interface Rates {
  readonly input: Money.Money
  readonly output: Money.Money
  readonly [kind: string]: Money.Money
}

/** What a million tokens cost of which three in four are input: the figure that models are compared by. */
export const mixed = ({ input, output }: Rates): Money.Money => Money.Money.make((3n * input + output + 3n) / 4n)

/** The dearest {@link mixed} price of a tier, in dollars; what is above the last is `flagship`. */
const ceilings = [["budget", Money.usd("1")], ["standard", Money.usd("5")], ["premium", Money.usd("10")]] as const

/**
 * The tier of a price: `free` where nothing has a price above zero, and else by what a million tokens cost of which three in
 * four are input: `budget` up to 1 USD, `standard` up to 5, `premium` up to 10, `flagship` above.
 */
export const budgetOf = (rates: Rates): BudgetTier => {
  if (Object.values(rates).every((rate) => rate === 0n)) return "free"
  const price = mixed(rates)
  for (const [tier, most] of ceilings) if (price <= most) return tier
  return "flagship"
}

/** Whether one tier is dearer than another. */
export const isDearer = (tier: BudgetTier, than: BudgetTier): boolean =>
  BudgetTier.literals.indexOf(tier) > BudgetTier.literals.indexOf(than)
