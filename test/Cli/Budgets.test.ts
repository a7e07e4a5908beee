import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { paintOf } from "../../src/Cli/Output.ts"
import { timeline } from "../../src/Cli/Timeline.ts"
import { humanView } from "../../src/Cli/View.ts"
import { fold, type RunState } from "../../src/Run.ts"
import { Export } from "../../src/testing.ts"
import { conductor, queries, says } from "../support/cli.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { replay } from "../support/replay.ts"

const places = [
  { name: "pglite", place: Effect.map(freshDirectory, (dir) => ({ CONDUCTOR_DATA_DIR: dir })) },
  { name: "postgres", place: Effect.map(freshPostgres(), ({ url }) => ({ DATABASE_URL: Redacted.value(url) })) }
]

describe("a budget that is nearly used up", () => {
  it.effect("is told where the run is watched and shown", () =>
    Effect.gen(function*() {
      const { events, run } = yield* Export.parse(fs.readFileSync(path.join(import.meta.dirname, "../logs/0.2.0-budget-warning.json"), "utf8"))
      const log = Export.logOf(run, events)
      const state = log.reduce<RunState | undefined>(fold, undefined)
      assert.isDefined(state)
      const view = humanView(paintOf(false))
      const told = [
        "! 82 % of the budget of org:local is spent: $0.0902 of $0.1100 for this month, until 2026-12-01 00:00 UTC",
        "! 80 % of the budget of session:warned is spent: $0.0902 of $0.1125"
      ]
      const watched = log.map(view.next).join("")
      const shown = timeline(log, state, paintOf(false), 0).join("\n")
      for (const line of told) {
        assert.include(watched, line)
        assert.include(shown, line)
      }
    }))
})

describe("conductor budgets", () => {
  for (const { name, place } of places) {
    it.live(`sets, lists and removes what may be spent, and a run that is not covered says so (${name})`, () =>
      Effect.gen(function*() {
        const server = yield* replay(queries("SELECT 1"), says("One."))
        const env = { ...(yield* place), ANTHROPIC_API_KEY: "sk-test", ANTHROPIC_BASE_URL: server.url }
        const cli = (...args: ReadonlyArray<string>) => conductor(args, { env })
        assert.match((yield* cli("budgets")).out, /^There are no budgets here: set one with conductor budgets set org 100 --period month/)

        const set = yield* cli("budgets", "set", "org", "$2.5", "--period", "month")
        assert.deepStrictEqual([set.code, set.out, set.err], [0, "✓ org:local may spend $2.5 a month: $0 spent, $0 reserved, $2.5 left\n", ""])
        assert.strictEqual((yield* cli("budgets", "set", "session:s1", "1")).code, 0)
        yield* cli("run", "How many?", "--session", "s1", "--budget", "0.40")

        const [org, session, ...none] = (yield* cli("budgets", "--json")).lines
        assert.deepStrictEqual(none, [])
        assert.deepStrictEqual([org?.["scope"], org?.["limit"], org?.["period"], org?.["reserved"]], ["org:local", "2.5", "month", "0"])
        assert.deepStrictEqual([session?.["scope"], session?.["limit"], session?.["spent"], session?.["until"]], ["session:s1", "1", org?.["spent"], null])
        const table = yield* cli("budgets", "--all")
        assert.match(table.out, /^SCOPE +PERIOD +LIMIT +SPENT +RESERVED +LEFT +USED +NEXT PERIOD \(UTC\)\norg:local +month +\$2\.50 +\$0\.\d+ +\$0\.00 +\$2\.\d+ +\d[\d.]* % +\d{4}-\d\d-01 00:00:00\nrun:\S+ +none +\$0\.40 /)
        assert.strictEqual((yield* cli("budgets")).out.includes("run:"), false)

        // Without --period a budget keeps what it has.
        const lower = yield* cli("budgets", "set", "org", "0", "--json")
        assert.deepStrictEqual([lower.lines[0]?.["period"], lower.lines[0]?.["excess"]], ["month", org?.["spent"]])
        const above = yield* cli("budgets")
        assert.match(above.err, /^Above the limit, because requests were dearer than expected or the limit was lowered: org:local by \$0\.\d+\.\n$/)
        const refused = yield* cli("run", "How many?")
        assert.strictEqual(refused.code, 1)
        assert.match(refused.err, /^The budget of org:local for this month does not cover the next request: limit 0 USD, .* Or wait until \d{4}-\d\d-01 00:00 UTC, when the next month begins\. Go on/)

        assert.strictEqual((yield* cli("budgets", "remove", "org")).out, "✓ org:local has no limit any more\n")
        assert.strictEqual((yield* cli("budgets", "remove", "session:s1")).code, 0)
        assert.match((yield* cli("budgets")).out, /^There are no budgets here/)
        const rows = (yield* cli("audit", "list", "--json")).lines.filter((row) => row["action"] === "admin")
        assert.deepStrictEqual(rows.map((row) => [row["tool"], row["target"]]).toReversed(), [
          ["budget.set", "org:local"], ["budget.set", "session:s1"], ["budget.set", "org:local"], ["budget.remove", "org:local"], ["budget.remove", "session:s1"]
        ])

        const other = yield* cli("budgets", "set", "org:acme", "7")
        assert.strictEqual(other.out, "✓ org:acme may spend $7: $0 spent, $0 reserved, $7 left\n")
      }), 60_000)
  }
})
