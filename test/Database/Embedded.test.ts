import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import { Worker } from "node:worker_threads"
import { CancelGrace, Database, StatementDeadline } from "../../src/Database.ts"
import { Backend } from "../../src/Database/Backend.ts"
import * as Embedded from "../../src/Database/Embedded.ts"
import { freshDirectory, scratchPath } from "../support/databases.ts"

const endless = "SELECT count(*) FROM generate_series(1, 100000000000)"

/** A database thread under test, which can be lost on purpose. */
const withBackend = Effect.fnUntraced(function*(options: { readonly dir?: string; readonly deadline?: number; readonly cancelGrace?: number } = {}) {
  const dir = options.dir ?? `${yield* freshDirectory}/pgdata`
  const backend = new Backend({
    where: dir,
    settings: { dataDir: dir, load: undefined, fsync: false },
    deadline: options.deadline ?? 1000,
    cancelGrace: options.cancelGrace ?? 100
  })
  yield* Effect.addFinalizer(() => Effect.promise(() => backend.close()))
  const sql = yield* Effect.provide(Embedded.clientOf(backend), Reactivity.layer)
  // Opens it, so that a test's time is the time of its statements.
  yield* sql`SELECT 1`
  return { backend, sql }
})

const workerOf = (backend: Backend): Worker => {
  const worker: unknown = Reflect.get(backend, "worker")
  assert.instanceOf(worker, Worker)
  return worker
}

describe("the embedded database", () => {
  it.live("ends a statement at its deadline while other timers go on, and works afterwards", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const database = yield* Database
      yield* sql`CREATE TABLE kept (i int)`
      yield* sql`INSERT INTO kept VALUES (1)`
      let ticks = 0
      const ticker = yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep("20 millis"), Effect.sync(() => ticks++))))
      const overrun = yield* Effect.forkChild(Effect.flip(sql.unsafe(endless)))
      const waiting = yield* Effect.forkChild(sql`SELECT i FROM kept`)
      const error = yield* Fiber.join(overrun)
      assert.strictEqual(error.reason._tag, "StatementTimeoutError")
      assert.include(error.message, "it ran longer than 1000 ms")
      // A second of ticks every 20 ms is 50; a busy machine may lose some, a blocked thread would have lost all.
      assert.isAbove(ticks, 25)
      assert.deepStrictEqual(yield* Fiber.join(waiting), [{ i: 1 }])
      assert.deepStrictEqual(yield* sql`SELECT i FROM kept`, [{ i: 1 }])
      assert.strictEqual(yield* database.generations, 2)
      yield* Fiber.interrupt(ticker)
    }).pipe(
      Effect.provide(Layer.unwrap(Effect.map(freshDirectory, (dir) => Database.layerEmbedded({ dir, fsync: false, migrate: false })))),
      Effect.provideService(StatementDeadline, Duration.seconds(1))
    ))

  it.live("a transaction whose statement overran fails typed, and nothing of it stays", () =>
    Effect.gen(function*() {
      const { sql } = yield* withBackend({ deadline: 700 })
      yield* sql`CREATE TABLE kept (i int)`
      const error = yield* Effect.flip(sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO kept VALUES (1)`
        yield* sql.withTransaction(Effect.andThen(sql`INSERT INTO kept VALUES (2)`, sql.unsafe(endless)))
      })))
      assert.strictEqual(error.reason._tag, "StatementTimeoutError")
      assert.deepStrictEqual(yield* sql`SELECT i FROM kept`, [])
      // Caught inside, the error still loses the transaction: what follows in it must not be written alone.
      const caught = yield* Effect.exit(sql.withTransaction(Effect.andThen(Effect.ignore(sql.unsafe(endless)), sql`INSERT INTO kept VALUES (3)`)))
      assert.isTrue(Exit.isFailure(caught))
      assert.deepStrictEqual(yield* sql`SELECT i FROM kept`, [])
    }))

  it.live("an interrupted statement is cancelled at once when it runs on", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 20_000 })
      const exit = yield* Effect.exit(Effect.timeout(sql.unsafe(endless), "300 millis"))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      assert.strictEqual(backend.generations, 2)
    }))

  it.live("an interrupted statement that ends within the grace costs nothing", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 20_000, cancelGrace: 10_000 })
      const short = yield* Effect.forkChild(sql.unsafe("SELECT count(*) FROM generate_series(1, 200000)"))
      yield* Effect.sleep("5 millis")
      yield* Fiber.interrupt(short)
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      assert.strictEqual(backend.generations, 1)
    }))

  it.live("a reader who takes its time does not meet the deadline", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 1000 })
      let seen = 0
      const count = yield* sql`SELECT i, repeat('x', 1000) AS filler FROM generate_series(1, 20000) AS i`.stream.pipe(
        Stream.tap(() => seen++ === 100 ? Effect.sleep("1500 millis") : Effect.void),
        Stream.runCount
      )
      assert.strictEqual(count, 20000)
      assert.strictEqual(backend.generations, 1)
    }))

  it.live("a crash of the thread under a statement is a lost connection, and the next statement is served", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 20_000 })
      yield* sql`CREATE TABLE kept (i int)`
      yield* sql`INSERT INTO kept VALUES (1)`
      const running = yield* Effect.forkChild(Effect.flip(sql.unsafe(endless)))
      yield* Effect.sleep("200 millis")
      yield* Effect.promise(() => workerOf(backend).terminate())
      const error = yield* Fiber.join(running)
      assert.strictEqual(error.reason._tag, "ConnectionError")
      assert.include(error.message, "the thread of the embedded database ended")
      assert.deepStrictEqual(yield* sql`SELECT i FROM kept`, [{ i: 1 }])
    }))

  it.live("a crash of the idle thread is not noticed by the next statement", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend()
      for (const cause of [new Error("out of memory"), "no error at all"]) {
        workerOf(backend).emit("error", cause)
        yield* Effect.sleep("50 millis")
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      }
      assert.strictEqual(backend.generations, 3)
    }))

  it.live("a thread that reports a failure is started anew", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 20_000 })
      const running = yield* Effect.forkChild(Effect.flip(sql.unsafe(endless)))
      yield* Effect.sleep("200 millis")
      workerOf(backend).emit("message", { tag: "Failed", message: "unreachable" })
      const error = yield* Fiber.join(running)
      assert.include(error.message, "failed (unreachable)")
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
    }))

  it.live("a session begins without what the session before it left behind", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend()
      yield* sql`SET statement_timeout = '7s'`
      yield* sql`CREATE TEMPORARY TABLE left_behind (i int)`
      const another = yield* Effect.provide(Embedded.clientOf(backend), Reactivity.layer)
      const rows = yield* another`SELECT current_setting('statement_timeout') AS timeout, to_regclass('left_behind') AS found`
      assert.deepStrictEqual(rows, [{ timeout: "0", found: null }])
    }))

  it.live("keeps its data when it is closed and opened again", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const open = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient | Database>) =>
        Effect.provide(effect, Database.layerEmbedded({ dir, migrate: false }))
      yield* open(Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual((yield* Database).durability, "power loss")
        assert.deepStrictEqual(yield* sql`SELECT current_setting('fsync') AS fsync, current_setting('wal_sync_method') AS method`, [
          { fsync: "on", method: "fsync" }
        ])
        yield* sql`INSERT INTO leads (org_id, source_project, company_name) VALUES ('acme', 'test', 'Kept')`
      }))
      const rows = yield* open(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT company_name FROM leads`))
      assert.deepStrictEqual(rows, [{ company_name: "Kept" }])
    }))

  it.live("lives in memory without a directory, begins with a dump, and is lost with its thread", () =>
    Effect.gen(function*() {
      const dump = yield* Effect.scoped(Effect.gen(function*() {
        const source = yield* Effect.provide(Embedded.make({ dir: yield* freshDirectory, fsync: false }), Reactivity.layer)
        yield* source.client`INSERT INTO leads (org_id, source_project, company_name) VALUES ('acme', 'test', 'Dumped')`
        return yield* source.dump
      }))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const database = yield* Database
        assert.strictEqual(database.description, "memory")
        assert.strictEqual(database.durability, "none")
        assert.deepStrictEqual(yield* sql`SELECT company_name FROM leads`, [{ company_name: "Dumped" }])
        assert.strictEqual((yield* Effect.flip(sql.unsafe(endless))).reason._tag, "StatementTimeoutError")
        const error = yield* Effect.flip(sql`SELECT 1`)
        assert.strictEqual(error.reason._tag, "ConnectionError")
        assert.include(String(error.reason.cause), "was lost when its thread ended")
      }).pipe(
        Effect.provide(Database.layerEmbedded({ load: dump, migrate: false })),
        Effect.provideService(StatementDeadline, Duration.seconds(1))
      )
    }))

  it.live("a cancelled statement in memory is left to its deadline", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE kept (i int)`
      const running = yield* Effect.forkChild(sql.unsafe("SELECT count(*) FROM generate_series(1, 3000000)"))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(yield* sql`SELECT i FROM kept`, [])
    }).pipe(
      Effect.provide(Database.layerEmbedded({ migrate: false })),
      Effect.provideService(CancelGrace, Duration.millis(1))
    ))

  it.live("says what is wrong with a directory that it cannot open", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      fs.rmSync(`${dir}/pgdata/global`, { recursive: true })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Database.layerEmbedded({ dir, fsync: false }))))
      assert(error._tag === "EmbeddedError")
      assert.include(error.message, dir)
      assert.include(error.message, "cannot be opened")
    }))

  it.live("does not open again after it was closed", () =>
    Effect.gen(function*() {
      const embedded = yield* Effect.scoped(Effect.provide(Embedded.make({ dir: yield* freshDirectory, fsync: false }), Reactivity.layer))
      const error = yield* Effect.flip(embedded.dump)
      assert.include(error.message, "was closed")
    }))

  it.live("closes while a statement is under way", () =>
    Effect.gen(function*() {
      const { backend, sql } = yield* withBackend({ deadline: 20_000 })
      const running = yield* Effect.forkChild(Effect.flip(sql.unsafe(endless)))
      yield* Effect.sleep("200 millis")
      yield* Effect.promise(() => backend.close())
      yield* Effect.promise(() => backend.close())
      assert.strictEqual((yield* Fiber.join(running)).reason._tag, "ConnectionError")
    }))

  it.live("is made in a directory that does not exist yet", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Database.layerEmbedded({ dir: scratchPath("new/er"), migrate: false }))
      const sql = Context.get(context, SqlClient.SqlClient)
      assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
    }))
})
