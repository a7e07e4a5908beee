import * as Money from "../../Money.ts"
import type { ModelRef } from "../../Run.ts"
import type { Entry, Prices } from "../Catalog.ts"
import { ratesFor } from "../Price.ts"
import { type BudgetTier, budgetOf, isDearer, type Task } from "../Strengths.ts"

/** What an agent needs of its model. */
export interface Criteria {
  readonly task: Task
  /** The dearest tier that may be chosen, `standard` by default; a cheaper model that is stronger is taken all the same. */
  readonly budget?: BudgetTier
  /** Takes images. */
  readonly vision?: boolean
  /** Has a context of 500,000 tokens at least; the price is then that of a prompt of 300,000. */
  readonly longContext?: boolean
  /** Takes tools. */
  readonly tools?: boolean
  /** Reasons before it answers, at least where it is asked to. */
  readonly reasoning?: boolean
  /** Providers (`openrouter`), makers (`deepseek`, `qwen`, `kimi`, `claude`, `gemini`) or references, the dearest to you first. */
  readonly prefer?: string | ReadonlyArray<string>
}

/** The providers that can be used by name, and whether each has its key. */
export type Usable = ReadonlyMap<string, boolean>

/** Why a model does not fit, and what would change that. */
export interface Misfit {
  readonly why: string
  readonly remedy: string
}

const longContext = 500_000
const longPrompt = 300_000

/** The provider of a reference. */
export const providerOf = (ref: ModelRef): string => ref.slice(0, ref.indexOf(":"))

const makers: Readonly<Record<string, string>> = { claude: "anthropic", gemini: "google", kimi: "moonshotai", moonshot: "moonshotai" }

const makerOf = (ref: ModelRef): string => {
  const [maker = "", name] = ref.slice(ref.indexOf(":") + 1).split("/")
  return name === undefined ? providerOf(ref) : maker
}

/** Whether a model is what a preference names: itself, its provider or its maker. */
export const isNamed = (ref: ModelRef, preference: string): boolean => {
  const name = preference.trim().toLowerCase()
  return ref === preference.trim() || providerOf(ref) === name || makerOf(ref) === (makers[name] ?? name)
}

/** The preferences of some criteria, in order. */
export const preferencesOf = ({ prefer = [] }: Criteria): ReadonlyArray<string> => typeof prefer === "string" ? [prefer] : prefer

/** The dearest tier that may be chosen. */
export const budgetFor = ({ budget = "standard" }: Criteria): BudgetTier => budget

/** What a task takes of a model, beside what is asked for. */
const needsOf = (criteria: Criteria) => ({
  vision: criteria.vision === true || criteria.task === "vision",
  longContext: criteria.longContext === true || criteria.task === "long-context",
  tools: criteria.tools === true || criteria.task === "agents",
  reasoning: criteria.reasoning === true || criteria.task === "reasoning"
})

/** Whether prices are those of long prompts. */
export const isLong = (criteria: Criteria): boolean => needsOf(criteria).longContext

/** The prices that a model is chosen by: of a short prompt, or of a long one. */
export const pricesFor = (entry: Entry, criteria: Criteria): Prices | undefined =>
  isLong(criteria) ? ratesFor(entry, longPrompt) : entry.prices

/** How dear a model is for what is wanted; nothing where it has neither a price nor a tier of its own. */
export const tierFor = (entry: Entry, criteria: Criteria): BudgetTier | undefined => {
  if (entry.budget !== undefined && (entry.tiers.length === 0 || !isLong(criteria))) return entry.budget
  const prices = pricesFor(entry, criteria)
  return prices === undefined ? entry.budget : budgetOf(prices)
}

const priceText = (entry: Entry, criteria: Criteria): string => {
  const prices = pricesFor(entry, criteria)
  return prices === undefined ? "an unknown price" : `$${Money.format(prices.input)} in and $${Money.format(prices.output)} out per million tokens`
}

/** A price for people: `$2 in and $10 out per million tokens (standard)`. */
export const describePrice = (entry: Entry, criteria: Criteria): string => {
  const tier = tierFor(entry, criteria)
  const about = [...(tier === undefined ? [] : [tier]), ...(isLong(criteria) && entry.tiers.length > 0 ? ["at long prompts"] : [])]
  return `${priceText(entry, criteria)}${about.length === 0 ? "" : ` (${about.join(", ")})`}`
}

const misfitOfProvider = (entry: Entry, usable: Usable | undefined, isAnyReady: boolean): ReadonlyArray<Misfit> => {
  const provider = providerOf(entry.ref)
  const ready = usable === undefined ? true : usable.get(provider)
  if (ready === undefined) return [{ why: `there is no provider "${provider}" here`, remedy: `give the runtime a provider "${provider}"` }]
  return ready || !isAnyReady ? [] : [{ why: `${provider} has no key`, remedy: `set the key of ${provider}` }]
}

/** Why a model is not one for some criteria; nothing where it fits. */
export const misfitsOf = (entry: Entry, criteria: Criteria, usable: Usable | undefined, isAnyReady: boolean): ReadonlyArray<Misfit> => {
  const needs = needsOf(criteria)
  const most = budgetFor(criteria)
  const tier = tierFor(entry, criteria)
  const found: Array<Misfit> = [...misfitOfProvider(entry, usable, isAnyReady)]
  if (entry.tasks?.[criteria.task] === undefined) {
    found.push({ why: `the catalogue says nothing of it and ${criteria.task}`, remedy: `say in your catalogue file how good it is at ${criteria.task} (tasks)` })
  }
  if (needs.vision && !entry.vision) found.push({ why: "it takes no images", remedy: "do without vision" })
  if (needs.longContext && entry.context < longContext) {
    found.push({ why: `its context is ${entry.context.toLocaleString("en-US")} tokens`, remedy: "do without a long context" })
  }
  if (needs.tools && !entry.tools) found.push({ why: "it takes no tools", remedy: "do without tools" })
  if (needs.reasoning && entry.thinking === "none") found.push({ why: "it does not reason", remedy: "do without reasoning" })
  if (tier === undefined) {
    found.push({ why: "it has no known price", remedy: "add its price to your catalogue file" })
  } else if (isDearer(tier, most)) {
    found.push({ why: `it costs ${describePrice(entry, criteria)}`, remedy: `allow the budget "${tier}"` })
  }
  return found
}
