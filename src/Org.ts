import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Keys } from "./Org/Keys.ts"

export { CurrentOrg, CurrentPrincipal } from "./Org/Current.ts"
export * from "./Org/Error.ts"
export { allows, type Bootstrapped, KeyMemory, keyOf, KeyRate, Keys, type Made, type NewKey, type Principal, principalOf } from "./Org/Keys.ts"
export { Orgs } from "./Org/Orgs.ts"
export { type Gone, Retention } from "./Org/Retention.ts"
export { type ApiKey, KeyId, type Org, Scope } from "./Org/Tenants.ts"

const given = Config.map(Config.option(Config.Redacted("CONDUCTOR_API_KEY")), Option.filter((key) => Redacted.value(key).trim() !== ""))

/** What a server does when it starts: see {@link Keys}, `bootstrap`, with the key of `CONDUCTOR_API_KEY` where that is set. */
export const bootstrap = Effect.gen(function*() {
  const keys = yield* Keys
  return yield* keys.bootstrap(yield* given)
})
