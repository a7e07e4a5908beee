import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, type Redacted, References, Schedule, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { inject } from "vitest"
import { Agent, Conductor, Plugin, type Run, Tool } from "../../src/index.ts"
import { FlushPatience, LeaseRenewal, LeaseTime } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { administer, freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"

const steps = 12

const Note = Tool.make("note", {
  description: "Notes something.",
  parameters: Schema.Struct({ step: Schema.Int }),
  success: Schema.String,
  effect: "idempotent"
})

/** What a step leaves behind, so that a small disk is soon full. */
const bulk = "n".repeat(4_000)

const notes = Plugin.make("notes", { tools: [Note], handlers: { note: () => Effect.as(Effect.sleep("10 millis"), bulk) } })

const agent = Agent.make("patient", {
  instructions: "Go on.",
  model: "scripted:patient",
  plugins: [notes],
  limits: { turns: 50, attempts: 100, cost: "5 USD" }
})

const model = testing.script((request) => {
  const turn = 1 + request.messages.filter((message) => message.role === "assistant").length
  return turn > steps ? "Done." : { delay: "20 millis", toolCalls: [{ name: "note", params: { step: turn } }] }
})

/** Short enough that a test sees a process give its runs up and take them again. */
const impatient = Layer.mergeAll(
  // Runs that stop and are taken over again are what is expected here.
  Layer.succeed(References.MinimumLogLevel, "Error"),
  Layer.succeed(FlushPatience, Duration.seconds(1)),
  Layer.succeed(LeaseTime, Duration.seconds(3)),
  Layer.succeed(LeaseRenewal, Duration.millis(700))
)

const options = { agents: [agent], models: testing.models(model) } as const
const onPostgres = (url: Redacted.Redacted) => Conductor.layerPostgres({ ...options, url }).pipe(Layer.provide(impatient))
const onPglite = (dir: string) => Conductor.layerEmbedded({ ...options, dir }).pipe(Layer.provide(impatient))

/** A way to break a database and to mend it. */
interface Fault<R> {
  readonly breaks: Effect.Effect<unknown, unknown, R>
  readonly mends: Effect.Effect<unknown, unknown, R>
  /** What the errors say meanwhile. */
  readonly says: RegExp
}

/** A process with runs under way lives through a fault: typed errors meanwhile, nothing lost, and everything goes on by itself. */
const livesThrough = <R>({ breaks, mends, says }: Fault<R>) =>
  Effect.gen(function*() {
    const conductor = yield* Conductor
    const begun = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => Conductor.start(agent, `run ${n}`))
    const told = begun[0] ?? (yield* Effect.die("no run"))
    yield* conductor.send(told, "acknowledged")
    yield* breaks

    // Until the disk is really full, a start may still find room; whatever was acknowledged has to be there in the end.
    const acknowledged: Array<Run.RunId> = [...begun]
    const refused = yield* Conductor.start(agent, `in the middle ${bulk}`).pipe(
      Effect.tap((run) => Effect.sync(() => acknowledged.push(run))),
      Effect.flip,
      Effect.retry(Schedule.recurs(500))
    )
    assert.strictEqual(refused._tag, "StorageFailed")
    assert.match(refused.message, says)
    const waited = yield* Effect.exit(conductor.result(told).pipe(Effect.timeout("4 seconds")))
    assert.isTrue(Exit.isFailure(waited))
    const sent = yield* Effect.exit(conductor.send(told, "perhaps"))
    // What is there can be read all the while.
    assert.isAtLeast((yield* conductor.list({ limit: 1_000 })).length, 5)
    yield* Effect.sleep("1 second")
    yield* mends

    for (const run of acknowledged) {
      const result = yield* conductor.result(run).pipe(
        Effect.retry({ while: (error) => error._tag === "StorageFailed", schedule: Schedule.spaced("200 millis") })
      )
      assert.strictEqual(result.text, "Done.")
      yield* testing.check(run)
      assert.strictEqual((yield* testing.toolCalls(run)).length, steps)
    }
    const messages = (yield* testing.events(told)).flatMap(({ event }) => event._tag === "MessageReceived" ? [event.text] : [])
    assert.deepStrictEqual(messages, Exit.isSuccess(sent) ? ["acknowledged", "perhaps"] : ["acknowledged"])
    assert.strictEqual((yield* Conductor.run(agent, "afterwards")).text, "Done.")
  })

/** Postgres' own error for a full disk, raised where the log is written. */
const full = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file "base/1/1": No space left on device' USING ERRCODE = '53100'; END $$`
  for (const table of ["run_events", "run_inbox"]) {
    yield* sql.unsafe(`CREATE TRIGGER disk_full BEFORE INSERT ON ${table} EXECUTE FUNCTION disk_full()`)
  }
})

const emptied = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DROP FUNCTION disk_full() CASCADE`
})

/** A file system in memory of so many megabytes, or nothing where this user may not mount one. */
const smallDisk = (megabytes: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const dir = scratchPath("disk")
      fs.mkdirSync(dir)
      try {
        // Whoever the server runs as needs it for its own.
        const { gid, uid } = fs.statSync(path.join(inject("scratch"), "postgres"))
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0700,uid=${uid},gid=${gid}`, "tmpfs", dir], { stdio: "ignore" })
        return dir
      } catch {
        return undefined
      }
    }),
    (dir) => Effect.sync(() => dir === undefined ? undefined : execFileSync("umount", ["-l", dir]))
  )

/** Fills what is left of a disk, and frees it. */
const ballast = (dir: string): Fault<never> => {
  const file = path.join(dir, "ballast")
  return {
    breaks: Effect.sync(() => {
      const handle = fs.openSync(file, "w")
      for (const size of [1_000_000, 4_096]) {
        try {
          for (;;) fs.writeSync(handle, Buffer.alloc(size))
        } catch {
          continue
        }
      }
      fs.closeSync(handle)
    }),
    mends: Effect.sync(() => fs.rmSync(file)),
    says: /No space left on device|disk/i
  }
}

describe("a full disk", () => {
  it.live("is lived through (postgres, its error in a double)", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      yield* Effect.provide(livesThrough({ breaks: full, mends: emptied, says: /No space left on device/ }), onPostgres(url))
    }), 240_000)

  it.live("is lived through (pglite, its error in a double)", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      yield* Effect.provide(livesThrough({ breaks: full, mends: emptied, says: /No space left on device/ }), onPglite(dir))
    }), 240_000)

  it.live("is lived through (postgres, a small file system)", (context) =>
    Effect.gen(function*() {
      const disk = yield* smallDisk(32)
      if (disk === undefined) return context.skip("this user may not mount a file system")
      const { name, url } = yield* freshPostgres()
      // Tables on the small disk, the server's own log elsewhere: it lives on.
      yield* administer((sql) => sql.unsafe(`CREATE TABLESPACE ${name} LOCATION '${disk}'`).unprepared)
      yield* administer((sql) => sql.unsafe(`ALTER DATABASE ${name} SET TABLESPACE ${name}`).unprepared)
      yield* Effect.provide(livesThrough(ballast(disk)), onPostgres(url)).pipe(
        Effect.ensuring(administer((sql) => sql.unsafe(`ALTER DATABASE ${name} SET TABLESPACE pg_default`).unprepared)),
        Effect.ensuring(administer((sql) => sql.unsafe(`DROP TABLESPACE ${name}`).unprepared))
      )
    }), 240_000)

  it.live("is lived through (pglite, a small file system)", (context) =>
    Effect.gen(function*() {
      const disk = yield* smallDisk(120)
      if (disk === undefined) return context.skip("this user may not mount a file system")
      const dir = path.join(disk, "data")
      fs.cpSync(yield* freshDirectory, dir, { recursive: true })
      yield* Effect.provide(livesThrough(ballast(disk)), onPglite(dir))
    }), 240_000)
})

describe("a database turned read-only", () => {
  it.live("is lived through (postgres)", () =>
    Effect.gen(function*() {
      const { name, url } = yield* freshPostgres()
      const turn = (value: "on" | "off") =>
        administer((sql) =>
          Effect.andThen(
            sql.unsafe(`ALTER DATABASE ${name} SET default_transaction_read_only = ${value}`).unprepared,
            sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ${name}`
          )
        )
      yield* Effect.provide(livesThrough({ breaks: turn("on"), mends: turn("off"), says: /read-only/ }), onPostgres(url))
    }), 240_000)
})
