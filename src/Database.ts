import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { EmbeddedError } from "./Database/Backend.ts"
import * as Embedded from "./Database/Embedded.ts"
import type { DirectoryLocked, DirectoryUnusable, Lock } from "./Database/Lock.ts"
import * as Migrations from "./Database/Migrations.ts"
import * as Postgres from "./Database/Postgres.ts"

export { answered } from "./Database/Answered.ts"
export { EmbeddedError } from "./Database/Backend.ts"
export { CancelGrace, StatementDeadline } from "./Database/Embedded.ts"
export { DirectoryLocked, DirectoryUnusable, type Holder, holderOf, type Lock } from "./Database/Lock.ts"
export { bigIntegers, booleans, integers, texts } from "./Database/Lists.ts"
export { type MigrationError, MigrationChanged, MigrationFailed, MigrationVanished, type Status } from "./Database/Migrations.ts"
export { DatabaseUnavailable, problemOf } from "./Database/Postgres.ts"
export { asOrg, readerOf, type TenantOptions } from "./Database/Tenant.ts"

/** Whether the layer brings the database up to date. Default: the package's own migrations. */
export interface MigrateOptions {
  /** `false` leaves the database as it is; a folder has its `*.sql` files applied instead of the package's. */
  readonly migrate?: boolean | { readonly folder: string } | undefined
}

/** Why a database could not be opened and brought up to date. */
export type OpenError =
  | DirectoryLocked
  | DirectoryUnusable
  | EmbeddedError
  | Postgres.DatabaseUnavailable
  | Migrations.MigrationError
  | SqlError

/** A layer of a database: the client, under both of its names, and what is behind it. */
export type DatabaseLayer<E = OpenError> = Layer.Layer<Database | PgClient.PgClient | SqlClient.SqlClient, E>

/** What is behind the `SqlClient`: an embedded database or a Postgres. */
export class Database extends Context.Service<Database, {
  readonly kind: "embedded" | "postgres"
  /** Where the data is, for people: a directory, `memory` or `host:port/database`. Never a user or a password. */
  readonly description: string
  /** The server's version, such as `18.4`. */
  readonly version: string
  /** Whether LISTEN may be used: not on the embedded database, whose only session it would keep, nor behind a transaction pooler. */
  readonly listen: boolean
  /** Whether statements are prepared by name. */
  readonly prepare: boolean
  /** What an answered COMMIT survives: a power loss, the end of the process only, or neither. `server` is for the Postgres to say. */
  readonly durability: "power loss" | "process" | "none" | "server"
  /** Which migrations are applied and which are pending. */
  readonly migrations: Effect.Effect<Migrations.Status, Migrations.MigrationError>
  /** The lock of the data directory, when there is one: where the process that serves announces its address. */
  readonly lock: Option.Option<Lock>
  /** How often the embedded database was opened: more than once means that a statement overran or its thread crashed. 1 on Postgres. */
  readonly generations: Effect.Effect<number>
  /** Since when, by the database's clock, no other process can have used it: the embedded database has one process at a time. */
  readonly aloneSince: Option.Option<Date>
}>()("conductor-ai/Database") {
  /**
   * An embedded database (PGlite) in a thread of its own: in a directory, or in memory without one. One process at a time may use a
   * directory. A statement that overruns `StatementDeadline` (30 s) fails with an `SqlError` whose reason is `StatementTimeoutError`; the
   * database is opened anew meanwhile, and a transaction that was open then is rolled back.
   */
  static readonly layerEmbedded = (options: Embedded.Options & MigrateOptions = {}): DatabaseLayer =>
    provide(Effect.gen(function*() {
      const embedded = yield* Embedded.make(options)
      const [row] = yield* embedded.client<{ readonly version: string; readonly now: Date }>`
        SELECT current_setting('server_version') AS version, now() AS now`
      const folder = folderOf(options)
      const database: Context.Service.Shape<typeof Database> = {
        kind: "embedded",
        description: embedded.where,
        version: row?.version ?? "unknown",
        listen: false,
        prepare: true,
        durability: embedded.where === "memory" ? "none" : embedded.fsync ? "power loss" : "process",
        migrations: migrationsOf(embedded.client, folder),
        lock: Option.fromUndefinedOr(embedded.lock),
        generations: embedded.generations,
        aloneSince: Option.fromUndefinedOr(row?.now)
      }
      return { client: embedded.client, database, folder, options }
    }))

  /** A Postgres (18, 17, 16 or 15; Supabase's too) by its connection URL. */
  static readonly layerPostgres = (options: Postgres.Options & MigrateOptions): DatabaseLayer =>
    provide(Effect.gen(function*() {
      const postgres = yield* Postgres.make(options)
      const folder = folderOf(options)
      const database: Context.Service.Shape<typeof Database> = {
        kind: "postgres",
        description: `${postgres.target.address}/${postgres.target.database}`,
        version: postgres.version,
        listen: postgres.listen,
        prepare: postgres.prepare,
        durability: "server",
        migrations: migrationsOf(postgres.client, folder),
        lock: Option.none(),
        generations: Effect.succeed(1),
        aloneSince: Option.none()
      }
      return { client: postgres.client, database, folder, options }
    }))

  /**
   * The Postgres of `DATABASE_URL` or `SUPABASE_DB_URL`, else an embedded database in `CONDUCTOR_DATA_DIR` (default `.conductor`).
   * `CONDUCTOR_DATABASE_TIMEOUT` limits a statement, `CONDUCTOR_DATABASE_FSYNC=false` makes the embedded database's commits faster and
   * unsafe against a power loss, `CONDUCTOR_DATABASE_CONNECTIONS` and `CONDUCTOR_DATABASE_PREPARE` are for Postgres.
   */
  static readonly layer: DatabaseLayer<OpenError | Config.ConfigError> = Layer.suspend(() => configured({}))

  /** The same database as it is, without bringing it up to date. */
  static readonly layerAsItIs: DatabaseLayer<OpenError | Config.ConfigError> = Layer.suspend(() => configured({ migrate: false }))
}

const optional = <A>(config: Config.Config<A>) => Config.map(Config.option(config), Option.getOrUndefined)

/** A variable that is set to nothing, as in a copied `.env.example`, is not set. */
const urlOf = (name: string) =>
  Config.map(Config.option(Config.Redacted(name)), Option.filter((url) => Redacted.value(url).trim() !== ""))

const settings = Config.all({
  url: Config.map(Config.all([urlOf("DATABASE_URL"), urlOf("SUPABASE_DB_URL")]), ([first, second]) => Option.orElse(first, () => second)),
  dir: Config.String("CONDUCTOR_DATA_DIR").pipe(Config.withDefault(".conductor")),
  fsync: optional(Config.Boolean("CONDUCTOR_DATABASE_FSYNC")),
  connections: optional(Config.Int("CONDUCTOR_DATABASE_CONNECTIONS")),
  prepare: optional(Config.Boolean("CONDUCTOR_DATABASE_PREPARE")),
  timeout: optional(Config.Duration("CONDUCTOR_DATABASE_TIMEOUT"))
})

const configured = ({ migrate }: MigrateOptions): DatabaseLayer<OpenError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(settings, ({ connections, dir, fsync, prepare, timeout, url }) => {
    if (Option.isSome(url)) return Database.layerPostgres({ url: url.value, connections, prepare, statementTimeout: timeout, migrate })
    const layer = Database.layerEmbedded({ dir, fsync, migrate })
    return timeout === undefined ? layer : layer.pipe(Layer.provide(Layer.succeed(Embedded.StatementDeadline, timeout)))
  }))

interface Opened {
  readonly client: PgClient.PgClient
  readonly database: Context.Service.Shape<typeof Database>
  readonly folder: string
  readonly options: MigrateOptions
}

const folderOf = (options: MigrateOptions) => typeof options.migrate === "object" ? options.migrate.folder : Migrations.ownFolder

const migrationsOf = (client: PgClient.PgClient, folder: string) =>
  Migrations.status(folder).pipe(Effect.provideService(SqlClient.SqlClient, client))

const provide = <E, R>(open: Effect.Effect<Opened, E, R>) =>
  Layer.effectContext(Effect.gen(function*() {
    const { client, database, folder, options } = yield* open
    if (options.migrate !== false) {
      // Each is a transaction of its own and applied once, so a connection that is cut meanwhile costs a repetition.
      yield* Migrations.run(folder).pipe(
        Effect.provideService(SqlClient.SqlClient, client),
        Effect.retry({
          while: (error) => error._tag === "SqlError" && error.reason._tag === "ConnectionError",
          schedule: Schedule.upTo(Schedule.spaced("100 millis"), { duration: "2 seconds" })
        })
      )
    }
    return Context.make(Database, Database.of(database)).pipe(
      Context.add(PgClient.PgClient, client),
      Context.add(SqlClient.SqlClient, client)
    )
  })).pipe(Layer.provide(Reactivity.layer))
