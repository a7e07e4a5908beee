import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Duration, Effect, Fiber, Layer, Redacted } from "effect"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import * as net from "node:net"
import { inject } from "vitest"
import { Database } from "../../src/Database.ts"
import { targetOf } from "../../src/Database/Postgres.ts"
import { freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"

const target = (url: string) => targetOf(Redacted.make(url))

/** The layer that is chosen by these variables, built. */
const chosenBy = (env: Record<string, string>) =>
  Layer.build(Database.layer).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))

const open = (url: Redacted.Redacted, options: { readonly prepare?: boolean; readonly connections?: number; readonly statementTimeout?: Duration.Duration } = {}) =>
  Layer.build(Database.layerPostgres({ url, migrate: false, ...options }))

describe("a connection URL", () => {
  it.effect("says where the database is and whether a pooler is between", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* target("postgres://u:p@db.example.com/app"), {
        address: "db.example.com:5432",
        database: "app",
        pooled: false,
        ssl: undefined
      })
      assert.isTrue((yield* target("postgresql://u:p@aws-0-eu.pooler.supabase.com:6543/postgres")).pooled)
      assert.isTrue((yield* target("postgres://u:p@h:5433/db?pgbouncer=true")).pooled)
      assert.isFalse((yield* target("postgres://u:p@h:5433/db?pgbouncer=false")).pooled)
      assert.strictEqual((yield* target("postgres:///db?host=/run/postgresql&port=5499")).address, "/run/postgresql:5499")
      assert.strictEqual((yield* target("postgres://u@h")).database, "postgres")
      assert.strictEqual((yield* target("postgres:///db")).address, "localhost:5432")
      assert.strictEqual((yield* target("postgres://u@[::1]/db")).address, "[::1]:5432")
    }))

  it.effect("decides about TLS", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* target("postgres://u@h/db?sslmode=require")).ssl, { rejectUnauthorized: false, servername: "h" })
      assert.strictEqual((yield* target("postgres://u@h/db?sslmode=verify-full")).ssl, undefined)
      assert.strictEqual((yield* target("postgres://u@h/db?sslmode=disable")).ssl, undefined)
      assert.deepStrictEqual((yield* target("postgres://u@db.abc.supabase.co/postgres")).ssl, {
        rejectUnauthorized: false,
        servername: "db.abc.supabase.co"
      })
      assert.strictEqual((yield* target("postgres://u@db.abc.supabase.co/postgres?sslmode=disable")).ssl, undefined)
    }))

  it.effect("that cannot be read fails without being quoted", () =>
    Effect.gen(function*() {
      for (const url of ["not a url hunter2", "mysql://u:hunter2@h/db", "postgres://u:hunter2@h:99999/db"]) {
        const error = yield* Effect.flip(target(url))
        assert.strictEqual(error._tag, "DatabaseUnavailable")
        assert.notInclude(error.message, "hunter2")
        assert.include(error.message, "percent-encoded")
      }
    }))
})

describe("a Postgres", () => {
  it.live("that does not answer is one clear error, with address and remedy and without the password", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(open(Redacted.make("postgres://u:hunter2@127.0.0.1:1/db"))))
      assert(error._tag === "DatabaseUnavailable")
      assert.strictEqual(error.address, "127.0.0.1:1")
      assert.include(error.message, "ECONNREFUSED")
      assert.include(error.message, "check that it runs")
      assert.notInclude(JSON.stringify(error), "hunter2")
      const localhost = yield* Effect.flip(Effect.scoped(open(Redacted.make("postgres://u:hunter2@localhost:1/db"))))
      assert.include(localhost.message, "ECONNREFUSED")
    }))

  it.live("that refuses the password or has no such database says so", () =>
    Effect.gen(function*() {
      const url = new URL(inject("postgresUrl"))
      url.password = "hunter2"
      const wrong = yield* Effect.flip(Effect.scoped(open(Redacted.make(url.toString()))))
      assert.include(wrong.message, "password authentication failed")
      assert.include(wrong.message, "check the user, the password and the database")
      assert.notInclude(wrong.message, "hunter2")
      const missing = new URL(inject("postgresUrl"))
      missing.pathname = "/no_such_database"
      const error = yield* Effect.flip(Effect.scoped(open(Redacted.make(missing.toString()))))
      assert.include(error.message, "\"no_such_database\" does not exist")
      assert.include(error.message, "check DATABASE_URL")
    }))

  it.live("that closes the connection at once is unavailable", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<net.Server>((resolve) => {
          const server = net.createServer((socket) => socket.destroy())
          server.listen(0, "127.0.0.1", () => resolve(server))
        })),
        (server) => Effect.sync(() => server.close())
      )
      const address = server.address()
      assert(address !== null && typeof address === "object")
      const error = yield* Effect.flip(Effect.scoped(open(Redacted.make(`postgres://u:p@127.0.0.1:${address.port}/db`))))
      assert.strictEqual(error._tag, "DatabaseUnavailable")
    }))

  it.live("limits statements and forgotten transactions, and prepares by name", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const context = yield* open(url, { statementTimeout: Duration.millis(200), connections: 2 })
      const sql = Context.get(context, SqlClient.SqlClient)
      const error = yield* Effect.flip(sql`SELECT pg_sleep(10)`)
      assert.strictEqual(error.reason._tag, "StatementTimeoutError")
      assert.deepStrictEqual(yield* sql`SELECT current_setting('idle_in_transaction_session_timeout') AS limit`, [{ limit: "400ms" }])
      yield* sql`SELECT 'prepared'`
      const [row] = yield* sql<{ readonly n: bigint }>`SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE ${"SELECT 'prep%"}`
      assert.strictEqual(row?.n, 1n)
    }))

  it.live("behind a transaction pooler, nothing is prepared, and LISTEN is off", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const pooled = new URL(Redacted.value(url))
      pooled.searchParams.set("pgbouncer", "true")
      for (const context of [yield* open(Redacted.make(pooled.toString())), yield* open(url, { prepare: false })]) {
        const sql = Context.get(context, SqlClient.SqlClient)
        const database = Context.get(context, Database)
        assert.isFalse(database.prepare)
        assert.isFalse(database.listen)
        yield* sql.withTransaction(sql`SELECT ${1}::int`)
        assert.deepStrictEqual(yield* sql`SELECT count(*) AS n FROM pg_prepared_statements`, [{ n: 0n }])
        assert.deepStrictEqual(yield* sql`SELECT current_setting('statement_timeout') AS timeout`, [{ timeout: "0" }])
      }
    }))

  it.live("a transaction whose connection is lost fails typed, and the pool goes on", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const sql = Context.get(yield* open(url), PgClient.PgClient)
      const lost = yield* Effect.forkChild(Effect.flip(sql.withTransaction(Effect.gen(function*() {
        const [row] = yield* sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`
        yield* Effect.forkChild(Effect.delay(sql.unsafe(`SELECT 1`), "10 millis"))
        yield* sql.withTransaction(sql`SELECT pg_terminate_backend(${row?.pid ?? 0})`)
      }))))
      const error = yield* Fiber.join(lost)
      assert.strictEqual(error._tag, "SqlError")
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
    }))
})

describe("Database.layer", () => {
  it.live("takes DATABASE_URL, then SUPABASE_DB_URL", () =>
    Effect.gen(function*() {
      const { name, url } = yield* freshPostgres({ template: false })
      const other = yield* freshPostgres({ template: false })
      const first = Context.get(
        yield* chosenBy({ DATABASE_URL: Redacted.value(url), SUPABASE_DB_URL: Redacted.value(other.url), CONDUCTOR_DATABASE_CONNECTIONS: "2" }),
        Database
      )
      assert.include(first.description, name)
      const second = Context.get(
        yield* chosenBy({ DATABASE_URL: "", SUPABASE_DB_URL: Redacted.value(other.url), CONDUCTOR_DATABASE_PREPARE: "false" }),
        Database
      )
      assert.include(second.description, other.name)
      assert.isFalse(second.prepare)
    }))

  it.live("embeds one in CONDUCTOR_DATA_DIR without a URL", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const context = yield* chosenBy({ CONDUCTOR_DATA_DIR: dir, CONDUCTOR_DATABASE_FSYNC: "false", CONDUCTOR_DATABASE_TIMEOUT: "700 millis" })
      const database = Context.get(context, Database)
      assert.strictEqual(database.description, dir)
      assert.strictEqual(database.durability, "process")
      const sql = Context.get(context, SqlClient.SqlClient)
      const error = yield* Effect.flip(sql`SELECT count(*) FROM generate_series(1, 100000000000)`)
      assert.include(error.message, "700 ms")
      const without = yield* Effect.scoped(chosenBy({ CONDUCTOR_DATA_DIR: yield* freshDirectory }))
      assert.strictEqual(Context.get(without, Database).durability, "power loss")
    }))

  it.live("fails on a value that is no value", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(chosenBy({ CONDUCTOR_DATA_DIR: scratchPath("never"), CONDUCTOR_DATABASE_FSYNC: "perhaps" })))
      assert.strictEqual(error._tag, "ConfigError")
    }))
})
