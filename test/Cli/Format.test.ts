import { assert, describe, it } from "@effect/vitest"
import { cost, counted, duration, parameters, shorten, table, time, tokens } from "../../src/Cli/Format.ts"
import { usd, zero } from "../../src/Money.ts"

describe("Format", () => {
  it("shortens to one line, by characters", () => {
    assert.strictEqual(shorten("  a\n b\tc ", 20), "a b c")
    assert.strictEqual(shorten("abcdefgh", 5), "abcd…")
    assert.strictEqual(shorten("🌍🌍🌍🌍🌍🌍", 3), "🌍🌍…")
  })

  it("writes durations, counts, times and costs for people", () => {
    assert.deepStrictEqual([0.4, 12, 999, 1_000, 59_900, 59_960, 125_000, 3_599_400, 3_599_600, 86_340_000, 7 * 86_400_000 - 3_600_000].map(duration), [
      "0 ms", "12 ms", "999 ms", "1.0 s", "59.9 s", "1 min 0 s", "2 min 5 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "6 d 23 h"
    ])
    assert.deepStrictEqual([counted(1, "turn"), counted(0, "turn"), counted(1_234, "row")], ["1 turn", "0 turns", "1,234 rows"])
    assert.strictEqual(time(0), "1970-01-01 00:00:00")
    assert.strictEqual(cost(usd("0.5"), true), "$0.5000")
    assert.strictEqual(cost(zero, false), "no known price")
    assert.strictEqual(cost(usd("0.5"), false), "$0.5000 and what has no known price")
    const used = { uncached: 1_000, cacheRead: 0, cacheWrite: 3, cacheWriteHour: 1, output: 200, reasoning: 50 }
    assert.strictEqual(tokens(used), "1,204 tokens (1,004 in, 200 out)")
    assert.strictEqual(tokens({ ...used, cacheRead: 9_000 }), "10,204 tokens (10,004 in, 89% cached, 200 out)")
    assert.strictEqual(tokens({ ...used, cacheRead: 1 }), "1,205 tokens (1,005 in, <1% cached, 200 out)")
  })

  it("shows parameters by name, and other text as it is", () => {
    assert.strictEqual(parameters(`{"query":"SELECT\\n 1","max_rows":5}`, 60), "query: SELECT 1, max_rows: 5")
    assert.strictEqual(parameters("[1,2]", 60), "[1,2]")
    assert.strictEqual(parameters("null", 60), "null")
    assert.strictEqual(parameters(`{"cut":`, 60), `{"cut":`)
  })

  it("sets tables", () => {
    assert.deepStrictEqual(table(["NAME", ">N", "REST"], [["a", "1", "x"], ["long name", "22", ""], ["b"]]), [
      "NAME        N  REST", "a           1  x", "long name  22", "b"
    ])
  })
})
