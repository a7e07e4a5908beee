import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { ModelRef } from "../Run.ts"
import builtIn from "./Catalog.json" with { type: "json" }
import { isForbidden } from "./Forbidden.ts"
import { BudgetTier, budgetOf, Strengths } from "./Strengths.ts"

const Rate = Money.FromString.check(Schema.makeFilter((rate: bigint) => rate >= 0n || "a price is not below zero"))

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * Prices in US dollars per million tokens, as decimal strings outside; a kind of token that is left out has no price. Tokens
 * of reasoning are output everywhere, so that they have no price of their own.
 */
export const Prices = Schema.Struct({
  input: Rate,
  output: Rate,
  cacheRead: Schema.optionalKey(Rate),
  /** Writing to the cache for five minutes. */
  cacheWrite: Schema.optionalKey(Rate),
  /** Writing to the cache for an hour. */
  cacheWriteHour: Schema.optionalKey(Rate),
  /** A thousand web searches that the provider makes itself. */
  webSearch: Schema.optionalKey(Rate)
})
export type Prices = typeof Prices.Type

/** The prices of every token of a request whose prompt has more than `above` tokens. */
export const Tier = Schema.Struct({ above: Count, prices: Prices })
export type Tier = typeof Tier.Type

const fields = {
  /** Tokens of prompt and answer together. */
  context: Count,
  /** Tokens of an answer at most. */
  maxOutput: Count,
  tiers: Schema.Array(Tier),
  tools: Schema.Boolean,
  vision: Schema.Boolean,
  structuredOutput: Schema.Boolean,
  /** Whether the model reasons: never, where asked, as it sees fit, or always. */
  thinking: Schema.Literals(["none", "optional", "adaptive", "always"]),
  efforts: Schema.Array(Schema.Literals(["low", "medium", "high", "xhigh", "max"])),
  /** Whether the provider accepts a request that demands a tool call. */
  forcedToolUse: Schema.Boolean,
  /** Whether reasoning must be sent back with the history. */
  returnsReasoning: Schema.Boolean
}

/**
 * The dearest host that may answer where a provider passes requests on to hosts of several prices, in dollars per million
 * tokens: what is set aside before a request, the most that it allows, and what an answer is charged at whose cost nobody told.
 * The list price is that of the cheapest.
 */
const Ceiling = Schema.Struct({ input: Rate, output: Rate })

const standing = {
  ceiling: Schema.optionalKey(Ceiling),
  /** What it is good at; without them it is never chosen by task. */
  tasks: Schema.optionalKey(Strengths),
  /** How dear it is, by its prices; see {@link budgetOf}. A model without a price has none. */
  budget: Schema.optionalKey(BudgetTier),
  /** Where prices and abilities are from. */
  source: Schema.optionalKey(Schema.String),
  /** The day of the prices, such as `2026-11-10`. */
  date: Schema.optionalKey(Schema.String)
}

/** What is known of a model. */
export const Entry = Schema.Struct({ ref: ModelRef, prices: Schema.optionalKey(Prices), ...fields, ...standing })
export type Entry = typeof Entry.Type

/** An entry of the user's file: what it leaves out is as shipped, or the cautious default for a model of its own. */
const UserEntry = Schema.Struct({
  ref: ModelRef,
  prices: Schema.optionalKey(Prices),
  context: Schema.optionalKey(fields.context),
  maxOutput: Schema.optionalKey(fields.maxOutput),
  tiers: Schema.optionalKey(fields.tiers),
  tools: Schema.optionalKey(fields.tools),
  vision: Schema.optionalKey(fields.vision),
  structuredOutput: Schema.optionalKey(fields.structuredOutput),
  thinking: Schema.optionalKey(fields.thinking),
  efforts: Schema.optionalKey(fields.efforts),
  forcedToolUse: Schema.optionalKey(fields.forcedToolUse),
  returnsReasoning: Schema.optionalKey(fields.returnsReasoning),
  ...standing
})
type UserEntry = typeof UserEntry.Type

const Shipped = Schema.Struct({
  source: Schema.String,
  sourceVersion: Schema.String,
  /** The day of the prices. */
  generatedAt: Schema.String,
  /** Where what the models are good at is from. */
  strengths: Schema.String,
  models: Schema.Array(Entry)
})

const UserFile = Schema.fromJsonString(Schema.Struct({ models: Schema.Array(UserEntry) }))

const decodeShipped = Schema.decodeUnknownEffect(Shipped)
const decodeUserFile = Schema.decodeUnknownEffect(UserFile)

/** The user's catalogue file cannot be used. */
export class CatalogInvalid extends Schema.TaggedError<CatalogInvalid>()("CatalogInvalid", {
  path: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The catalogue file ${this.path} (CONDUCTOR_CATALOG) cannot be used: ${this.problem}. Correct it, or unset CONDUCTOR_CATALOG.`
  }
}

const unknown: Omit<Entry, "ref"> = {
  context: 128_000,
  maxOutput: 8_192,
  tiers: [],
  tools: true,
  vision: false,
  structuredOutput: false,
  thinking: "none",
  efforts: [],
  forcedToolUse: false,
  returnsReasoning: false
}

/** New base prices end what belonged to those as shipped, unless it is given too: tiers, ceiling and budget. */
const merge = (shipped: Entry | undefined, user: UserEntry): Entry => {
  if (user.prices === undefined) return { ...unknown, ...shipped, ...user }
  const { ceiling: _, ...known } = { ...unknown, ...shipped }
  return { ...known, tiers: [], budget: budgetOf(user.prices), ...user }
}

const make = (entries: ReadonlyArray<Entry>, version: string): Catalog["Service"] => {
  const byRef = new Map(entries.map((entry) => [entry.ref, entry]))
  return { find: (ref) => Option.fromUndefinedOr(byRef.get(ref)), entries: [...byRef.values()], version }
}

/** The models with known prices and abilities, found by exact reference only. */
export class Catalog extends Context.Service<Catalog, {
  readonly find: (ref: ModelRef) => Option.Option<Entry>
  readonly entries: ReadonlyArray<Entry>
  /** Names the source of the prices, its version and date. */
  readonly version: string
}>()("conductor-ai/Model/Catalog") {
  /** These entries and no others. */
  static readonly layerOf = (entries: ReadonlyArray<Entry>, version = "given"): Layer.Layer<Catalog> =>
    Layer.succeed(Catalog, make(entries, version))

  /** The catalogue as shipped: `Catalog.json`, written by `test/scripts/catalogue.ts` from the source that it names. */
  static readonly layerShipped: Layer.Layer<Catalog> = Layer.effect(Catalog, Effect.gen(function*() {
    const shipped = yield* Effect.orDie(decodeShipped(builtIn))
    return make(shipped.models, `${shipped.source}@${shipped.sourceVersion} ${shipped.generatedAt}`)
  }))

  /** The catalogue as shipped, with the user's file (`CONDUCTOR_CATALOG`, a path to JSON) over it where there is one. */
  static readonly layer: Layer.Layer<Catalog, CatalogInvalid | Config.ConfigError, FileSystem.FileSystem> = Layer.effect(
    Catalog,
    Effect.gen(function*() {
      const shipped = yield* Catalog
      const path = Option.filter(yield* Config.option(Config.String("CONDUCTOR_CATALOG")), (path) => path.trim() !== "")
      if (Option.isNone(path)) return shipped
      const files = yield* FileSystem.FileSystem
      const invalid = (problem: string) => new CatalogInvalid({ path: path.value, problem })
      const text = yield* Effect.mapError(files.readFileString(path.value), (error) => invalid(error.message))
      const user = yield* Effect.mapError(decodeUserFile(text), (error) => invalid(error.message.replaceAll("\n", " ")))
      const refused = user.models.find((model) => isForbidden(model.ref))
      if (refused !== undefined) return yield* invalid(`"${refused.ref}" is an OpenAI model, which Conductor never uses`)
      const merged = user.models.map((model) => merge(Option.getOrUndefined(shipped.find(model.ref)), model))
      const dear = merged.find(({ budget, prices }) => budget === "free" && (prices === undefined || budgetOf(prices) !== "free"))
      if (dear !== undefined) return yield* invalid(`"${dear.ref}" is in the budget "free" without being so: set its prices to "0"`)
      return make([...shipped.entries, ...merged], `${shipped.version} + ${path.value}`)
    })
  ).pipe(Layer.provide(Catalog.layerShipped))
}
