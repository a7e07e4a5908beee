import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** How an effect runs for an organisation. */
export interface TenantOptions {
  /** Refuses writes. Default false. */
  readonly readOnly?: boolean | undefined
  /** The time limit of each statement. The embedded database cannot enforce it: there, only its own deadline ends a statement. */
  readonly statementTimeout?: Duration.Input | undefined
}

interface Before {
  readonly role: string
  readonly claims: string
  readonly claim: string
  readonly timeout: string
}

/**
 * Runs an effect in a transaction as the role `authenticated` with the organisation in its claims, so that row-level security shows it the
 * rows of this organisation only. Inside another transaction it is a savepoint, and what follows it there runs as before.
 *
 * It guards against a forgotten WHERE, not against SQL that a model wrote: that could set other claims.
 */
export const asOrg = (orgId: string, options: TenantOptions = {}) => {
  const claims = JSON.stringify({ org_id: orgId, role: "authenticated" })
  const timeout = options.statementTimeout === undefined ?
    null :
    String(Duration.toMillis(Duration.fromInputUnsafe(options.statementTimeout)))
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R | SqlClient.SqlClient> =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const isNested = Option.isSome(yield* Effect.serviceOption(sql.transactionService))
      return yield* sql.withTransaction(Effect.gen(function*() {
        // A target list is evaluated from left to right: what was is read before it is changed, in one round trip.
        const [before] = yield* sql<Before>`SELECT
          current_setting('role') AS role,
          coalesce(current_setting('request.jwt.claims', true), '') AS claims,
          coalesce(current_setting('request.jwt.claim', true), '') AS claim,
          current_setting('statement_timeout') AS timeout,
          set_config('statement_timeout', coalesce(${timeout}::text, current_setting('statement_timeout')), true),
          set_config('request.jwt.claims', ${claims}, true),
          set_config('request.jwt.claim', '', true),
          ${sql.literal(options.readOnly === true ? "set_config('transaction_read_only', 'on', true)," : "")}
          set_config('role', 'authenticated', true)`
        const result = yield* self
        // The end of a transaction takes its settings back, and so does a savepoint's rollback, but not its release.
        if (isNested && before !== undefined) {
          yield* sql`SELECT
            set_config('role', ${before.role}, true),
            set_config('request.jwt.claims', ${before.claims}, true),
            set_config('request.jwt.claim', ${before.claim}, true),
            set_config('statement_timeout', ${before.timeout}, true)`
        }
        return result
      }))
    }).pipe(Effect.withSpan("Database.asOrg"))
}

/** Reads for an organisation with this client: as {@link asOrg}, and nothing is written. */
export const readerOf = (sql: SqlClient.SqlClient) => (orgId: string) => {
  const as = asOrg(orgId, { readOnly: true })
  return <A, E, R>(read: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, Exclude<R, SqlClient.SqlClient>> =>
    Effect.provideService(as(read), SqlClient.SqlClient, sql)
}
