import { assert, describe, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as fs from "node:fs"
import { calls, hangs, launched, type Line, queries, says } from "../support/cli.ts"
import { freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"
import { replay, type Script } from "../support/replay.ts"

const linesOf = (out: string): ReadonlyArray<Line> => out.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))

const world = Effect.fnUntraced(function*(...scripts: ReadonlyArray<Script>) {
  const { url } = yield* freshPostgres()
  const server = yield* replay(...scripts)
  const cwd = scratchPath("cwd")
  fs.mkdirSync(cwd)
  const env = { DATABASE_URL: Redacted.value(url), ANTHROPIC_API_KEY: "sk-test", ANTHROPIC_BASE_URL: server.url }
  return { cwd, env, server, start: (...args: ReadonlyArray<string>) => launched(args, { cwd, env }) }
})

const statusOf = Effect.fnUntraced(function*(cwd: string, env: Readonly<Record<string, string>>) {
  const runs = yield* launched(["runs", "--json"], { cwd, env })
  assert.strictEqual(yield* runs.code, 0)
  return linesOf(runs.out)[0]?.["status"]
})

describe("the program as a process", () => {
  it.live("answers, and prints nothing but JSON with --json", () =>
    Effect.gen(function*() {
      const { start } = yield* world(queries("SELECT 1 AS one"), says("One."))
      const run = yield* start("run", "Count", "--json")
      assert.strictEqual(yield* run.code, 0)
      assert.strictEqual(run.err, "")
      assert.strictEqual(linesOf(run.out).at(-1)?.event?._tag, "RunCompleted")
    }))

  it.live("is cancelled by Ctrl-C, with 130 and the end of the run in its log", () =>
    Effect.gen(function*() {
      const { cwd, env, start } = yield* world(hangs)
      const run = yield* start("run", "Wait")
      yield* run.says("Well,")
      run.child.kill("SIGINT")
      assert.strictEqual(yield* run.code, 130)
      assert.match(run.out, /■ cancelled · /)
      assert.notMatch(run.err, /\n\s+at /)
      assert.strictEqual(yield* statusOf(cwd, env), "cancelled")
    }))

  it.live("takes the Ctrl-C that npm passes on for the one of the terminal, and ends at once at the next", () =>
    Effect.gen(function*() {
      const { start } = yield* world(hangs)
      const run = yield* start("run", "Wait")
      yield* run.says("Well,")
      run.child.kill("SIGINT")
      run.child.kill("SIGINT")
      assert.strictEqual(yield* run.code, 130)
      assert.match(run.out, /■ cancelled · /)
      const early = yield* start("run", "Wait")
      yield* Effect.sleep("100 millis")
      early.child.kill("SIGINT")
      yield* Effect.sleep("400 millis")
      early.child.kill("SIGINT")
      assert.include([130, "SIGINT"], yield* early.code)
    }))

  it.live("says in a sentence that the database is gone, without the password", () =>
    Effect.gen(function*() {
      const { env, start } = yield* world(hangs)
      const run = yield* start("run", "Wait")
      yield* run.says("Well,")
      const url = new URL(env.DATABASE_URL)
      const name = url.pathname.slice(1)
      url.pathname = "/postgres"
      yield* Effect.scoped(Effect.gen(function*() {
        const sql = yield* PgClient.makeClient({ url: Redacted.make(url.toString()) })
        yield* sql.unsafe(`DROP DATABASE ${name} WITH (FORCE)`).unprepared
      })).pipe(Effect.provide(Reactivity.layer))
      assert.strictEqual(yield* run.code, 1)
      assert.match(run.err, /^The database failed \(\w+\): [^\n]*\n$/)
      assert.notInclude(run.err, url.password)
    }))

  it.live("parks the run when it is asked to end, says how to go on with it, and retry does", () =>
    Effect.gen(function*() {
      const { cwd, env, server, start } = yield* world(hangs)
      const run = yield* start("run", "Wait", "--json")
      yield* run.says("Well,")
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.code, 143)
      const id = String(linesOf(run.out)[0]?.["run"])
      assert.strictEqual(run.err, `Run ${id} is parked because its process ended: go on with it with conductor retry ${id}.\n`)
      assert.strictEqual(yield* statusOf(cwd, env), "parked")
      server.play(says("Here I am again."))
      const again = yield* start("retry", id)
      assert.strictEqual(yield* again.code, 0)
      assert.include(again.out, "Here I am again.")
    }))

  it.live("says of a tool that it broke off how to tell what became of it, and resolve goes on with the run", () =>
    Effect.gen(function*() {
      const { cwd, env } = yield* world(calls("I write.", ["letter", { to: "ann@example.com" }]), says("It is posted."))
      const start = (...args: ReadonlyArray<string>) => launched(args, { cwd, env, main: "test/support/clerkProgram.ts" })
      const run = yield* start("run", "Write to Ann", "--agent", "clerk")
      yield* run.says("at the post office")
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.code, 143)
      const command = /conductor (resolve [0-9a-f-]{36} toolu_1 --happened) \(or --did-not-happen, or --run-again\)\.\n$/.exec(run.err)?.[1]
      assert.isDefined(command)
      assert.match(run.out, /\? letter \(toolu_1\) may or may not have happened: the process ended while the tool was running\n/)
      const resolved = yield* start(...command.split(" "), "--result", "It is on its way.", "--comment", "I asked")
      assert.strictEqual(yield* resolved.code, 0)
      assert.match(resolved.out, /^! letter: local says that it happened: I asked\nIt is posted\.\n/)
    }))

  it.live("cancels the run quietly when nobody reads any more", () =>
    Effect.gen(function*() {
      const { cwd, env, start } = yield* world({ ...says(...Array.from({ length: 400 }, (_, index) => `word ${index} `)), pieces: 200, gap: 10 })
      const run = yield* start("run", "Talk")
      yield* run.says("word 1 ")
      run.child.stdout?.destroy()
      assert.strictEqual(yield* run.code, 130)
      assert.notMatch(run.err, /EPIPE|\n\s+at /)
      assert.strictEqual(yield* statusOf(cwd, env), "cancelled")
    }))

  it.live("says who holds the data directory", () =>
    Effect.gen(function*() {
      const { cwd, env } = yield* world(hangs)
      const dir = yield* freshDirectory
      const first = yield* launched(["run", "Wait", "--data-dir", dir], { cwd, env })
      yield* first.says("Well,")
      const second = yield* launched(["runs", "--data-dir", dir], { cwd, env })
      assert.strictEqual(yield* second.code, 1)
      assert.match(second.err, new RegExp(`^The data directory .* is in use by process ${first.child.pid}: stop it, [^\n]*\n$`))
      const doctor = yield* launched(["doctor", "--data-dir", dir], { cwd, env })
      assert.strictEqual(yield* doctor.code, 1)
      assert.include(doctor.out, `is in use by process ${first.child.pid}`)
    }))
})
