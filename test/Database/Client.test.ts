import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Option, Stream } from "effect"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { Database } from "../../src/Database.ts"
import { databases } from "../support/databases.ts"

for (const { name, layer: database } of databases) {
  layer(database, { excludeTestServices: true })(`the client (${name})`, (it) => {
    it.effect("is one client under its two names, with what is behind it", () =>
      Effect.gen(function*() {
        const behind = yield* Database
        const pg = yield* PgClient.PgClient
        const sql: SqlClient.SqlClient = pg
        assert.strictEqual(yield* SqlClient.SqlClient, sql)
        assert.strictEqual(behind.kind, name === "pglite" ? "embedded" : "postgres")
        assert.match(behind.version, /^18\./)
        assert.strictEqual(behind.prepare, true)
        assert.strictEqual(behind.listen, name === "postgres")
        assert.strictEqual(behind.durability, name === "pglite" ? "process" : "server")
        assert.strictEqual(Option.isSome(behind.lock), name === "pglite")
        assert.strictEqual(yield* behind.generations, 1)
        assert.deepStrictEqual((yield* behind.migrations).pending, [])
        assert.notInclude(behind.description, "p@ss")
      }))

    it.effect("carries values of 10 MB in both directions", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const text = "ä".repeat(5_000_000)
        const [row] = yield* sql<{ readonly text: string; readonly length: number }>`SELECT ${text}::text AS text, length(${text}::text) AS length`
        assert.isDefined(row)
        assert.strictEqual(row.length, 5_000_000)
        assert.strictEqual(row.text, text)
        const bytes = new Uint8Array(20_000_000).fill(7)
        const [back] = yield* sql<{ readonly bytes: Uint8Array }>`SELECT ${bytes}::bytea AS bytes`
        assert.strictEqual(back?.bytes.length, 20_000_000)
      }), 60_000)

    it.effect("gives an answer in every form", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const one = sql`SELECT 1 AS one`
        assert.deepStrictEqual(yield* one.values, [[1]])
        assert.deepStrictEqual(yield* one.valuesUnprepared, [[1]])
        assert.deepStrictEqual(yield* one.unprepared, [{ one: 1 }])
        assert.deepStrictEqual(yield* one.withoutTransform, [{ one: 1 }])
        assert.include(yield* one.raw, { command: "SELECT" })
        assert.strictEqual(yield* sql.withTransaction(Effect.as(one.values, "done")), "done")
      }))

    it.effect("refuses NUL in text with a typed error", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql`SELECT ${"a\0b"}::text`)
        assert.strictEqual(error._tag, "SqlError")
        assert.include(error.reason.cause, { code: "22021" })
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      }))

    it.effect("rolls back a failed transaction and goes on", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE rolled (i int PRIMARY KEY)`
        const twice = sql.withTransaction(Effect.andThen(sql`INSERT INTO rolled VALUES (1)`, sql`INSERT INTO rolled VALUES (1)`))
        assert.strictEqual((yield* Effect.flip(twice)).reason._tag, "UniqueViolation")
        assert.deepStrictEqual(yield* sql`SELECT i FROM rolled`, [])
        const outer = sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO rolled VALUES (2)`
          yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO rolled VALUES (3)`, Effect.fail("no"))))
          yield* sql.withTransaction(sql`INSERT INTO rolled VALUES (4)`)
        }))
        yield* outer
        assert.deepStrictEqual(yield* sql`SELECT i FROM rolled ORDER BY i`, [{ i: 2 }, { i: 4 }])
      }))

    it.effect("fails a COMMIT that came after a caught SQL error", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const caught = sql.withTransaction(Effect.ignore(sql`SELECT nonsense`))
        const error = yield* Effect.flip(caught)
        assert.include(error.message, "COMMIT")
      }))

    it.effect("starts a transaction with another statement when asked to", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const level = yield* sql.withTransaction(sql`SELECT current_setting('transaction_isolation') AS level`).pipe(
          Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL SERIALIZABLE")
        )
        assert.deepStrictEqual(level, [{ level: "serializable" }])
      }))

    it.effect("serves many fibers, each transaction alone", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE counted (id int PRIMARY KEY, n int NOT NULL)`
        yield* sql`INSERT INTO counted VALUES (1, 0)`
        const increment = sql.withTransaction(Effect.gen(function*() {
          const [row] = yield* sql<{ readonly n: number }>`SELECT n FROM counted WHERE id = 1 FOR UPDATE`
          yield* Effect.yieldNow
          yield* sql`UPDATE counted SET n = ${(row?.n ?? 0) + 1} WHERE id = 1`
        }))
        yield* Effect.forEach(Array.from({ length: 100 }), () => increment, { concurrency: "unbounded", discard: true })
        assert.deepStrictEqual(yield* sql`SELECT n FROM counted`, [{ n: 100 }])
        const rows = yield* Effect.forEach(Array.from({ length: 300 }, (_, i) => i), (i) => sql`SELECT ${i}::int AS i`, { concurrency: "unbounded" })
        assert.deepStrictEqual(rows.flat(), Array.from({ length: 300 }, (_, i) => ({ i })))
      }))

    it.effect("streams a large answer to a slow reader", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        let chunks = 0
        const rows = yield* sql`SELECT i, repeat('x', 1000) AS filler FROM generate_series(1, 30000) AS i`.stream.pipe(
          Stream.mapEffect((row) => chunks++ % 5000 === 0 ? Effect.as(Effect.sleep("20 millis"), row) : Effect.succeed(row)),
          Stream.runCount
        )
        assert.strictEqual(rows, 30000)
        const first = yield* Stream.runCollect(Stream.take(sql`SELECT i FROM generate_series(1, 200000) AS i`.stream, 2))
        assert.strictEqual(Array.from(first).length, 2)
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      }), 60_000)

    it.effect("sends notifications, and listens only where it can", () =>
      Effect.gen(function*() {
        const pg = yield* PgClient.PgClient
        yield* pg.notify("conductor_test", "hello")
        if (name === "postgres") {
          const queue = yield* pg.listen("conductor_test")
          assert.isDefined(queue)
        } else {
          const error = yield* Effect.flip(pg.listen("conductor_test"))
          assert.include(error.message, "LISTEN is not available")
        }
      }))

    it.effect("an interrupted statement ends, and the next one is served", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const endless = yield* Effect.forkChild(sql`SELECT count(*) FROM generate_series(1, 100000000000)`)
        yield* Effect.sleep("300 millis")
        yield* Fiber.interrupt(endless)
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
        const inTransaction = yield* Effect.forkChild(sql.withTransaction(sql`SELECT count(*) FROM generate_series(1, 100000000000)`))
        yield* Effect.sleep("300 millis")
        yield* Fiber.interrupt(inTransaction)
        assert.deepStrictEqual(yield* sql.withTransaction(sql`SELECT 1 AS one`), [{ one: 1 }])
      }))
  })
}
