import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, SqlError, StatementTimeoutError, UnknownError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { LossError } from "./Duplex.ts"

/** The largest message that is taken from a database: one row, for instance. The driver's own limit is 16 MiB. */
export const maxMessageSize = 256 * 1024 * 1024

/** Postgres answers `ROLLBACK` to the `COMMIT` of a transaction that an error has already lost. */
const commit = Effect.fnUntraced(function*(connection: Connection) {
  const result = yield* connection.executeRaw("COMMIT", [])
  if (!Predicate.hasProperty(result, "command") || result.command !== "ROLLBACK") return
  const message = "COMMIT rolled back an aborted transaction: an error inside it was caught"
  return yield* new SqlError({ reason: new UnknownError({ cause: new Error(message), message, operation: "commit" }) })
})

/** A session that is gone was rolled back by its end. */
const unlessGone = (rollback: Effect.Effect<unknown, SqlError>): Effect.Effect<void, SqlError> =>
  Effect.asVoid(
    Effect.catchIf(rollback, ({ reason }) => reason._tag === "ConnectionError" || reason.cause instanceof LossError, () => Effect.void)
  )

/**
 * The client with transactions that survive the loss of their connection: the effect fails with its own typed error. The driver's die,
 * because they cannot roll back on a connection that is no more.
 */
export const withSafeTransactions = (client: PgClient.PgClient): PgClient.PgClient =>
  Object.assign(client, {
    withTransaction: SqlClient.makeWithTransaction({
      transactionService: client.transactionService,
      spanAttributes: [["db.system.name", "postgresql"]],
      acquireConnection: (restore) => restore(client.reserve),
      begin: (connection, statement) =>
        Effect.asVoid(statement === undefined ? connection.execute("BEGIN", [], undefined) : connection.executeUnprepared(statement, [], undefined)),
      savepoint: (connection, id) => Effect.asVoid(connection.execute(`SAVEPOINT effect_sql_${id}`, [], undefined)),
      releaseSavepoint: (connection, id) => unlessGone(connection.execute(`RELEASE SAVEPOINT effect_sql_${id}`, [], undefined)),
      commit,
      rollback: (connection) => unlessGone(connection.execute("ROLLBACK", [], undefined)),
      rollbackSavepoint: (connection, id) => unlessGone(connection.execute(`ROLLBACK TO SAVEPOINT effect_sql_${id}`, [], undefined))
    })
  })

/** Says what the end of the database thread means for the statement: a time-out as Postgres has it, or a lost connection. */
const explainLoss = (error: SqlError): SqlError => {
  const cause = error.reason.cause
  if (!(cause instanceof LossError)) return error
  const props = { cause, message: cause.message, operation: "query" }
  return new SqlError({
    reason: cause.loss.code === "57014" ? new StatementTimeoutError(props) : new ConnectionError(props)
  })
}

const withExplainedLoss = (connection: Connection): Connection => ({
  execute: (...args) => Effect.mapError(connection.execute(...args), explainLoss),
  executeRaw: (...args) => Effect.mapError(connection.executeRaw(...args), explainLoss),
  executeStream: (...args) => Stream.mapError(connection.executeStream(...args), explainLoss),
  executeValues: (...args) => Effect.mapError(connection.executeValues(...args), explainLoss),
  executeValuesUnprepared: (...args) => Effect.mapError(connection.executeValuesUnprepared(...args), explainLoss),
  executeUnprepared: (...args) => Effect.mapError(connection.executeUnprepared(...args), explainLoss)
})

/**
 * The client of the embedded database, over the driver's: the end of the database thread is a `StatementTimeoutError` when it was a
 * statement's deadline, else a `ConnectionError`, and LISTEN is refused because it would keep the only session for itself.
 */
export const forEmbedded = Effect.fnUntraced(function*(client: PgClient.PgClient) {
  const acquirer = Effect.map(Effect.mapError(client.reserve, explainLoss), withExplainedLoss)
  const base = yield* SqlClient.make({
    acquirer,
    transactionAcquirer: acquirer,
    compiler: PgClient.makeCompiler(),
    driver: "pg",
    spanAttributes: [["db.system.name", "postgresql"], ["db.namespace", "embedded"]]
  })
  const message = "LISTEN is not available on the embedded database: set DATABASE_URL to a Postgres"
  const embedded: PgClient.PgClient = Object.assign(base, {
    [PgClient.TypeId]: PgClient.TypeId,
    config: client.config,
    json: client.json,
    listen: () => Effect.fail(new SqlError({ reason: new UnknownError({ cause: new Error(message), message, operation: "listen" }) })),
    notify: client.notify
  })
  return withSafeTransactions(embedded)
})
