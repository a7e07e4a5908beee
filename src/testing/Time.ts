import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

/** Work whose end does not depend on the runtime, and how many of its fibers wait for the clock. */
interface Outside {
  sleeping: number
  readonly since: number
}

const CurrentOutside = Context.Reference<Outside | undefined>("conductor-ai/testing/Time/CurrentOutside", { defaultValue: () => undefined })

interface Sleeper {
  readonly until: number
  readonly wake: () => void
}

/** Tells when fibers have had something to do. */
class Attentive extends Scheduler.MixedScheduler {
  turns = 0
  override makeDispatcher() {
    const dispatcher = super.makeDispatcher()
    const schedule = dispatcher.scheduleTask.bind(dispatcher)
    dispatcher.scheduleTask = (task, priority) => {
      this.turns++
      schedule(task, priority)
    }
    return dispatcher
  }
}

/** Turns of the event loop without anything to do, after which everybody is taken to wait for the clock. */
const quietTurns = 3

/** Milliseconds, by the real clock, that work outside is given to get on before each jump, and how long that goes on. */
const courtesy = 5
const patience = 100

const realClock = Clock.Clock.defaultValue()

/** Sleeps by the real clock, whatever the clock of the fiber. */
export const realSleep = (duration: Duration.Input): Effect.Effect<void> => realClock.sleep(Duration.fromInputUnsafe(duration))

/** Milliseconds by the real clock. */
export const realNow = (): number => realClock.currentTimeMillisUnsafe()

/** How time passes for what is played. */
export interface Time {
  readonly now: () => number
  /** Lets this time pass for an effect and everything that it forks. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Marks an effect whose end may come from the real world, such as a handler. */
  readonly outside: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Lets time pass until it is interrupted. */
  readonly drive: Effect.Effect<never>
}

/** The real clock, for what waits for a database. */
export const realTime: Time = {
  now: realNow,
  within: Effect.provideService(Clock.Clock, realClock),
  outside: (effect) => effect,
  drive: Effect.never
}

/** Time that also goes on as it is told to. */
export interface DirectedTime extends Time {
  /** Sets the time, never back, without waking anybody. */
  readonly set: (at: number) => void
  /** Sets the time, never back, and wakes those who have waited for it. */
  readonly advanceTo: (at: number) => void
  /** Waits until nobody has anything to do. */
  readonly quiet: Effect.Effect<void>
}

/**
 * A clock that stands still while anybody has something to do, and then jumps to whoever waits for it first: a minute's
 * wait takes no time. Work outside that does not itself wait for the clock is given a moment before each jump.
 */
export const makeTime = (start: number): DirectedTime => {
  let now = start
  const sleepers: Array<Sleeper> = []
  const working = new Set<Outside>()
  const scheduler = new Attentive()

  const sleep = (duration: Duration.Duration): Effect.Effect<void> => {
    const millis = Duration.toMillis(duration)
    if (!(millis > 0)) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.flatMap(CurrentOutside, (outside) =>
      Effect.callback<void>((resume) => {
        scheduler.turns++
        if (outside !== undefined) outside.sleeping++
        const sleeper: Sleeper = { until: now + millis, wake: () => resume(Effect.void) }
        const place = sleepers.findIndex((other) => other.until > sleeper.until)
        sleepers.splice(place === -1 ? sleepers.length : place, 0, sleeper)
        return Effect.sync(() => {
          const index = sleepers.indexOf(sleeper)
          if (index !== -1) sleepers.splice(index, 1)
        })
      }).pipe(Effect.ensuring(Effect.sync(() => {
        if (outside !== undefined) outside.sleeping--
      }))))
  }

  const nanos = () => BigInt(Math.round(now * 1e6))
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep
  }

  const isAwaited = () => [...working].some((outside) => outside.sleeping === 0 && realNow() - outside.since < patience)

  const quiet = Effect.gen(function*() {
    let idle = 0
    let since = realNow()
    let turns = scheduler.turns
    while (idle < quietTurns || (isAwaited() && realNow() - since < courtesy)) {
      yield* isAwaited() && idle >= quietTurns ? realSleep(1) : Effect.yieldNow
      if (scheduler.turns === turns) {
        idle++
      } else {
        idle = 0
        since = realNow()
        turns = scheduler.turns
      }
    }
  })

  const set = (at: number) => {
    now = Math.max(now, at)
  }
  const advanceTo = (at: number) => {
    set(at)
    while (sleepers[0] !== undefined && sleepers[0].until <= now) sleepers.shift()?.wake()
  }

  return {
    now: () => now,
    set,
    advanceTo,
    quiet,
    within: (effect) =>
      effect.pipe(Effect.provideService(Clock.Clock, clock), Effect.provideService(Scheduler.Scheduler, scheduler)),
    outside: (effect) =>
      Effect.suspend(() => {
        const outside: Outside = { sleeping: 0, since: realNow() }
        working.add(outside)
        return effect.pipe(
          Effect.provideService(CurrentOutside, outside),
          Effect.ensuring(Effect.sync(() => working.delete(outside)))
        )
      }),
    drive: Effect.forever(Effect.gen(function*() {
      yield* quiet
      const first = sleepers[0]
      if (first === undefined) yield* realSleep(1)
      else advanceTo(first.until)
    }))
  }
}
