import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import { PgClient } from "@effect/sql-pg"
import * as Reactivity from "effect/reactivity/Reactivity"
import { conductor, hangs, type Options, queries, says } from "../support/cli.ts"
import { freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"
import { errorBody } from "../support/anthropic.ts"
import { replay, type Script } from "../support/replay.ts"

/** A migrated database and a Claude that plays scripts. */
const world = Effect.fnUntraced(function*(...scripts: ReadonlyArray<Script>) {
  const { url } = yield* freshPostgres()
  const server = yield* replay(...scripts)
  const env = { DATABASE_URL: Redacted.value(url), ANTHROPIC_API_KEY: "sk-test-secret", ANTHROPIC_BASE_URL: server.url }
  return { env, url, server, cli: (args: ReadonlyArray<string>, options: Options = {}) => conductor(args, { ...options, env: { ...env, ...options.env } }) }
})

const idOf = (out: string) => /run ([0-9a-f-]{36})/.exec(out)?.[1] ?? "none"

describe("conductor run", () => {
  it.live("streams an answer with its tool calls, and what it cost", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(queries("SELECT count(*) AS n FROM leads"), says("There are ", "none."))
      const ran = yield* cli(["run", "How many leads?", "--budget", "0.50", "--session", "talk"])
      assert.strictEqual(ran.err, "")
      assert.match(ran.out, /^I look\.\n✓ sql_query \d+ ms {2}query: SELECT count\(\*\) AS n FROM leads\nThere are none\.\n\n✓ completed · 2 turns · .*\$0\.\d{4} · run [0-9a-f-]{36}\n$/)
      assert.strictEqual(ran.code, 0)
      const id = idOf(ran.out)
      const show = yield* cli(["show", id])
      assert.include(show.out, "There are none.")
      assert.include(show.out, `"rows":[["0"]]`.replaceAll("\"0\"", "0"))
      const events = yield* cli(["show", id, "--json"])
      assert.deepStrictEqual(events.lines.at(-1)?.event, { _tag: "RunCompleted", v: 1 })
      const runs = yield* cli(["runs"])
      assert.include(runs.out, id)
      const [row] = (yield* cli(["runs", "--json", "--status", "completed"])).lines
      assert.deepInclude(row, { run: id, status: "completed", session: "talk", turns: 2 })
      assert.strictEqual((yield* cli(["runs", "--status", "failed", "--json"])).out, "")
      assert.include((yield* cli(["runs", "--status", "failed"])).out, "There are no runs")
    }))

  it.live("prints nothing but JSON lines with --json", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(says("Yes", "."))
      const { code, err, lines } = yield* cli(["run", "-", "--json", "--tools", ""], { stdin: "Is it \u0000 true?" })
      assert.strictEqual(err, "")
      assert.strictEqual(code, 0)
      assert.strictEqual(lines[0]?.event?.["agent"], "assistant[]")
      assert.strictEqual(lines[0]?.event?.["input"], JSON.stringify("Is it \uFFFD true?"))
      assert.strictEqual(lines.filter((line) => line._tag === "Delta").map((line) => line["text"]).join(""), "Yes.")
      assert.strictEqual(lines.at(-1)?.event?._tag, "RunCompleted")
    }))

  it.live("exits with 1 when the run fails, whose event is the last line of JSON; retry goes on from the log", () =>
    Effect.gen(function*() {
      const { cli, server } = yield* world({ status: 400, headers: { "content-type": "application/json" }, body: errorBody("invalid_request_error", "no such thing") })
      const failed = yield* cli(["run", "Hello", "--json"])
      assert.strictEqual(failed.code, 1)
      assert.strictEqual(failed.lines.at(-1)?.event?._tag, "RunFailed")
      assert.match(failed.err, /^anthropic:claude-sonnet-5-5 failed after 1 attempt: .*no such thing.* conductor retry [0-9a-f-]{36}\n$/)
      const id = String(failed.lines[0]?.["run"])
      server.play(says("Now it works."))
      const again = yield* cli(["retry", id])
      assert.strictEqual(again.code, 0)
      assert.match(again.out, /^Now it works\.\n\n✓ completed/)
      server.play({ status: 400, headers: { "content-type": "application/json" }, body: errorBody("invalid_request_error", "no such thing") })
      const other = yield* cli(["run", "Hello", "--json"])
      assert.match((yield* cli(["runs", "--limit", "1"])).out, /failed \(ModelFailed\)/)
      server.play(says("Yes."))
      const json = yield* cli(["retry", String(other.lines[0]?.["run"]), "--json"])
      assert.deepStrictEqual([json.lines[0]?.event?._tag, json.lines.at(-1)?.event?._tag], ["RunRetried", "RunCompleted"])
      const late = yield* cli(["retry", id])
      assert.deepStrictEqual([late.code, late.err], [1, `Run ${id} is completed, and only a failed or interrupted run can go on: start another with conductor run.\n`])
      const cancelled = yield* cli(["cancel", id])
      assert.strictEqual(cancelled.code, 1)
      assert.include(cancelled.err, "it is completed")
    }))

  it.live("stops at its budget", () =>
    Effect.gen(function*() {
      const { cli, server } = yield* world(says("Never asked."))
      const { code, err } = yield* cli(["run", "Hello", "--budget", "$0"])
      assert.strictEqual(code, 1)
      assert.match(err, /^The budget of run:.* does not cover the next request: limit 0 USD/)
      assert.strictEqual(server.received.length, 0)
    }))

  it.live("cancels on Ctrl-C, waits for that to be in the log, and exits with 130", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(hangs)
      let sent = false
      const onOut: Options["onOut"] = (out, signal) => {
        if (sent || !out.includes("Well")) return
        sent = true
        signal("SIGINT")
      }
      const ran = yield* cli(["run", "Hello"], { onOut })
      assert.strictEqual(ran.code, 130)
      assert.match(ran.out, /^Well, \n■ cancelled by local: Ctrl-C\n■ cancelled · 0 turns/)
      assert.match(ran.err, /Cancelling run [0-9a-f-]{36}/)
      sent = false
      const json = yield* cli(["run", "Hello", "--json"], { onOut })
      assert.strictEqual(json.code, 130)
      assert.strictEqual(json.lines.at(-1)?.event?._tag, "RunCancelled")
      assert.match(json.err, /was cancelled\.\n$/)
      const refused = yield* cli(["retry", String(json.lines[0]?.["run"])])
      assert.match(refused.err, /is cancelled, and only a failed or interrupted run can go on/)
    }))
})

describe("conductor demo", () => {
  it.live("answers its question, verifies the audit trail, and says how to see it again", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const place = ["--data-dir", dir]
      const ran = yield* conductor(["demo", ...place], { terminal: true })
      assert.strictEqual(ran.code, 0)
      assert.match(ran.out, /✓.*dealer_distances/)
      assert.match(ran.out, /\naudit: \d+ rows, chain verified\nSee it again: npm run -s conductor -- show [0-9a-f-]{36} --data-dir "[^"]+"\n$/)
      assert.include(ran.out, "\u001B[32m")
      assert.match(ran.err, /Opening the database .*\n {2}embedded in .*\nLoading invented dealers …\n {2}200 dealers/)
      const plain = yield* conductor(["demo", "--json", ...place], { terminal: true, env: { NO_COLOR: "1" } })
      assert.strictEqual(plain.lines.at(-1)?.event?._tag, "RunCompleted")
      const list = yield* conductor(["audit", "list", "--tool", "dealer_distances", ...place])
      assert.match(list.out, /tool_call +dealer_distances/)
      const [, entry] = (yield* conductor(["audit", "list", "--json", "--run", String(plain.lines[0]?.["run"]), ...place])).lines
      assert.deepInclude(entry, { run: plain.lines[0]?.["run"], action: "model_attempt" })
      const health = yield* conductor(["doctor", ...place], { env: { ANTHROPIC_API_KEY: "sk-test" } })
      assert.strictEqual(health.code, 0)
      assert.match(health.out, /✓ ANTHROPIC_API_KEY: set.*\n✓ database: embedded .*\n! durability: .*\n.*\n✓ migrations: all \d+ applied\n✓ unfinished runs: none/)
    }), 60_000)

  it.live("asks the model where there is a key, on the database of the settings", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(says("I do not know."))
      const ran = yield* cli(["demo"])
      assert.strictEqual(ran.code, 0)
      assert.include(ran.err, "Asking anthropic:claude-sonnet-5-5.")
      assert.match(ran.err, /Postgres 18\.\d+ at 127\.0\.0\.1:\d+\/test_/)
      assert.include(ran.out, "I do not know.")
    }))
})

describe("conductor audit", () => {
  it.live("names the first broken row, and compares with an anchor", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* world(says("Yes."))
      yield* cli(["run", "Hello"])
      const good = yield* cli(["audit", "verify"])
      assert.match(good.out, /^✓ \d+ rows, chain verified\n {2}keep elsewhere, for --expect: \d+:[0-9a-f]{64}\n$/)
      const anchor = /\d+:[0-9a-f]{64}/.exec(good.out)?.[0] ?? "none"
      assert.strictEqual((yield* cli(["audit", "verify", "--expect", anchor])).code, 0)
      const other = yield* cli(["audit", "verify", "--expect", `1:${"0".repeat(64)}`])
      assert.deepStrictEqual([other.code, /at row 1: .*not the one expected/.test(other.err)], [1, true])
      yield* Effect.scoped(Effect.gen(function*() {
        const sql = yield* PgClient.makeClient({ url })
        yield* sql`ALTER TABLE audit_logs DISABLE TRIGGER USER`
        yield* sql`UPDATE audit_logs SET principal = 'somebody else' WHERE n = 2`
      })).pipe(Effect.provide(Reactivity.layer))
      const broken = yield* cli(["audit", "verify"])
      assert.strictEqual(broken.code, 1)
      assert.match(broken.err, /^The audit trail is broken at row 2: .* 1 row before it are sound\.\n$/)
      assert.strictEqual((yield* cli(["audit", "verify", "--json"])).lines.length, 1)
      const demo = yield* cli(["demo"])
      assert.deepStrictEqual([demo.code, /The audit trail is broken/.test(demo.err)], [1, true])
    }))

  it.live("has nothing to show of an empty trail", () =>
    Effect.gen(function*() {
      const { cli } = yield* world(says("Yes."))
      assert.strictEqual((yield* cli(["audit", "verify"])).out, "✓ 0 rows, chain verified\n")
      assert.strictEqual((yield* cli(["audit", "verify", "--json"])).lines.length, 1)
      assert.strictEqual((yield* cli(["audit", "list"])).out, "The audit trail has no such rows.\n")
    }))
})

describe("conductor migrate and doctor", () => {
  it.live("apply what is pending, and say so", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres({ template: false })
      const env = { DATABASE_URL: Redacted.value(url) }
      const before = yield* conductor(["doctor"], { env })
      assert.strictEqual(before.code, 1)
      assert.match(before.out, /✗ ANTHROPIC_API_KEY: not set.*\n {4}→ put ANTHROPIC_API_KEY=… /)
      assert.match(before.out, /! migrations: \d+ migrations to apply: 001.*\n {4}→ run conductor migrate/)
      const first = yield* conductor(["migrate"], { env })
      assert.match(first.out, /^(✓ \d{3}_.*\.sql\n)+.* is up to date; \d+ migrations were applied\.\n$/)
      const second = yield* conductor(["migrate"], { env })
      assert.match(second.out, /^( {2}\d{3}_.*\.sql\n)+.* is up to date\.\n$/)
    }))

  it.live("say what is wrong with the database, and make none", () =>
    Effect.gen(function*() {
      const dir = scratchPath("none")
      const none = yield* conductor(["doctor", "--json", "--data-dir", dir], { env: { ANTHROPIC_API_KEY: "k" } })
      assert.strictEqual(none.code, 0)
      assert.match(String(none.lines.at(-1)?.["finding"]), /^none yet in .*the first run makes it/)
      assert.isFalse(fs.existsSync(dir))
      const gone = yield* conductor(["doctor", "--database-url", "postgres://me:hidden@127.0.0.1:1/db"])
      assert.strictEqual(gone.code, 1)
      assert.match(gone.out, /✗ database: The database at 127\.0\.0\.1:1 is not available .*\n {4}→ check that it runs/)
      assert.notInclude(`${gone.out}${gone.err}`, "hidden")
      assert.strictEqual((yield* conductor(["doctor", "--json", "--database-url", "nonsense"])).err, "")
    }))
})

describe("conductor cancel", () => {
  it.live("ends a run that nobody performs", () =>
    Effect.gen(function*() {
      const { cli, env } = yield* world(hangs)
      let id = ""
      // The program is ended from outside, so that the run stays as it was.
      yield* Effect.raceFirst(
        cli(["run", "Hello", "--json"], { onOut: (out) => { id = /"run":"([0-9a-f-]{36})"/.exec(out)?.[1] ?? "" } }),
        Effect.sleep("50 millis").pipe(Effect.repeat({ until: () => id !== "" }), Effect.andThen(Effect.sleep("300 millis")))
      )
      const health = yield* cli(["doctor"])
      assert.match(health.out, /! unfinished runs: nobody performs 1 run of assistant\n/)
      const cancelled = yield* conductor(["cancel", id], { env })
      assert.deepStrictEqual([cancelled.code, cancelled.out, cancelled.err], [0, `Run ${id} is cancelled.\n`, ""])
      assert.include((yield* cli(["show", id])).out, "cancelled by local")
    }))
})
