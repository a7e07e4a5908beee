import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { csv } from "../../src/Cli/Csv.ts"
import { sourcesOf, timeOf } from "../../src/Cli/Costs.ts"
import { nothing } from "../../src/Ledger.ts"
import { usd } from "../../src/Money.ts"
import { conductor, queries, says } from "../support/cli.ts"
import { freshPostgres } from "../support/databases.ts"
import { replay } from "../support/replay.ts"

const now = Date.UTC(2026, 10, 22, 12)

describe("conductor cost", () => {
  it.live("shows what runs cost as a table, as JSON and as CSV, each by the same figures", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const server = yield* replay(queries("SELECT 1"), says("One."))
      const env = { DATABASE_URL: Redacted.value(url), ANTHROPIC_API_KEY: "sk-test", ANTHROPIC_BASE_URL: server.url }
      const cli = (...args: ReadonlyArray<string>) => conductor(args, { env })
      assert.include((yield* cli("cost")).out, "Nothing was spent in that time")
      assert.strictEqual((yield* cli("cost", "--json")).out, "")
      assert.match((yield* cli("cost", "--by", "day", "--csv")).out, /^day,cost_usd,[a-z_,]*\r\n$/)

      yield* cli("run", "How many?", "--session", "=1+1")
      const [model] = (yield* cli("cost", "--json")).lines
      assert.strictEqual(model?.["calls"], 2)
      assert.strictEqual(model?.["cost_usd"], model?.["priced_usd"])
      const cost = String(model?.["cost_usd"])
      assert.match(cost, /^0\.\d+$/)

      const shown = yield* cli("cost", "--by", "agent", "--since", "1h")
      assert.match(shown.out, /^AGENT +COST +CALLS .* FROM\nassistant +\$0\.\d+ +2 +0 .* priced\ntotal +\$0\.\d+ +2 +0 .* priced\n$/)
      assert.include(shown.out, `$${cost}`)
      assert.strictEqual(shown.err, "")

      const sessions = yield* cli("cost", "--by", "session", "--csv")
      const [names = "", line = "", ...more] = sessions.out.split("\r\n")
      assert.deepStrictEqual(more, [""])
      assert.deepStrictEqual(names.split(",").slice(0, 2), ["session", "cost_usd"])
      assert.deepStrictEqual(line.split(",").slice(0, 2), ["'=1+1", cost])

      const tools = yield* cli("cost", "--by", "tool")
      assert.match(tools.out, /^TOOL +COST +CALLS +FAILED +TIME\nsql_query +\$\S+ +1 +0 .*\n\(no tool\) +\$\S+ +0 +0 +0 ms\ntotal +\$\S+ +1 +0 .*\n$/)
      assert.include(tools.out.split("\n")[3], `$${cost}`)
    }))

  it.live("says in one sentence what it cannot read", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const env = { DATABASE_URL: Redacted.value(url) }
      const since = yield* conductor(["cost", "--since", "yesterday"], { env })
      assert.deepStrictEqual([since.code, since.out], [2, ""])
      assert.match(since.err, /^--since cannot be "yesterday": give a date or time such as .*\.\n$/)
      const both = yield* conductor(["cost", "--csv", "--json"], { env })
      assert.deepStrictEqual([both.code, both.err], [2, "--csv and --json exclude each other: give the one that you want.\n"])
      const by = yield* conductor(["cost", "--by", "colour"], { env })
      assert.strictEqual(by.code, 2)
      assert.match(by.err, /^[^\n]*org[^\n]*\n$/)
    }))

  it("reads times in UTC, with another offset, and so long ago", () => {
    const read = (text: string) => Option.map(timeOf(text, now), (time) => new Date(time).toISOString())
    assert.deepStrictEqual(read("2026-11-01"), Option.some("2026-11-01T00:00:00.000Z"))
    assert.deepStrictEqual(read("2026-11-01T08:30"), Option.some("2026-11-01T08:30:00.000Z"))
    assert.deepStrictEqual(read("2026-11-01 08:30:15+02:00"), Option.some("2026-11-01T06:30:15.000Z"))
    assert.deepStrictEqual(read("12h"), Option.some("2026-11-22T00:00:00.000Z"))
    assert.deepStrictEqual(read(" 7d "), Option.some("2026-11-15T12:00:00.000Z"))
    assert.deepStrictEqual(read("2w"), Option.some("2026-11-08T12:00:00.000Z"))
    for (const text of ["", "7", "d", "-7d", "7y", "2026-13-01", "2026-02-30", "2026-11-01T25:00", "22.11.2026", "now"]) {
      assert.isTrue(Option.isNone(timeOf(text, now)), text)
    }
  })

  it("quotes cells as RFC 4180 says, and keeps text from becoming a formula", () => {
    const cells = ["plain", "a,b", "say \"hi\"", "two\r\nlines", "=1+1", "+49", "-1", "@cmd", "\tx", "-1,2", ""]
    assert.strictEqual(
      csv(["name", "n"], cells.map((cell) => [cell, -1])),
      ["name,n", "plain,-1", "\"a,b\",-1", "\"say \"\"hi\"\"\",-1", "\"two\r\nlines\",-1", "'=1+1,-1", "'+49,-1", "'-1,-1", "'@cmd,-1", "'\tx,-1", "\"'-1,2\",-1", ",-1", ""].join("\r\n")
    )
  })

  it("says where figures are from", () => {
    const line = { ...nothing, cost: usd("10"), reported: usd("8"), bound: usd("1.999"), priced: usd("0.001"), unpriced: 3 }
    assert.strictEqual(sourcesOf(line), "reported 80 %, priced < 0.1 %, bound 20 %, 3 without a price")
    assert.strictEqual(sourcesOf({ ...nothing, cost: usd("1"), bound: usd("1") }), "bound")
    assert.strictEqual(sourcesOf(nothing), "")
  })
})
