import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Agent from "../Agent.ts"
import { Conductor } from "../Conductor.ts"
import * as Model from "../Model.ts"
import * as Money from "../Money.ts"

/** A model whose answers are written down: values, or functions of the request. See {@link Model.Scripted}. */
export const script = Model.Scripted.make

/** What a scripted answer is made of. */
export type Turn = Model.Scripted.Turn

const entryOf = (ref: Model.Entry["ref"]): Model.Entry => ({
  ref,
  context: 200_000,
  maxOutput: 64_000,
  prices: {
    input: Money.usd("1"),
    output: Money.usd("2"),
    cacheRead: Money.usd("0.1"),
    cacheWrite: Money.usd("1.25"),
    cacheWriteHour: Money.usd("2")
  },
  tiers: [],
  tools: true,
  vision: false,
  structuredOutput: true,
  thinking: "none",
  efforts: [],
  forcedToolUse: false,
  returnsReasoning: false
})

/**
 * Models for tests: whatever model an agent names, the given one answers. A model of the catalogue has its own price, any
 * other costs 1 USD per million tokens of input and 2 USD of output. Forbidden models stay forbidden.
 */
export const models = (model: Model.Provider): Layer.Layer<Model.Models | Model.Catalog> =>
  Layer.effect(Model.Models, Effect.gen(function*() {
    const catalog = yield* Model.Catalog
    return Model.Models.of({
      providers: new Map(catalog.entries.map(({ ref }) => [ref.slice(0, ref.indexOf(":")), true])),
      resolve: Effect.fnUntraced(function*(ref) {
        const checked = yield* Effect.fromResult(Model.of(ref))
        const entry = Option.getOrElse(catalog.find(checked), () => entryOf(checked))
        const prices = entry.prices === undefined ? null : catalog.version
        return { ref: checked, stream: model, id: checked.slice(checked.indexOf(":") + 1), entry: Option.some(entry), prices }
      })
    })
  })).pipe(Layer.provideMerge(Model.Catalog.layerShipped))

/** The runtime in process memory, with one scripted model behind every name. */
export const layer = <const A extends ReadonlyArray<Agent.Any>>(options: { readonly agents: A; readonly model: Model.Provider }) =>
  Conductor.layerMemory({ agents: options.agents, models: models(options.model) })

/** The same on an embedded database: in a directory, or in memory without one. */
export const layerEmbedded = <const A extends ReadonlyArray<Agent.Any>>(options: {
  readonly agents: A
  readonly model: Model.Provider
  readonly dir?: string
}) => Conductor.layerEmbedded({ ...options, models: models(options.model) })
