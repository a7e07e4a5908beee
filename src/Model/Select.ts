import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { ForbiddenModel } from "../Run.ts"
import type { Entry } from "./Catalog.ts"
import { forbidden, isForbidden } from "./Forbidden.ts"
import {
  budgetFor, type Criteria, describePrice, isNamed, type Misfit, misfitsOf, preferencesOf, pricesFor, providerOf, tierFor, type Usable
} from "./Select/Fit.ts"
import { BudgetTier, mixed, Task } from "./Strengths.ts"

export type { Criteria, Usable } from "./Select/Fit.ts"

/** A model that is chosen from the catalogue when the agent is registered. */
export interface Selected {
  readonly _tag: "Selected"
  readonly criteria: Criteria
}

/**
 * The strongest model of the catalogue for a task that is not dearer than a budget allows. It is chosen when the agent is
 * registered, among the providers that have a key; a run keeps the model that it was started with.
 */
export const select = (criteria: Criteria): Selected => ({ _tag: "Selected", criteria })

/** No model of the catalogue is what was asked for. */
export class NoModelFits extends Schema.TaggedError<NoModelFits>()("NoModelFits", {
  task: Task,
  budget: BudgetTier,
  /** The model that comes nearest. */
  nearest: Schema.NullOr(Schema.String),
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message() {
    return `No model of the catalogue fits the task "${this.task}" on the budget "${this.budget}" as asked: ${this.problem}; ${this.remedy}.`
  }
}

/** A model that was considered, and why it was not chosen. */
export interface Considered {
  readonly entry: Entry
  /** True where only a better one kept it from being chosen. */
  readonly fits: boolean
  readonly why: string
}

/** The model that was chosen, why, and all others: those that fit first, the best first. */
export interface Pick {
  readonly entry: Entry
  readonly reason: string
  readonly considered: ReadonlyArray<Considered>
  /** The preferences that nothing in the catalogue goes by. */
  readonly unknown: ReadonlyArray<string>
}

/** What decides between two models that fit, in the order in which it does. */
interface Rank {
  readonly preferred: number
  readonly strength: number
  readonly price: bigint | undefined
  /** What input costs that the provider remembers, which is most of what an agent sends. */
  readonly cached: bigint | undefined
}

const rankOf = (entry: Entry, criteria: Criteria): Rank => {
  const preferences = preferencesOf(criteria)
  const found = preferences.findIndex((preference) => isNamed(entry.ref, preference))
  const prices = pricesFor(entry, criteria)
  return {
    preferred: found === -1 ? preferences.length : found,
    strength: entry.tasks?.[criteria.task] ?? 0,
    price: prices === undefined ? undefined : mixed(prices),
    cached: prices?.cacheRead ?? prices?.input
  }
}

const cheaper = (a: bigint | undefined, b: bigint | undefined): number =>
  a === b ? 0 : a === undefined ? 1 : b === undefined || a < b ? -1 : 1

const compare = (criteria: Criteria) => (a: Entry, b: Entry): number => {
  const [one, other] = [rankOf(a, criteria), rankOf(b, criteria)]
  return one.preferred - other.preferred || other.strength - one.strength || cheaper(one.price, other.price) ||
    cheaper(one.cached, other.cached) || (a.ref < b.ref ? -1 : 1)
}

/** Why a model that fits comes after the one that was chosen. */
const whyAfter = (entry: Entry, chosen: Entry, criteria: Criteria): string => {
  const [rank, best] = [rankOf(entry, criteria), rankOf(chosen, criteria)]
  const strength = `${rank.strength} of 10 at ${criteria.task}`
  if (rank.preferred !== best.preferred) return `less preferred, with ${strength} and ${describePrice(entry, criteria)}`
  if (rank.strength !== best.strength) return `weaker, with ${strength}, at ${describePrice(entry, criteria)}`
  if (rank.price !== best.price) return `as strong and dearer, at ${describePrice(entry, criteria)}`
  if (rank.cached !== best.cached) return "as strong and as dear, and dearer where the prompt is cached"
  return "alike in all that counts, and later in the alphabet"
}

const reasonFor = (chosen: Entry, others: ReadonlyArray<Considered>, criteria: Criteria): string => {
  const rank = rankOf(chosen, criteria)
  const fitting = others.filter(({ fits }) => fits)
  const preference = preferencesOf(criteria)[rank.preferred]
  const strength = `${rank.strength} of 10 at ${criteria.task}`
  const lead = preference !== undefined
    ? `has ${strength} and is preferred ("${preference.trim()}")`
    : fitting.length === 0
    ? `has ${strength} and is the only model that fits`
    : `is the strongest at ${criteria.task} (${rank.strength} of 10) of the ${fitting.length + 1} models that fit`
  const [next] = fitting
  const after = next === undefined ? "" : ` Next is ${next.entry.ref}: ${next.why}.`
  return `${chosen.ref} ${lead}, at ${describePrice(chosen, criteria)}.${after}`
}

const keysOf = (entries: ReadonlyArray<Entry>, usable: Usable | undefined, isAnyReady: boolean): string => {
  const without = [...new Set(entries.map(({ ref }) => providerOf(ref)))].filter((provider) => usable?.get(provider) === false)
  if (without.length === 0) return ""
  return isAnyReady ? ` Left out without a key: ${without.join(", ")}.` : ` No provider has a key yet: set that of ${without.join(" or ")}.`
}

const none = (unfit: ReadonlyArray<{ readonly entry: Entry; readonly misfits: ReadonlyArray<Misfit> }>, criteria: Criteria): NoModelFits => {
  const about = { task: criteria.task, budget: budgetFor(criteria) }
  const order = BudgetTier.literals
  const above = (entry: Entry) => Math.max(order.indexOf(about.budget), order.indexOf(tierFor(entry, criteria) ?? "flagship"))
  const [nearest] = unfit.toSorted((a, b) =>
    a.misfits.length - b.misfits.length || above(a.entry) - above(b.entry) || compare(criteria)(a.entry, b.entry))
  if (nearest === undefined) {
    return new NoModelFits({ ...about, nearest: null, problem: "it holds none", remedy: "add one to your catalogue file (CONDUCTOR_CATALOG)" })
  }
  return new NoModelFits({
    ...about,
    nearest: nearest.entry.ref,
    problem: `the nearest is ${nearest.entry.ref}, and ${nearest.misfits.map(({ why }) => why).join(" and ")}`,
    remedy: nearest.misfits.map(({ remedy }) => remedy).join(" and ")
  })
}

/**
 * The model of a catalogue that fits some criteria best, always the same for the same catalogue and providers: what is
 * preferred, then the strongest at the task, then the cheapest, then the one whose cached input is the cheapest, then the first by name. Nothing is
 * ever dearer than the budget; where its tier has no model, or a cheaper one is stronger, a cheaper one is chosen.
 *
 * `usable` says which providers there are; those without a key are left out where another of the catalogue's has one. Without
 * it every model can be chosen. A preference orders what fits and lets nothing in that does not.
 */
export const pick = (criteria: Criteria, entries: ReadonlyArray<Entry>, usable?: Usable): Result.Result<Pick, NoModelFits | ForbiddenModel> => {
  const forbiddenName = preferencesOf(criteria).find(isForbidden)
  if (forbiddenName !== undefined) return Result.fail(forbidden(forbiddenName))
  const known = entries.filter(({ ref }) => !isForbidden(ref))
  const isAnyReady = known.some(({ ref }) => usable?.get(providerOf(ref)) === true)
  const judged = known.map((entry) => ({ entry, misfits: misfitsOf(entry, criteria, usable, isAnyReady) }))
  const [chosen, ...rest] = judged.filter(({ misfits }) => misfits.length === 0).map(({ entry }) => entry).toSorted(compare(criteria))
  const unfit = judged.filter(({ misfits }) => misfits.length > 0)
  if (chosen === undefined) return Result.fail(none(unfit, criteria))
  const considered: ReadonlyArray<Considered> = [
    ...rest.map((entry) => ({ entry, fits: true, why: whyAfter(entry, chosen, criteria) })),
    ...unfit.map(({ entry, misfits }) => ({ entry, fits: false, why: misfits.map(({ why }) => why).join("; ") }))
  ]
  const unknown = preferencesOf(criteria).filter((preference) => !known.some(({ ref }) => isNamed(ref, preference)))
  const strangers = unknown.length === 0 ? "" : ` Nothing in the catalogue goes by the preferred name ${unknown.map((name) => `"${name}"`).join(" or ")}.`
  const reason = `${reasonFor(chosen, considered, criteria)}${keysOf(known, usable, isAnyReady)}${strangers}`
  return Result.succeed({ entry: chosen, reason, considered, unknown })
}

