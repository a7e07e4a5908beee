import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { Fenced, StorageFailed } from "../Run.ts"
import type { Append, AppendError } from "./Append.ts"
import type { Outcome } from "./Store.ts"

/** Does SQL together with the events that follow from it: both are committed, or neither. */
export interface Transaction {
  /** The client whose statements are of the transaction, within `perform`. */
  readonly sql: SqlClient
  /**
   * Performs an effect in a transaction and adds what `appendOf` makes of its result before COMMIT; the append as it was
   * written, which `learn` is told before anything can interrupt. No other append of the run may be under way. Performed again
   * where the connection was lost, after the log was asked whether the COMMIT arrived. Everything is rolled back where the
   * effect fails, and where `appendOf` has nothing to append any more.
   */
  readonly perform: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    appendOf: (result: A) => Append | undefined,
    learn: (append: Append) => void
  ) => Effect.Effect<void, E | SqlError | AppendError, R>
}

/** What a transaction needs of the store that it is of. */
export interface Options {
  readonly sql: SqlClient
  /** Writes the append with the statements of the fiber's transaction. */
  readonly write: (append: Append) => Effect.Effect<Outcome, SqlError>
  /** The append as the log has it, if it has it. */
  readonly written: (append: Append) => Effect.Effect<Option.Option<Append>, SqlError>
  readonly isTransient: (error: SqlError) => boolean
  readonly patience: Duration.Duration
}

/** The transactions of a store in Postgres. */
export const makeTransaction = ({ isTransient, patience, sql, write, written }: Options): Transaction => {
  /** The lost connection among what ended an effect, also where a handler took it for a defect. */
  const lost = (cause: Cause.Cause<unknown>): SqlError | undefined =>
    cause.reasons.flatMap((reason) => Cause.isFailReason(reason) ? [reason.error] : Cause.isDieReason(reason) ? [reason.defect] : [])
      .find((error): error is SqlError => isSqlError(error) && isTransient(error))

  type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

  const settled = Effect.fnUntraced(function*<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    appendOf: (result: A) => Append | undefined,
    restore: Restore
  ) {
    let tried: Append | undefined
    const once = sql.withTransaction(restore(Effect.gen(function*() {
      const append = appendOf(yield* effect)
      if (append === undefined) return yield* Effect.interrupt
      tried = append
      const outcome = yield* write(append)
      return outcome._tag === "Appended" ? outcome.append : yield* outcome.error
    })))
    const last = (yield* Clock.currentTimeMillis) + Duration.toMillis(patience)
    for (let pause = 50;; pause = Math.min(1_000, 2 * pause)) {
      const before = tried
      const exit = yield* Effect.exit(once)
      if (Exit.isSuccess(exit)) return exit.value
      const error = lost(exit.cause)
      const isRepeated = before !== undefined && Option.exists(Cause.findErrorOption(exit.cause), isFenced)
      // A COMMIT whose answer was lost may have arrived all the same.
      const found = tried === undefined || (error === undefined && !isRepeated)
        ? Option.none()
        : yield* restore(Effect.option(written(tried)))
      if (Option.isSome(found) && Option.isSome(found.value)) return found.value.value
      if (error === undefined) return yield* Effect.failCause(exit.cause)
      if ((yield* Clock.currentTimeMillis) >= last) {
        return yield* new StorageFailed({ operation: "transaction", problem: error.message, cause: error })
      }
      yield* restore(Effect.sleep(pause))
    }
  })

  return {
    sql,
    perform: (effect, appendOf, learn) =>
      // What was committed must be known, also where the run is interrupted right then.
      Effect.uninterruptibleMask((restore) => Effect.map(settled(effect, appendOf, restore), learn))
  }
}

const isFenced = (error: unknown): boolean => error instanceof Fenced
