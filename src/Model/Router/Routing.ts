import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type { ModelRef, OrgId } from "../../Run.ts"

/** What requests to one account may take up. */
export interface AccountLimits {
  /** Requests under way at a time; no limit by default. */
  readonly concurrency?: number
  /** Requests begun within a time: as many at once, then evenly spread; no limit by default. */
  readonly rate?: { readonly requests: number; readonly per: Duration.Input }
}

/** How requests are led to providers. */
export interface RoutingOptions {
  /** Limits by account; `"*"` is each account that has none of its own. */
  readonly accounts?: Readonly<Record<string, AccountLimits>>
  /** Requests of one organisation under way at a time, over all accounts; no limit by default. */
  readonly perOrganisation?: number | ((org: OrgId) => number)
  /**
   * When requests are not made any more because those before them failed; `false` for never. Failures are those of the
   * network and the provider, and exceeded rate limits.
   */
  readonly breaker?: false | {
    /** Failures without a success between them after which nobody asks any more; 10 by default. */
    readonly failures?: number
    /** How long nobody asks, before one request tries how it stands; 30 seconds by default. */
    readonly coolDown?: Duration.Input
  }
  /** The longest wait for what a provider asked for (`retry-after`) where there is another model to ask; 5 seconds by default. */
  readonly patience?: Duration.Input
  /** Names the account, which is to say the key, that a request is made with; by default the provider's name. */
  readonly accountOf?: (model: ModelRef, org: OrgId) => string
  /**
   * Names what fails together, and is left alone together; by default the account, and for OpenRouter, whose models have
   * hosts of their own, the model.
   */
  readonly circuitOf?: (model: ModelRef, org: OrgId) => string
}

/** How this process leads requests to providers: without limits by default, and with a circuit breaker. */
export const Routing = Context.Reference<RoutingOptions>("conductor-ai/Model/Routing", { defaultValue: () => ({}) })

const providerOf = (model: ModelRef): string => model.slice(0, model.indexOf(":"))

/** The account of a request, and what it fails together with. */
export const placesOf = (options: RoutingOptions) => {
  const accountOf = options.accountOf ?? providerOf
  const circuitOf = options.circuitOf ??
    ((model: ModelRef, org: OrgId) => model.startsWith("openrouter:") ? `${accountOf(model, org)} ${model}` : accountOf(model, org))
  return { accountOf, circuitOf }
}
