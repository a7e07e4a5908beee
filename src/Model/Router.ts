import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type { ModelRef, OrgId } from "../Run.ts"
import { type Busy, type Failed, makeCircuits } from "./Router/Circuit.ts"
import { makeGates } from "./Router/Gate.ts"
import { placesOf, Routing } from "./Router/Routing.ts"

/** A request that is to be made. */
export interface Wanted {
  readonly model: ModelRef
  readonly org: OrgId
  /** True where another model can be asked instead: a provider that is to be left alone is then not waited for. */
  readonly hasOther: boolean
  /** Milliseconds since 1970 until which it may wait. */
  readonly until: number
}

/** A model cannot be asked: now, where another can, or in time. Nothing was asked of it. */
export class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly model: ModelRef
  /** Milliseconds until it may be asked. */
  readonly waitMs: number
  readonly problem: string
}> {}

/** Makes an attempt, given the milliseconds that it had to wait; what it answers with is how it failed. */
export type Attempt<E, R> = (waitedMs: number) => Effect.Effect<Failed, E, R>

const problemOf = ({ waitMs, why }: Busy): string => {
  const time = Duration.format(Duration.seconds(Math.ceil(waitMs / 1_000)))
  return why === "asked"
    ? `its provider asked to be left alone for another ${time}`
    : `its provider failed too often, and is not asked for another ${time}`
}

/**
 * Leads the requests of all runs of a process to their providers: as many at a time and within a time as {@link Routing}
 * says, organisations in turns, and none to a provider that fails or asked to be left alone.
 */
export class Router extends Context.Service<Router, {
  /**
   * Makes an attempt as soon as it may be made; until then it can be interrupted, and nothing of it has begun. What is
   * limited is given back when the attempt ends, however it ends.
   */
  readonly lead: <E, R>(wanted: Wanted, attempt: Attempt<E, R>) => Effect.Effect<void, E | Unavailable, R>
}>()("conductor-ai/Model/Router") {
  /** The router of one process, by its {@link Routing}. */
  static readonly layer: Layer.Layer<Router> = Layer.effect(Router, Effect.gen(function*() {
    const routing = yield* Routing
    const limiter = yield* RateLimiter.make
    const circuits = yield* makeCircuits(routing.breaker ?? {})
    const gateFor = makeGates(routing, limiter)
    const patience = Duration.toMillis(Duration.fromInputUnsafe(routing.patience ?? "5 seconds"))
    const { accountOf, circuitOf } = placesOf(routing)

    /** Waits until it makes sense to ask again, or says why not. */
    const wait = Effect.fnUntraced(function*({ hasOther, model, until }: Wanted, busy: Busy) {
      const now = yield* Clock.currentTimeMillis
      const isTooLong = hasOther && (busy.why === "failing" || busy.waitMs > patience)
      if (isTooLong || now + busy.waitMs > until) {
        return yield* new Unavailable({ model, waitMs: busy.waitMs, problem: problemOf(busy) })
      }
      yield* Effect.sleep(busy.waitMs)
    })

    const lead = <E, R>(wanted: Wanted, attempt: Attempt<E, R>): Effect.Effect<void, E | Unavailable, R> => Effect.suspend(() => {
      const circuit = circuitOf(wanted.model, wanted.org)
      const gate = gateFor(accountOf(wanted.model, wanted.org), wanted.org)
      if (gate === undefined && circuits.isCalm(circuit)) return circuits.calmly(circuit, attempt(0))
      return Effect.flatMap(Clock.currentTimeMillis, (since) => {
        const timed = Effect.flatMap(Clock.currentTimeMillis, (now) => attempt(now - since))
        const tried = (hasWaited: boolean) => {
          const led = circuits.through(circuit, hasWaited || gate !== undefined ? timed : attempt(0))
          // Who cannot be asked anyway takes nothing of what is limited.
          return gate === undefined ? led : Effect.andThen(circuits.look(circuit), gate(led))
        }
        const again = (hasWaited: boolean): Effect.Effect<void, E | Unavailable, R> =>
          Effect.catchIf(tried(hasWaited), isBusy, (busy) => Effect.andThen(wait(wanted, busy), Effect.suspend(() => again(true))))
        return again(false)
      })
    })
    return Router.of({ lead })
  })).pipe(Layer.provide([CircuitBreaker.layerStoreMemory(), RateLimiter.layerStoreMemory]))
}

const isBusy = (error: unknown): error is Busy => typeof error === "object" && error !== null && "_tag" in error && error._tag === "Busy"
