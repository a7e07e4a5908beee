import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { ConnectionError, SqlError } from "effect/sql/SqlError"

/**
 * Gives up on something that may never end and cannot be interrupted for sure, such as an exchange over a network that is
 * gone without a word: it is interrupted and left to itself. Nothing where the time was over.
 */
export const within = <A, E, R>(limit: Duration.Duration, effect: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.flatMap(Effect.forkDetach(effect), (fiber) =>
    Fiber.join(fiber).pipe(
      Effect.timeoutOption(limit),
      Effect.tap((done) => Option.isNone(done) ? Effect.sync(() => fiber.interruptUnsafe()) : Effect.void),
      Effect.onInterrupt(() => Effect.sync(() => fiber.interruptUnsafe()))
    ))

/** A statement, failing as a lost connection does where the database does not answer in time. */
export const answered = <A, R>(limit: Duration.Duration, statement: Effect.Effect<A, SqlError, R>): Effect.Effect<A, SqlError, R> =>
  Effect.flatMap(within(limit, statement), (done) => {
    if (Option.isSome(done)) return Effect.succeed(done.value)
    const problem = `the database did not answer within ${Duration.format(limit)}`
    const reason = new ConnectionError({ cause: new Error(problem), message: problem, operation: "query" })
    return Effect.fail(new SqlError({ reason }))
  })
