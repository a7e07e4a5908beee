import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PartitionedSemaphore from "effect/PartitionedSemaphore"
import * as Semaphore from "effect/Semaphore"
import type { RateLimiter } from "effect/persistence/RateLimiter"
import type { OrgId } from "../../Run.ts"
import type { AccountLimits, RoutingOptions } from "./Routing.ts"

/** Lets an effect through when it may begin, and counts it until it has ended; waiting is over at once when it is interrupted. */
export type Gate = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * The gate of one account: as many requests at a time and within a time as it takes. Organisations take turns, each with
 * its oldest request; nothing where there is no limit.
 */
const gateOfAccount = (limiter: RateLimiter, account: string, { concurrency, rate }: AccountLimits) => {
  if (concurrency === undefined && rate === undefined) return undefined
  const places = concurrency === undefined ? undefined : PartitionedSemaphore.makeUnsafe<OrgId>({ permits: Math.max(1, concurrency) })
  // One at a time waits for the limiter, which knows no organisations.
  const turnstile = PartitionedSemaphore.makeUnsafe<OrgId>({ permits: 1 })
  const paced = rate === undefined ? undefined : limiter.consume({
    key: account,
    limit: Math.max(1, rate.requests),
    window: rate.per,
    algorithm: "token-bucket",
    onExceeded: "delay"
  }).pipe(
    Effect.flatMap(({ delay }) => Duration.isZero(delay) ? Effect.void : Effect.sleep(delay)),
    // A store that fails must not keep everybody from asking.
    Effect.catch((error) => Effect.logWarning(`The rate of "${account}" is not limited now: ${error.message}`))
  )
  return (org: OrgId): Gate => (effect) => {
    const one = paced === undefined ? effect : Effect.andThen(turnstile.withPermit(org)(paced), effect)
    return places === undefined ? one : places.withPermit(org)(one)
  }
}

/** The gates of all accounts and organisations; nothing for a request that no limit is for. */
export const makeGates = (options: RoutingOptions, limiter: RateLimiter): (account: string, org: OrgId) => Gate | undefined => {
  const { accounts = {}, perOrganisation } = options
  const gates = new Map<string, ReturnType<typeof gateOfAccount>>()
  const organisations = new Map<OrgId, { readonly places: Semaphore.Semaphore; users: number }>()

  const gateOf = (account: string) => {
    const known = gates.get(account)
    if (known !== undefined || gates.has(account)) return known
    const limits = (Object.hasOwn(accounts, account) ? accounts[account] : accounts["*"]) ?? {}
    const gate = gateOfAccount(limiter, account, limits)
    gates.set(account, gate)
    return gate
  }

  /** Kept as long as somebody uses it: there may be any number of organisations in the life of a process. */
  const organisation = (org: OrgId, most: number): Gate => (effect) =>
    Effect.suspend(() => {
      const known = organisations.get(org)
      const entry = known ?? { places: Semaphore.makeUnsafe(Math.max(1, most)), users: 0 }
      if (known === undefined) organisations.set(org, entry)
      entry.users++
      return Effect.ensuring(entry.places.withPermit(effect), Effect.sync(() => {
        entry.users--
        if (entry.users === 0) organisations.delete(org)
      }))
    })

  if (Object.keys(accounts).length === 0 && perOrganisation === undefined) return () => undefined
  return (account, org) => {
    const most = typeof perOrganisation === "function" ? perOrganisation(org) : perOrganisation
    const outer = most === undefined || !Number.isFinite(most) ? undefined : organisation(org, most)
    const inner = gateOf(account)?.(org)
    return outer === undefined ? inner : inner === undefined ? outer : (effect) => outer(inner(effect))
  }
}
