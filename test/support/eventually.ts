import { Effect, Schedule } from "effect"

/** Looks again and again until what is seen is so, and gives it; what was seen last, where that takes longer than half a minute. */
export const eventually = <A, E, R>(look: Effect.Effect<A, E, R>, isSo: (seen: A) => boolean): Effect.Effect<A, E, R> =>
  Effect.repeat(look, { until: isSo, schedule: Schedule.spaced("20 millis"), times: 1_500 })
