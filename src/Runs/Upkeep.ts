import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import { Approval } from "../Approval.ts"
import { Inbox } from "../Inbox.ts"
import type { RunId, StorageFailed } from "../Run.ts"
import { LeaseRenewal, LeaseTime, Store } from "../RunLog.ts"
import type { Claims } from "./Claim.ts"

/**
 * Whether this process looks for runs that nobody performs and takes them over; true by default. A program that is there
 * for one run says false: it performs what it starts and what it is told to attend to.
 */
export const TakesOver = Context.Reference<boolean>("conductor-ai/Runs/TakesOver", { defaultValue: () => true })

/** Runs that are looked for at a time. */
const orphansAtOnce = 200

/** Runs that are attended to at the same time. */
const attendedAtOnce = 16

/** Does something of which a failure, also a broken log of one run, must not end the upkeep of the others. */
const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchCause(effect, (cause) =>
    Cause.hasInterrupts(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.logDebug("Upkeep of runs failed", cause))

/**
 * What a process does as long as it is there: renew its lease, and stop performing before the lease ends where it cannot;
 * hand out commands; take over runs that nobody performs. Answers how to attend to a run, now and until it is over.
 */
export const keepUp = Effect.fnUntraced(function*(claims: Claims) {
  const store = yield* Store
  const inbox = yield* Inbox
  const approval = yield* Approval
  const clock = yield* Clock.Clock
  const takesOver = yield* TakesOver
  const lease = Duration.toMillis(yield* LeaseTime)
  const renewal = yield* LeaseRenewal
  const told = new Set<RunId>()

  let renewedAt = clock.currentTimeMillisUnsafe()
  const renew = Effect.gen(function*() {
    const at = clock.currentTimeMillisUnsafe()
    const kept = yield* store.renew
    renewedAt = at
    if (!kept) yield* claims.drop
  }).pipe(
    Effect.timeout(renewal),
    Effect.tapError(() => Effect.sleep(Duration.min(renewal, Duration.seconds(1)))),
    Effect.retry(Schedule.forever)
  )
  yield* renew.pipe(Effect.repeat(Schedule.spaced(renewal)), Effect.forkScoped)

  // It runs apart from the renewal, which may hang with the database.
  const watchdog = Effect.gen(function*() {
    const left = renewedAt + lease * 0.8 - clock.currentTimeMillisUnsafe()
    if (left > 0) return yield* Effect.sleep(left)
    yield* claims.drop
    yield* Effect.sleep(renewal)
  })
  yield* Effect.forkScoped(Effect.forever(watchdog))

  const attend = (run: RunId): Effect.Effect<void, StorageFailed> =>
    Effect.map(claims.attend(run), (needed) => {
      if (!needed) told.delete(run)
    })

  const arrivals = yield* inbox.arrivals
  yield* PubSub.take(arrivals).pipe(
    Effect.flatMap((run) => takesOver || told.has(run) || claims.stopped(run) !== undefined ? quietly(attend(run)) : Effect.void),
    Effect.forever,
    Effect.forkScoped
  )

  const sweep = Effect.gen(function*() {
    const addressed = [...(yield* inbox.addressed), ...(yield* approval.overdue(claims.agents))]
    const before = claims.performed()
    const resting = claims.resting()
    const orphans = takesOver || told.size > 0 ? yield* store.orphans(claims.agents, [...before, ...resting], orphansAtOnce) : []
    const needy = [...addressed, ...orphans].filter((run) => !resting.includes(run))
    const ours = takesOver ? needy : needy.filter((run) => told.has(run) || claims.stopped(run) !== undefined)
    yield* Effect.forEach(new Set(ours), (run) => quietly(attend(run)), { concurrency: attendedAtOnce, discard: true })
    // After a crash there may be many more: they are looked for at once, as long as some of them can be had.
    return orphans.length === orphansAtOnce && claims.performed().length > before.length
  }).pipe(Effect.repeat({ while: (isFull) => isFull }))
  yield* quietly(sweep).pipe(Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)

  // The last owner may still have a lease, so the run is looked at again until it is over.
  return (run: RunId) => Effect.andThen(Effect.sync(() => told.add(run)), attend(run))
})
