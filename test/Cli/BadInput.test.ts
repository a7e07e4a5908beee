import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import { conductor } from "../support/cli.ts"
import { freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"

const key = { ANTHROPIC_API_KEY: "sk-test-secret" }
const id = "01a20568-9093-77f8-b1b3-20ce90e23375"

/** What is typed, the exit code, and the sentence; nothing of it reaches a database. */
const bad: ReadonlyArray<readonly [args: ReadonlyArray<string>, code: number, sentence: RegExp]> = [
  [["run", ""], 2, /^The prompt is empty: say what the agent is to do\.$/],
  [["run", " \n "], 2, /^The prompt is empty/],
  [["run", "-"], 2, /^The prompt is empty/],
  [["run"], 2, /^Missing required argument: prompt\. See "conductor run --help"\.$/],
  [["run", "two", "words"], 2, /^Unexpected positional argument: "words": put text of several words into quotation marks\./],
  [["run", "Hi", "--budget", "abc"], 2, /^Invalid value for flag --budget: "abc"\. Expected an amount of dollars such as 0\.50\. See/],
  [["run", "Hi", "--budget", "-1"], 2, /^Invalid value for flag --budget/],
  [["run", "Hi", "--modle", "x"], 2, /^Unrecognized flag: --modle in command conductor run\. Did you mean --model\? See/],
  [["run", "Hi", "--model", ""], 2, /^--model is empty/],
  [["run", "Hi", "--model", "sonnet"], 2, /^The model "sonnet" is not known: write the provider, a colon and the exact id/],
  [["run", "Hi", "--model", "anthropic:claude-sonet-5-5"], 2, /is not known: did you mean anthropic:claude-sonnet-5-5/],
  [["run", "Hi", "--model", "anthropic:zzz"], 2, /is not known: see "conductor models", or add it/],
  [["run", "Hi", "--model", "nobody:x"], 2, /there is no provider "nobody" here, only anthropic/],
  [["run", "Hi", "--model", "openai:gpt-5"], 2, /^The model "openai:gpt-5" is an OpenAI model or may choose one, which Conductor never uses/],
  [["run", "Hi", "--agent", "bob"], 2, /^There is no agent "bob": choose assistant or dealers\.$/],
  [["run", "Hi", "--agent", "dealers", "--tools", "sql_query"], 2, /^The agent "dealers" has its own tools/],
  [["run", "Hi", "--tools", "sql_query,mail"], 2, /^There is no tool "mail": choose among .*sql_query/],
  [["run", "Hi", "--session", " "], 2, /^--session is empty/],
  [["run", "Hi", "--data-dir", "a", "--database-url", "b"], 2, /^--data-dir and --database-url exclude each other/],
  [["run", "Hi", "--data-dir", " "], 2, /^--data-dir is empty/],
  [["run", "Hi", "--database-url", "mysql://me:hidden@host/db"], 1, /^The database at DATABASE_URL is not available \(the URL begins with mysql:\)/],
  [["run", "Hi", "--database-url", "postgres://me:hidden@127.0.0.1:1/db"], 1, /^The database at 127\.0\.0\.1:1 is not available \(.*\): check that it runs/],
  [["runs", "--data-dir", "/proc/nowhere"], 1, /^The data directory \/proc\/nowhere cannot be written/],
  [["runs", "--limit", "0"], 2, /^Invalid value for flag --limit: "0"\. Expected a number from 1 to 10000\./],
  [["runs", "--status", "odd"], 2, /^Invalid value for flag --status/],
  [["audit", "verify", "--expect", "1:zz"], 2, /^Invalid value for flag --expect/],
  [["budgets", "set", "org"], 2, /^Missing required argument: amount/],
  [["budgets", "set", "org", "much"], 2, /^Invalid value for argument <amount>: "much"\. Expected an amount of dollars such as 0\.50\. See/],
  [["budgets", "set", "org", "1", "--period", "year"], 2, /^Invalid value for flag --period: "year"/],
  [["approvals", "--limit", "none"], 2, /^Invalid value for flag --limit/],
  [["approve"], 2, /^Missing required argument: id/],
  [["approve", "x", "--params", "{dollars: 5}"], 2, /^--params is not JSON \(.*\): write it as '\{"name": "value"\}'\.$/],
  [["approve", "x", "--comment", " "], 2, /^Invalid value for flag --comment: " "\. Expected some text\. See/],
  [["deny", "x", "--params", "{}"], 2, /^Unrecognized flag: --params in command conductor deny/],
  [["resolve", id], 2, /^Missing required argument: call/],
  [["resolve", id, "c1"], 2, /^Say what became of the call with exactly one of --happened, --did-not-happen and --run-again\.$/],
  [["resolve", id, "c1", "--happened", "--run-again"], 2, /^Say what became of the call with exactly one/],
  [["resolve", id, "c1", "--no-happened"], 2, /^Unrecognized flag: --no-happened/],
  [["resolve", id, "c1", "--run-again", "--result", "It went well."], 2, /^--run-again lets the tool say what it gives: leave --result out\.$/],
  [["resolve", id, "c1", "--happened", "--result", ""], 2, /^Missing value for flag --result\. Expected some text/],
  [["send", id], 2, /^Missing required argument: text/],
  [["send", id, " "], 2, /^The message is empty: say what the agent is to be told\.$/],
  [["send", id, "-"], 2, /^The message is empty/],
  [["send", id, "Hurry", "--queue", "--interrupt"], 2, /^--queue, --interrupt and --reject exclude each other/],
  [["export"], 2, /^Missing required argument: run/],
  [["replay"], 2, /^Missing required argument: run/],
  [["replay", "nowhere.json"], 1, /^There is no run "nowhere\.json", and no such file can be read \(NotFound\): give the id of a run, or a file that conductor export wrote\.$/],
  [["replay", "package.json"], 1, /^This is not a stored run: /],
  [["replay", "README.md"], 1, /^This is not a stored run: it is not JSON; write one with conductor export\.$/],
  [["replay", "test/logs/0.1.0-text.json"], 1, /^The agent "clerk" of run .* is not one of this program: replay it where that agent is, or name another with --agent\.$/],
  [["replay", "test/logs/0.1.0-text.json", "--agent", "bob"], 2, /^There is no agent "bob"/],
  [["rnu"], 2, /^Unknown subcommand "rnu" for "conductor"\. Did you mean run/],
  [["show"], 2, /^Missing required argument: run/]
]

describe("bad input", () => {
  for (const [args, code, sentence] of bad) {
    it.live(`conductor ${args.join(" ").slice(0, 70)}`, () =>
      Effect.gen(function*() {
        const ran = yield* conductor(args, { env: key })
        assert.strictEqual(ran.out, "")
        assert.match(ran.err.trim(), sentence)
        assert.notInclude(ran.err.trim(), "\n")
        assert.notMatch(ran.err, /hidden|sk-test-secret|\bat .*\.ts:/)
        assert.strictEqual(ran.code, code)
      }))
  }

  it.live("a run or a request that is not there", () =>
    Effect.gen(function*() {
      const place = ["--database-url", Redacted.value((yield* freshPostgres()).url)]
      const commands = [
        ["show", "abc"], ["show", id], ["cancel", id], ["retry", id], ["resolve", id, "c1", "--happened"], ["send", id, "Hurry"], ["export", id],
        ["export", "abc"], ["replay", id]
      ]
      const scopes = [["budgets", "set", "everything", "1"], ["budgets", "set", "session:", "1"], ["budgets", "remove", ""]]
      for (const args of scopes) {
        const { code, err, out } = yield* conductor([...args, ...place])
        assert.deepStrictEqual([code, err, out], [2, `The scope "${args[2]}" is not known: write org, org:NAME, session:ID or run:ID.\n`, ""])
      }
      const run = yield* conductor(["budgets", "set", `run:${id}`, "1", ...place])
      assert.deepStrictEqual([run.code, run.err], [1, `There is no run "${id}".\n`])
      const none = yield* conductor(["budgets", "remove", "org", ...place])
      assert.deepStrictEqual([none.code, none.err], [1, "There is no budget of org:local: see conductor budgets --all.\n"])
      for (const args of commands) {
        const { code, err, out } = yield* conductor([...args, ...place])
        assert.deepStrictEqual([code, err, out], [1, `There is no run "${args[1]}".\n`, ""])
      }
      for (const verb of ["approve", "deny"]) {
        const { code, err, out } = yield* conductor([verb, "abc", ...place])
        assert.deepStrictEqual([code, err, out], [1, `There is no request for approval "abc": see "conductor approvals".\n`, ""])
      }
    }), 180_000)

  it.live("a prompt of ten million characters, or of more than the program reads", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const long = yield* conductor(["run", "-", "--data-dir", dir], { env: key, stdin: "x".repeat(10_000_000) })
      assert.deepStrictEqual([long.code, long.out], [2, ""])
      assert.match(long.err, /^The input for the agent "assistant" cannot be used: it has 10\.0 million characters, and 2 million is the most/)
      assert.strictEqual((yield* conductor(["runs", "--json", "--data-dir", dir])).out, "")
      const chunk = new Uint8Array(1_000_000)
      const longer = yield* conductor(["run", "-"], { env: key, stdin: Array.from({ length: 100 }, () => chunk) })
      assert.deepStrictEqual([longer.code, /longer than 64 MB/.test(longer.err)], [2, true])
    }), 180_000)

  it.live("no key for a model", () =>
    Effect.gen(function*() {
      const none = yield* conductor(["run", "Hi"])
      assert.deepStrictEqual([none.code, none.out], [1, ""])
      assert.match(none.err, /^No key for a model is set: put ANTHROPIC_API_KEY=….*"conductor demo", which needs none\.\n$/)
      const named = yield* conductor(["run", "Hi"], { env: { CONDUCTOR_MODEL: "anthropic:claude-haiku-4-5" } })
      assert.match(named.err, /^ANTHROPIC_API_KEY is not set, and anthropic:claude-haiku-4-5 needs it/)
      const odd = yield* conductor(["run", "Hi"], { env: { CONDUCTOR_MODEL: "openai:o3" } })
      assert.strictEqual(odd.code, 2)
    }))

  it.live("settings and a catalogue that cannot be used", () =>
    Effect.gen(function*() {
      const setting = yield* conductor(["runs", "--data-dir", scratchPath("setting")], { env: { CONDUCTOR_DATABASE_TIMEOUT: "soon" } })
      assert.strictEqual(setting.code, 1)
      assert.match(setting.err, /^A setting cannot be used: [^\n]*CONDUCTOR_DATABASE_TIMEOUT[^\n]*\n$/)
      const file = `${scratchPath("catalogue")}.json`
      fs.writeFileSync(file, "{ nonsense")
      const catalogue = yield* conductor(["models"], { env: { CONDUCTOR_CATALOG: file } })
      assert.deepStrictEqual([catalogue.code, catalogue.out], [1, ""])
      assert.match(catalogue.err, /^The catalogue file .* \(CONDUCTOR_CATALOG\) cannot be used: [^\n]*\n$/)
    }))
})

describe("help and lists", () => {
  it.live("go to standard output", () =>
    Effect.gen(function*() {
      for (const args of [["--help"], ["run", "--help"], [], ["audit"], ["--version"], ["models"], ["tools"], ["models", "--json"], ["tools", "--json"]]) {
        const { code, err, out } = yield* conductor(args)
        assert.strictEqual(code, 0, args.join(" "))
        assert.notStrictEqual(out, "")
        assert.strictEqual(args[0] === "models" ? "" : err, "")
      }
      const models = yield* conductor(["models"])
      assert.match(models.out, /\nanthropic:claude-sonnet-5-5 .*\$/)
      assert.notMatch(models.out, /openai|gpt-|scripted/)
      assert.isTrue((yield* conductor(["models", "--json"])).lines.every((line) => typeof line["ref"] === "string"))
      assert.match((yield* conductor(["tools"])).out, /\nsql_query +data +pure +assistant /)
      assert.strictEqual((yield* conductor(["--version"], { terminal: true })).out.includes("\u001B["), true)
    }))

  it.live("read .env from the working directory, and say what makes no sense in it", () =>
    Effect.gen(function*() {
      const dir = scratchPath("dotenv")
      fs.mkdirSync(dir)
      const before = process.cwd()
      yield* Effect.acquireUseRelease(
        Effect.sync(() => process.chdir(dir)),
        Effect.fnUntraced(function*() {
          fs.writeFileSync(".env", "CONDUCTOR_DEBUG=1\nwhat is this\n")
          const one = yield* conductor(["run", "Hi", "--model", "openai:o3"])
          assert.match(one.err, /^Line 2 of \.env is not of the form NAME=value, and ignored: correct \.env or begin such a line with #\.\nThe model .*\n.*ForbiddenModel/)
          fs.writeFileSync(".env", "a b\nc d\ne f\ng h\ni j\nk l\n")
          assert.match((yield* conductor(["tools"])).err, /^Lines 1, 2, 3, 4, 5 … of \.env are not/)
          fs.rmSync(".env")
          fs.mkdirSync(".env")
          assert.match((yield* conductor(["tools"])).err, /^\.env cannot be read \(\w+\) and is ignored\.\n$/)
        }),
        () => Effect.sync(() => process.chdir(before))
      )
    }))
})
