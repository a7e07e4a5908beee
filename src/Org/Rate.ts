import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { StorageFailed } from "../Run.ts"
import { RateLimited } from "./Error.ts"
import type { Allowance, KeyId, Tenants } from "./Tenants.ts"

/** Milliseconds in which a key's requests are all made anew. */
const window = 60_000

/** Milliseconds for which requests that were taken ahead may be made. */
const term = 1_000

/** Keys that are counted at a time. */
const capacity = 10_000

/** What is left of an allowance at a time: it fills up evenly, so that it is full again within a minute. */
export const filled = ({ at, tokens }: Allowance, limit: number, now: number): number =>
  Math.min(limit, tokens + Math.max(0, now - at) * limit / window)

/** What this process may let through of a key's requests without asking. */
interface Share {
  left: number
  until: number
  /** How many are taken next. */
  next: number
  /** Until then there is none to be had. */
  refusedUntil: number
  readonly alone: Semaphore.Semaphore
}

/**
 * Counts the requests of keys against what all processes may let through together. A process takes some requests ahead, for a
 * second: one, then twice as many as long as they are made within that second, up to what the key may make in one. What it did
 * not use by then it gives back when it takes the next. So a busy key costs a round trip or two each second, and an idle one a
 * round trip for each request; those that are refused cost none.
 */
export const makeRate = (tenants: Pick<Tenants, "take">) => {
  const shares = new Map<KeyId, Share>()

  const shareOf = (key: KeyId): Share => {
    const known = shares.get(key)
    if (known !== undefined) return known
    const [oldest] = shares.keys()
    if (shares.size >= capacity && oldest !== undefined) shares.delete(oldest)
    const share: Share = { left: 0, until: 0, next: 1, refusedUntil: 0, alone: Semaphore.makeUnsafe(1) }
    shares.set(key, share)
    return share
  }

  /** True where a request is let through, false where more have to be taken first. */
  const isLeft = (share: Share, limit: number, now: number): Effect.Effect<boolean, RateLimited> => {
    if (share.left > 0 && now < share.until) {
      share.left--
      return Effect.succeed(true)
    }
    return now < share.refusedUntil
      ? Effect.fail(new RateLimited({ limit, retryAfterMs: Math.ceil(share.refusedUntil - now) }))
      : Effect.succeed(false)
  }

  const takeMore = Effect.fnUntraced(function*(key: KeyId, limit: number, share: Share) {
    const now = yield* Clock.currentTimeMillis
    // Somebody may have taken them while this one waited for its turn.
    if (yield* isLeft(share, limit, now)) return
    const isUsedUp = share.left === 0 && now < share.until
    const count = isUsedUp ? Math.min(2 * share.next, Math.ceil(limit * term / window)) : 1
    const { taken, tokens } = yield* tenants.take(key, { limit, count, back: share.left, at: now })
    Object.assign(share, { left: Math.max(0, taken - 1), until: now + term, next: count })
    if (taken > 0) return
    share.refusedUntil = now + Math.max(1, (1 - tokens) * window / limit)
    yield* isLeft(share, limit, now)
  })

  /** Lets a request of a key through, of so many a minute. */
  return (key: KeyId, limit: number): Effect.Effect<void, RateLimited | StorageFailed> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const share = shareOf(key)
      return Effect.flatMap(isLeft(share, limit, now), (isThrough) =>
        // What was taken is this process's own, also where whoever asked has gone away.
        isThrough ? Effect.void : share.alone.withPermits(1)(Effect.uninterruptible(takeMore(key, limit, share))))
    })
}
