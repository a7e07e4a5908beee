import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { vi } from "vitest"
import { Database, holderOf } from "../../src/Database.ts"
import * as Lock from "../../src/Database/Lock.ts"
import { freshDirectory, scratchPath } from "../support/databases.ts"

const fileOf = (dir: string) => path.join(dir, "conductor.lock")

/** A directory with this lock file. */
const lockedBy = (content: string) => {
  const dir = scratchPath("locked")
  fs.mkdirSync(dir)
  fs.writeFileSync(fileOf(dir), content)
  return dir
}

const holder = (fields: Partial<Lock.Holder>) => JSON.stringify({ pid: 1, process: null, address: null, token: null, ...fields })

/** A pid that was alive a moment ago. */
const deadPid = Effect.promise(() =>
  new Promise<number>((resolve) => {
    const child = spawn(process.execPath, ["-e", ""])
    child.on("exit", () => resolve(child.pid ?? 0))
  })
)

const isFree = (dir: string) => Effect.map(Effect.exit(Effect.scoped(Lock.acquire(dir))), (exit) => exit._tag === "Success")

describe("the lock of a data directory", () => {
  it.live("is held until the scope closes", () =>
    Effect.gen(function*() {
      const dir = scratchPath("lock")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Lock.acquire(dir)
        assert.isTrue(fs.existsSync(fileOf(dir)))
        const error = yield* Effect.flip(Effect.scoped(Lock.acquire(dir)))
        assert(error._tag === "DirectoryLocked")
        assert.strictEqual(error.pid, process.pid)
        assert.include(error.message, `in use by process ${process.pid}`)
        assert.include(error.message, "CONDUCTOR_DATA_DIR")
        assert.isTrue(Option.isSome(yield* holderOf(dir)))
      }))
      assert.isFalse(fs.existsSync(fileOf(dir)))
      assert.isTrue(Option.isNone(yield* holderOf(dir)))
      assert.isTrue(yield* isFree(dir))
    }))

  it.live("tells other processes where the holder answers", () =>
    Effect.scoped(Effect.gen(function*() {
      const dir = scratchPath("lock")
      const lock = yield* Lock.acquire(dir)
      yield* lock.announce("http://127.0.0.1:4321", "secret")
      const found = yield* holderOf(dir)
      assert(Option.isSome(found))
      assert.strictEqual(found.value.address, "http://127.0.0.1:4321")
      assert.strictEqual(found.value.token, "secret")
      assert.strictEqual(fs.statSync(fileOf(dir)).mode & 0o777, 0o600)
      const error = yield* Effect.flip(Effect.scoped(Lock.acquire(dir)))
      assert(error._tag === "DirectoryLocked")
      assert.strictEqual(error.address, "http://127.0.0.1:4321")
      assert.notInclude(error.message, "secret")
      fs.rmSync(dir, { recursive: true })
      assert.strictEqual((yield* Effect.flip(lock.announce("http://127.0.0.1:1", "secret")))._tag, "DirectoryUnusable")
    })))

  it.live("of another live process is respected", () =>
    Effect.gen(function*() {
      // The process that started this one lives as long as it does.
      assert.isFalse(yield* isFree(lockedBy(holder({ pid: process.ppid }))))
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Database.layerEmbedded({ dir: lockedBy(holder({ pid: process.ppid })) }))))
      assert.strictEqual(error._tag, "DirectoryLocked")
    }))

  it.live("of another user's live process is respected", () =>
    Effect.gen(function*() {
      const kill = yield* Effect.acquireRelease(
        Effect.sync(() =>
          vi.spyOn(process, "kill").mockImplementation(() => {
            throw Object.assign(new Error("not permitted"), { code: "EPERM" })
          })
        ),
        (kill) => Effect.sync(() => kill.mockRestore())
      )
      assert.isFalse(yield* isFree(lockedBy(holder({ pid: process.ppid }))))
      assert.isAbove(kill.mock.calls.length, 0)
    }))

  it.live("of a dead process is taken over, by one of many", () =>
    Effect.gen(function*() {
      const pid = yield* deadPid
      assert.isTrue(yield* isFree(lockedBy(holder({ pid }))))
      const dir = lockedBy(holder({ pid }))
      assert.isTrue(Option.isNone(yield* holderOf(dir)))
      const tries = yield* Effect.scoped(Effect.forEach([1, 2, 3, 4], () => Effect.exit(Lock.acquire(dir)), { concurrency: "unbounded" }))
      assert.strictEqual(tries.filter((exit) => exit._tag === "Success").length, 1)
    }))

  it.live("of a number that another process has now is taken over", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* isFree(lockedBy(holder({ pid: process.ppid, process: "1" }))))
      assert.isTrue(yield* isFree(lockedBy(holder({ pid: process.pid }))))
    }))

  it.live("that is torn counts as left behind once it is old", () =>
    Effect.gen(function*() {
      const dir = lockedBy("{\"pi")
      fs.utimesSync(fileOf(dir), 1, 1)
      // So does the guard of a process that died while it took a lock over.
      const guard = `${fileOf(dir)}.takeover`
      fs.mkdirSync(guard)
      fs.utimesSync(guard, 1, 1)
      assert.isTrue(yield* isFree(dir))
      assert.isFalse(fs.existsSync(guard))
      const nothing = lockedBy("{}")
      fs.utimesSync(fileOf(nothing), 1, 1)
      assert.isTrue(yield* isFree(nothing))
      const young = lockedBy("")
      const waiting = yield* Effect.exit(Effect.timeout(Effect.scoped(Lock.acquire(young)), "200 millis"))
      assert.strictEqual(waiting._tag, "Failure")
    }))

  it.live("a directory that cannot be written is a sentence", () =>
    Effect.gen(function*() {
      const file = scratchPath("file")
      fs.writeFileSync(file, "")
      for (const dir of [path.join(file, "below"), "/proc/conductor"]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Database.layerEmbedded({ dir }))))
        assert(error._tag === "DirectoryUnusable")
        assert.include(error.message, `The data directory ${dir} cannot be written`)
        assert.include(error.message, "CONDUCTOR_DATA_DIR")
      }
      // A directory where the lock file should be, and one where its guard cannot be made.
      const odd = scratchPath("odd")
      fs.mkdirSync(fileOf(odd), { recursive: true })
      fs.utimesSync(fileOf(odd), 1, 1)
      assert.strictEqual((yield* Effect.flip(Effect.scoped(Lock.acquire(odd))))._tag, "DirectoryUnusable")
    }))

  it.live("a directory whose holder was killed opens again with what it had committed", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const script = path.join(import.meta.dirname, "../support/holdDirectory.ts")
      const child = yield* Effect.acquireRelease(
        Effect.sync(() => spawn(process.execPath, [script, dir], { stdio: ["ignore", "pipe", "inherit"] })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      yield* Effect.promise(() => new Promise<void>((resolve) => child.stdout.once("data", () => resolve())))
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Database.layerEmbedded({ dir }))))
      assert(error._tag === "DirectoryLocked")
      assert.strictEqual(error.pid, child.pid)
      yield* Effect.promise(() => new Promise<void>((resolve) => {
        child.once("exit", () => resolve())
        child.kill("SIGKILL")
      }))
      const context = yield* Layer.build(Database.layerEmbedded({ dir, migrate: false }))
      const sql = Context.get(context, SqlClient.SqlClient)
      assert.deepStrictEqual(yield* sql`SELECT company_name FROM leads`, [{ company_name: "Committed" }])
    }), 60_000)
})
