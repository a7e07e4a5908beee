import * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { ConnectionOptions } from "node:tls"
import { maxMessageSize, withSafeTransactions } from "./Client.ts"
import { within } from "./Answered.ts"

/** The database does not answer, or does not let us in. */
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  /** `host:port`; never a user or a password. */
  address: Schema.String,
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message() {
    return `The database at ${this.address} is not available (${this.problem}): ${this.remedy}.`
  }
}

/** A Postgres, and how to talk to it. */
export interface Options {
  readonly url: Redacted.Redacted
  /** The most connections of this process at a time. Default 10, the driver's default. */
  readonly connections?: number | undefined
  /** Whether statements are prepared by name. Default true, but false behind a transaction pooler, which forgets them. */
  readonly prepare?: boolean | undefined
  /** How long a statement may take. Default 60 seconds. Behind a transaction pooler the server's own limit counts. */
  readonly statementTimeout?: Duration.Duration | undefined
}

/** What a connection URL says, without its secrets. */
export interface Target {
  /** `host:port`. */
  readonly address: string
  readonly database: string
  /** Whether a transaction pooler stands between: no prepared statements, no LISTEN, no session settings. */
  readonly pooled: boolean
  /** What the driver is told about TLS; `undefined` leaves it to the URL. */
  readonly ssl: boolean | ConnectionOptions | undefined
}

/** Supabase's port for its transaction pooler. */
const transactionPoolerPort = 6543

const invalidUrl = (problem: string) =>
  new DatabaseUnavailable({
    address: "DATABASE_URL",
    problem,
    remedy: "write it as postgres://user:password@host:5432/database, with special characters of the password percent-encoded"
  })

/**
 * Reads a connection URL. `sslmode=require` encrypts without asking who the server is, as libpq does it (and as Supabase, whose
 * certificate is its own, needs it); `verify-ca` and `verify-full` ask. Without `sslmode`, Supabase's hosts are spoken to in TLS and
 * others in plain text.
 */
export const targetOf = (url: Redacted.Redacted): Effect.Effect<Target, DatabaseUnavailable> =>
  Effect.suspend(() => {
    // The error of `new URL` carries the whole text, so only the fact is kept.
    const text = Redacted.value(url)
    if (!URL.canParse(text)) return Effect.fail(invalidUrl("the URL cannot be read"))
    const parsed = new URL(text)
    if (parsed.protocol !== "postgres:" && parsed.protocol !== "postgresql:") {
      return Effect.fail(invalidUrl(`the URL begins with ${parsed.protocol}`))
    }
    const host = (parsed.searchParams.get("host") ?? parsed.hostname) || "localhost"
    const port = Number(parsed.searchParams.get("port") ?? (parsed.port || "5432"))
    const isSupabase = /\.supabase\.(co|com|net)$/.test(host)
    const mode = parsed.searchParams.get("sslmode") ?? (isSupabase ? "require" : undefined)
    return Effect.succeed({
      address: `${host}:${port}`,
      database: parsed.pathname.replace(/^\//, "") || "postgres",
      pooled: port === transactionPoolerPort || parsed.searchParams.get("pgbouncer") === "true",
      ssl: mode === "require" ? { rejectUnauthorized: false, servername: host } : undefined
    })
  })

const remedyFor = (error: SqlError): string => {
  switch (error.reason._tag) {
    case "AuthenticationError":
      return "check the user, the password and the database in DATABASE_URL"
    case "ConnectionError":
      return "check that it runs and that host, port and sslmode in DATABASE_URL are right, or unset DATABASE_URL to use the embedded database"
    default:
      return "check DATABASE_URL"
  }
}

/** How long connections may take to close. */
const closeLimit = Duration.seconds(3)

/** What went wrong, in the words of whoever noticed it first: the driver wraps the system's. */
export const problemOf = (error: SqlError): string => {
  let cause: unknown = error.reason.cause
  // Several addresses of one host were tried: the first one's error stands for all.
  if (cause instanceof AggregateError) cause = cause.errors[0]
  return cause instanceof Error && cause.message !== "" ? cause.message : error.message
}

/** The open pool. */
export interface Postgres {
  readonly client: PgClient.PgClient
  readonly target: Target
  readonly prepare: boolean
  readonly listen: boolean
  /** Such as `18.4`. */
  readonly version: string
}

/** Opens a pool for the life of the scope and asks the server for its version. Fails with `DatabaseUnavailable`. */
export const make = Effect.fn("Postgres.make")(function*(options: Options) {
  const target = yield* targetOf(options.url)
  const pooled = target.pooled || options.prepare === false
  const unavailable = (error: SqlError) =>
    new DatabaseUnavailable({ address: target.address, problem: problemOf(error), remedy: remedyFor(error) })
  const timeout = Duration.toMillis(options.statementTimeout ?? Duration.seconds(60))
  // A connection over a network that is gone without a word does not close; it is left behind.
  const connections = yield* Effect.acquireRelease(
    Scope.make(),
    (scope, exit) => Effect.ignore(within(closeLimit, Scope.close(scope, exit)))
  )
  const client = yield* PgClient.make({
    url: options.url,
    ssl: target.ssl,
    applicationName: "conductor",
    maxConnections: options.connections ?? 10,
    maxMessageSize,
    prepare: !pooled,
    // A transaction that nobody goes on with must not keep its locks; the pooler refuses or ignores such settings.
    ...(pooled ? {} : {
      startupParameters: { statement_timeout: String(timeout), idle_in_transaction_session_timeout: String(timeout * 2) }
    })
  }).pipe(Scope.provide(connections), Effect.mapError(unavailable))
  const rows = yield* Effect.mapError(client<{ readonly version: string }>`SELECT current_setting('server_version') AS version`, unavailable)
  const postgres: Postgres = {
    client: withSafeTransactions(client),
    target,
    prepare: !pooled,
    listen: !pooled,
    version: rows[0]?.version ?? "unknown"
  }
  return postgres
})
