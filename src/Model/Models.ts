import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type ForbiddenModel, type ModelRef, UnknownModel } from "../Run.ts"
import * as Anthropic from "./Anthropic.ts"
import { Catalog } from "./Catalog.ts"
import * as Gemini from "./Gemini.ts"
import * as OpenRouter from "./OpenRouter.ts"
import type { Provider, Resolved } from "./Provider.ts"
import { of } from "./Ref.ts"

/** Providers by the name that references begin with. */
export type Providers = Readonly<Record<string, Provider>>

/** The providers that Conductor brings. */
const brought = Effect.all({ anthropic: Anthropic.provider, openrouter: OpenRouter.provider, google: Gemini.provider })

/** The providers of this process, and the models behind them. */
export class Models extends Context.Service<Models, {
  readonly resolve: (ref: ModelRef) => Effect.Effect<Resolved, UnknownModel | ForbiddenModel>
  /** The providers by name, and whether each can be asked: false where its key is missing. */
  readonly providers: ReadonlyMap<string, boolean>
}>()("conductor-ai/Model/Models") {
  /** These providers and no others. A provider's model that the catalogue does not hold resolves, without a price. */
  static readonly layerOf = (providers: Providers): Layer.Layer<Models, never, Catalog> =>
    Layer.effect(Models, Effect.gen(function*() {
      const catalog = yield* Catalog
      const names = Object.keys(providers)
      return Models.of({
        providers: new Map(Object.entries(providers).map(([name, provider]) => [name, provider.ready !== false])),
        resolve: Effect.fnUntraced(function*(ref) {
          const checked = yield* Effect.fromResult(of(ref))
          const colon = checked.indexOf(":")
          const name = checked.slice(0, colon)
          const stream = Object.hasOwn(providers, name) ? providers[name] : undefined
          if (stream === undefined) {
            const remedy = `there is no provider "${name}" here, only ${names.join(", ") || "none"}.`
            return yield* new UnknownModel({ model: ref, remedy })
          }
          const entry = catalog.find(checked)
          const priced = Option.isSome(entry) && entry.value.prices !== undefined
          return { ref: checked, stream, id: checked.slice(colon + 1), entry, prices: priced ? catalog.version : null }
        })
      })
    }))

  /** The providers that Conductor brings, configured from the environment, and the given ones beside or over them. */
  static readonly layerWith = (more: Providers): Layer.Layer<Models, Config.ConfigError, Catalog> =>
    Layer.unwrap(Effect.map(brought, (brought) => Models.layerOf({ ...brought, ...more })))

  /** The providers that Conductor brings. A missing key is no failure here: requests to that provider say so. */
  static readonly layer: Layer.Layer<Models, Config.ConfigError, Catalog> = Models.layerWith({})
}
