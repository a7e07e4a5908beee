import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { Model } from "../../src/index.ts"
import { conductor } from "../support/cli.ts"
import { scratchPath } from "../support/databases.ts"

const env = { ANTHROPIC_API_KEY: "sk-test-secret" }

describe("conductor models", () => {
  it.effect("lists what each model costs, what it is good at, and whether its provider has a key", () =>
    Effect.gen(function*() {
      const { code, err, out } = yield* conductor(["models"], { env })
      assert.strictEqual(code, 0)
      assert.match(out, /^MODEL +KEY +BUDGET +INPUT +OUTPUT +CACHED +CONTEXT +CODE +REAS +AGNT +FAST +LONG +VISN +LANG +GEN\n/)
      assert.match(out, /\nanthropic:claude-sonnet-5-5 +yes +standard +\$2 +\$10 +\$0\.1 +1M +8 +8 +8 +6 +8 +8 +8 +8\n/)
      assert.match(out, /\nopenrouter:moonshotai\/kimi-k2\.6 +no +standard +\$0\.65 +\$3\.41 +\$0\.15 +262k +6 +6 +6 +– +– +6 +6 +6\n/)
      assert.match(err, /^Dollars per million tokens; prices of @earendil-works\/pi-ai@[\d.]+ 2026-\d\d-\d\d\. Strengths from 1 to 10, assigned by hand, at coding, .*\. Without a key: google \(GEMINI_API_KEY\), openrouter \(OPENROUTER_API_KEY\)\.\n$/)
    }))

  it.effect("gives everything as JSON, a model a line", () =>
    Effect.gen(function*() {
      const { lines } = yield* conductor(["models", "--json"], { env })
      const sonnet = lines.find((line) => line["ref"] === "anthropic:claude-sonnet-5-5")
      assert.deepInclude(sonnet, { budget: "standard", ready: true, date: "2026-11-10" })
      assert.deepInclude(sonnet?.["tasks"], { coding: 8, "long-context": 8 })
      assert.deepInclude(sonnet?.["prices"], { input: "2", output: "10", webSearch: "10" })
      assert.isTrue(lines.filter((line) => String(line["ref"]).startsWith("google:")).every((line) => line["ready"] === false))
    }))

  it.effect("lists the models of one's own file among them", () =>
    Effect.gen(function*() {
      const file = scratchPath("mine.json")
      fs.writeFileSync(file, JSON.stringify({ models: [{ ref: "anthropic:mine", prices: { input: "0.5", output: "0.5" }, tasks: { coding: 10 } }, { ref: "local:bare" }] }))
      const mine = { ...env, CONDUCTOR_CATALOG: file }
      const { out } = yield* conductor(["models"], { env: mine })
      assert.match(out, /\nanthropic:mine +yes +budget +\$0\.5 +\$0\.5 +– +128k +10 +– +–/)
      assert.match(out, /\nlocal:bare +no +– +– +– +– +128k +– +–/)
      const picked = yield* conductor(["models", "pick", "--task", "coding", "--budget", "budget"], { env: mine })
      assert.match(picked.out, /^anthropic:mine\nanthropic:mine is the strongest at coding \(10 of 10\)/)
    }))
})

describe("conductor models pick", () => {
  it.effect("prints the model, why it is that one, its price, and those that come next", () =>
    Effect.gen(function*() {
      const { code, err, out } = yield* conductor(["models", "pick", "--task", "coding"], { env })
      assert.strictEqual(code, 0)
      assert.match(
        out,
        /^anthropic:claude-sonnet-5-5\nanthropic:claude-sonnet-5-5 is the strongest at coding \(8 of 10\) of the 5 models that fit, at \$2 in and \$10 out per million tokens \(standard\)\. Next is anthropic:claude-sonnet-5: weaker, with 7 of 10 at coding, at [^\n]*\n\nMODEL +STRENGTH +BUDGET +INPUT +OUTPUT +CACHED\nanthropic:claude-sonnet-5-5 +8 +standard +\$2 +\$10 +\$0\.1\nanthropic:claude-sonnet-5 +7 /
      )
      assert.match(err, /prices of @earendil-works\/pi-ai@[\d.]+ .*\. \d+ models would not; --json says why\.\n$/)
      const cheap = yield* conductor(["models", "pick", "--task", "coding", "--budget", "budget"], { env })
      assert.match(cheap.out, /^anthropic:claude-haiku-5-5\n/)
    }))

  it.effect("gives all of it as one line of JSON, with why each other model was not chosen", () =>
    Effect.gen(function*() {
      const { lines, out } = yield* conductor(["models", "pick", "--task", "agents", "--budget", "premium", "--vision", "--reasoning", "--json"], { env })
      assert.strictEqual(out.split("\n").length, 2)
      assert.strictEqual(lines[0]?.["ref"], "anthropic:claude-opus-5-5")
      assert.include(lines[0]?.["reason"], "the strongest at agents (9 of 10)")
      const considered = lines[0]?.["considered"] as ReadonlyArray<{ readonly ref: string; readonly fits: boolean; readonly why: string }>
      assert.deepInclude(considered.find(({ ref }) => ref === "anthropic:claude-fable-5-2"), { fits: false, why: "it costs $8 in and $40 out per million tokens (flagship)" })
      assert.deepInclude(considered.find(({ ref }) => ref === "anthropic:claude-sonnet-5-5"), { fits: true })
      assert.isFalse(considered.some(({ ref }) => ref === "anthropic:claude-opus-5-5"))
    }))

  it.effect("heeds preferences in their order, where what is preferred fits", () =>
    Effect.gen(function*() {
      const { out } = yield* conductor(["models", "pick", "--task", "coding", "--prefer", "anthropic:claude-fable-5-2, anthropic:claude-haiku-5-5, claude"], { env })
      assert.match(out, /^anthropic:claude-haiku-5-5\n.* is preferred \("anthropic:claude-haiku-5-5"\)/)
    }))

  it.effect("knows every task and budget of the catalogue", () =>
    Effect.gen(function*() {
      const { err: tasks } = yield* conductor(["models", "pick", "--task", "?"], { env })
      for (const task of Model.Task.literals) assert.include(tasks, `"${task}"`)
      const { err: budgets } = yield* conductor(["models", "pick", "--task", "fast", "--budget", "?"], { env })
      for (const budget of Model.BudgetTier.literals) assert.include(budgets, `"${budget}"`)
    }))

  for (const [args, code, sentence] of [
    [["pick"], 2, /^Missing required flag: --task\. See "conductor models pick --help"\.$/],
    [["pick", "--task", "cooking"], 2, /^Invalid value for flag --task: "cooking"\. Expected: "coding" \| /],
    [["pick", "--task", "coding", "--budget", "cheap"], 2, /^Invalid value for flag --budget: "cheap"\. Expected: "free" \| /],
    [["pick", "--task", "coding", "--prefer", " , "], 2, /^Invalid value for flag --prefer: " , "\. Expected names such as deepseek,qwen\. See/],
    [["pick", "--task", "coding", "--prefer", "claude,mistral"], 2, /^Nothing in the catalogue goes by "mistral": prefer a provider \(anthropic, google, openrouter\), a maker \(claude, deepseek, gemini, kimi, qwen\), or a model as conductor models lists it\.$/],
    [["pick", "--task", "coding", "--prefer", "openai"], 2, /^The model "openai" is an OpenAI model or may choose one, which Conductor never uses/],
    [["pick", "--task", "coding", "--prefer", "openrouter:openrouter/auto"], 2, /which Conductor never uses/],
    [["pick", "--task", "coding", "--no-vision"], 2, /^Unrecognized flag: --no-vision/],
    [["pick", "--task", "vision", "--budget", "free"], 1, /^No model of the catalogue fits the task "vision" on the budget "free" as asked: the nearest is openrouter:google\/gemma-4-31b-it:free, and openrouter has no key; set OPENROUTER_API_KEY\.$/]
  ] as const) {
    it.effect(`says in a sentence what is wrong with ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const ran = yield* conductor(["models", ...args], { env })
        assert.deepStrictEqual([ran.code, ran.out], [code, ""])
        assert.match(ran.err.trimEnd(), sentence)
      }))
  }
})
