import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type { AttemptError } from "../../Run.ts"
import type { RoutingOptions } from "./Routing.ts"

/** How an attempt failed, as far as it tells something about the provider; nothing for an answer. */
export type Failed = Pick<AttemptError, "reason" | "retryAfterMs"> | undefined

/** Nobody may ask now. */
export class Busy extends Data.TaggedError("Busy")<{
  /** Milliseconds until asking makes sense again. */
  readonly waitMs: number
  /** `failing` after failures, `asked` where the provider asked to be left alone. */
  readonly why: "failing" | "asked"
}> {}

/** What counts against a provider. */
const faults = new Set(["NetworkError", "InternalProviderError", "RateLimitError"])

/** What an attempt says of its provider: refusing a request is no sign of its health, nor is an attempt that we broke off. */
const outcomeOf = (failed: Failed): CircuitBreaker.Outcome =>
  failed === undefined
    ? CircuitBreaker.success
    : !faults.has(failed.reason)
    ? CircuitBreaker.ignored
    : CircuitBreaker.failure(failed.retryAfterMs === null ? {} : { retryAfter: Duration.millis(failed.retryAfterMs) })

/** How often it is looked whether the one request that tries an open circuit has ended. */
const probeInterval = 500

/** The circuits of all providers, by name, and until when each asked to be left alone. */
export const makeCircuits = Effect.fnUntraced(function*(options: Exclude<RoutingOptions["breaker"], undefined>) {
  const settings = options === false ? undefined : options
  const breaker = yield* CircuitBreaker.make({
    tripPolicy: CircuitBreaker.consecutive(settings?.failures ?? 10),
    openDuration: settings?.coolDown ?? "30 seconds"
  })
  const held = new Map<string, number>()
  /** Circuits with a failure after their last success. The others need no bookkeeping, which is most of the time of a healthy attempt. */
  const troubled = new Set<string>()

  const hold = (circuit: string, failed: Failed): Effect.Effect<void> => {
    if (failed?.reason !== "RateLimitError" || failed.retryAfterMs === null || failed.retryAfterMs <= 0) return Effect.void
    const { retryAfterMs } = failed
    return Effect.map(Clock.currentTimeMillis, (now) => {
      held.set(circuit, Math.max(held.get(circuit) ?? 0, now + retryAfterMs))
    })
  }

  const rejected = (error: CircuitBreaker.CircuitBreakerError): Busy =>
    error.reason._tag === "CircuitOpen"
      ? new Busy({ waitMs: Math.max(1, Duration.toMillis(error.reason.retryAfter)), why: "failing" })
      : new Busy({ waitMs: probeInterval, why: "failing" })

  /** Takes an outcome into account that came from outside of the breaker: of a request that began when all was well. */
  const record = Effect.fnUntraced(function*(circuit: string, failed: Failed) {
    const outcome = outcomeOf(failed)
    if (outcome._tag === "Ignored") return
    troubled.add(circuit)
    const { _tag } = yield* breaker.state(circuit)
    if (_tag !== "Closed") return
    yield* breaker.execute(Effect.void, { key: circuit, classify: () => outcome })
    if (outcome._tag === "Success") troubled.delete(circuit)
  }, (recorded) => Effect.ignore(recorded))

  /** What comes after each attempt of a circuit that is not in trouble; made once. */
  const afters = new Map<string, (failed: Failed) => Effect.Effect<void>>()
  const afterOf = (circuit: string) => {
    const known = afters.get(circuit)
    if (known !== undefined) return known
    const after = (failed: Failed): Effect.Effect<void> => {
      if (settings === undefined) return hold(circuit, failed)
      return failed === undefined && !troubled.has(circuit) ? Effect.void : Effect.andThen(hold(circuit, failed), record(circuit, failed))
    }
    afters.set(circuit, after)
    return after
  }

  /** Fails as long as the provider is to be left alone by its own word. */
  const leftAlone = (circuit: string): Effect.Effect<void, Busy> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const until = held.get(circuit) ?? 0
      if (until > now) return Effect.fail(new Busy({ waitMs: until - now, why: "asked" }))
      held.delete(circuit)
      return Effect.void
    })

  /** Fails as long as the circuit is open, or somebody tries it. */
  const unopened = (circuit: string): Effect.Effect<void, Busy> =>
    Effect.flatMap(Effect.orElseSucceed(breaker.state(circuit), () => undefined), (state) =>
      state?._tag === "Open" && !Duration.isZero(state.retryAfter)
        ? Effect.fail(new Busy({ waitMs: Math.max(1, Duration.toMillis(state.retryAfter)), why: "failing" }))
        : state?._tag === "HalfOpen" && state.probing
        ? Effect.fail(new Busy({ waitMs: probeInterval, why: "failing" }))
        : Effect.void)

  const guarded = <E, R>(circuit: string, attempt: Effect.Effect<Failed, E, R>): Effect.Effect<void, E | Busy, R> =>
    breaker.execute(Effect.exit(attempt), {
      key: circuit,
      classify: (exit) => Exit.isSuccess(exit) && Exit.isSuccess(exit.value) ? outcomeOf(exit.value.value) : CircuitBreaker.ignored
    }).pipe(
      Effect.mapError(rejected),
      Effect.flatten,
      Effect.flatMap((failed) => {
        if (failed === undefined) troubled.delete(circuit)
        return hold(circuit, failed)
      })
    )

  return {
    /** True where nothing keeps anybody from asking. */
    isCalm: (circuit: string): boolean => !troubled.has(circuit) && !held.has(circuit),
    /** Fails where an attempt through this circuit would not be made now. */
    look: (circuit: string): Effect.Effect<void, Busy> =>
      Effect.andThen(leftAlone(circuit), Effect.suspend(() => troubled.has(circuit) ? unopened(circuit) : Effect.void)),
    /** Makes an attempt through a circuit that is calm. */
    calmly: <E, R>(circuit: string, attempt: Effect.Effect<Failed, E, R>): Effect.Effect<void, E, R> =>
      Effect.flatMap(attempt, afterOf(circuit)),
    /** Makes an attempt through its circuit; a `Busy` comes before anything of it has begun. */
    through: <E, R>(circuit: string, attempt: Effect.Effect<Failed, E, R>): Effect.Effect<void, E | Busy, R> =>
      Effect.andThen(leftAlone(circuit), Effect.suspend(() =>
        troubled.has(circuit) ? guarded(circuit, attempt) : Effect.flatMap(attempt, afterOf(circuit))))
  }
})
