import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { RunLive, type RunLogged, type RunView } from "../../src/Api.ts"
import * as show from "../../src/dashboard/show.js"
import * as timeline from "../../src/dashboard/timeline.js"
import { dollars, duration, percent, plain } from "../../src/dashboard/tree.js"
import type { Tree } from "../../src/dashboard/tree.js"
import { RunEvent } from "../../src/Run.ts"

const evil = `<script>alert(1)</script><img src=x onerror="alert(1)">`

/** Every text that is to be seen, in order. */
const textOf = (trees: ReadonlyArray<Tree>): string => trees.map((tree) => typeof tree === "string" ? tree : textOf(tree.children)).join("")

const all = (trees: ReadonlyArray<Tree>): ReadonlyArray<Exclude<Tree, string>> =>
  trees.flatMap((tree) => typeof tree === "string" ? [] : [tree, ...all(tree.children)])

/** What no part of a page may be, whatever is shown: nothing that runs, loads or leads elsewhere. */
const harmless = (trees: ReadonlyArray<Tree>) => {
  for (const { attributes, tag } of all(trees)) {
    assert.include(["a", "article", "button", "code", "dd", "dl", "dt", "h3", "input", "label", "li", "p", "pre", "progress", "span", "table", "tbody", "td", "th", "thead", "time", "tr"], tag)
    for (const [name, value] of Object.entries(attributes)) {
      assert.notMatch(name, /^on|^style$|^src$/)
      if (name === "href") assert.match(value, /^#run\/[\w%.-]*$/)
      if (name === "class") assert.match(value, /^[\w -]+$/)
    }
  }
}

const run = "01a20000-0000-7000-8000-000000000001"

const row = {
  run, session: evil, agent: evil, model: evil, status: "failed", turns: 2, inputTokens: 3, outputTokens: 4, cost: "0.000123", priced: false, error: evil,
  parked: null, createdAt: 1_795_417_775_312, endedAt: null
} as const

const usage = { uncached: 1_000, cacheRead: 200, cacheWrite: 30, cacheWriteHour: 4, output: 5, reasoning: 0 }

describe("What the dashboard shows", () => {
  it("says what to do where there is nothing", () => {
    const empty = [
      show.runs({ runs: [], next: null }), show.approvals({ approvals: [] }), show.spending("Model")({ lines: [], cost: "0" }), show.budgets({ budgets: [] }),
      show.tools({ tools: [] }), show.errors({ runs: { total: 0, failed: 0, rate: 0, byError: [] }, models: [], tools: [], latest: [] })
    ]
    assert.deepStrictEqual(empty.map(textOf), [
      "No run yet: start one with the curl line that conductor serve prints.",
      "Nothing waits for a decision.",
      "Nothing was spent in these 30 days: what runs cost is shown here.",
      "No budget is set: conductor budgets set org 25 --period month sets one.",
      "No tool was called in these 30 days: GET /v1/tools lists those that agents have.",
      "Nothing has failed."
    ])
  })

  it("shows runs, with what they wait for or failed with", () => {
    const shown = show.runs({ runs: [row, { ...row, run: run.replace(/1$/, "2"), status: "parked", error: null, parked: "approval", priced: true }], next: run })
    harmless(shown)
    const text = textOf(shown)
    assert.include(text, `failed: ${evil}`)
    assert.include(text, "parked: approval")
    assert.include(text, "$0.000123 + unpriced")
    assert.include(text, "2026-11-23 07:09:35")
    assert.include(text, "These are the latest 2")
    assert.deepStrictEqual(all(shown).flatMap(({ attributes }) => attributes["href"] ?? []), [`#run/${run}`, `#run/${run.replace(/1$/, "2")}`])
  })

  it("shows what a decision is about as it is, and binds the decision to it", () => {
    const request = {
      id: `${run}.1.1`, run, agent: "clerk", tool: evil, call: "c", parameters: { to: `ada\u202Emoc.elpmaxe`, text: evil }, digest: "d".repeat(64),
      createdAt: 0, expiresAt: 86_400_000
    }
    const shown = show.approvals({ approvals: [request, { ...request, id: "other", parameters: null }] })
    harmless(shown)
    assert.include(textOf(shown), String.raw`"to": "ada\u202emoc.elpmaxe"`)
    assert.include(textOf(shown), JSON.stringify(evil))
    assert.include(textOf(shown), "The parameters were erased.")
    const [article] = all(shown)
    assert.deepInclude(article?.attributes, { "data-approval": request.id, "data-digest": request.digest })
    assert.deepStrictEqual(all(shown).flatMap(({ attributes }) => attributes["data-decision"] ?? []), ["approved", "denied", "approved", "denied"])
  })

  it("adds up spending, most first, or the last day first", () => {
    const line = (key: string | null, cost: string) => ({ key, calls: 2, failed: 1, cost, unpriced: 0, reported: null, priced: null, bound: null, usage })
    const answer = { lines: [line("2026-11-22", "9.5"), line("2026-11-23", "10"), line(null, "0.1")], cost: "19.6" }
    const keys = (what: string) => all(show.spending(what)(answer)).filter(({ tag }) => tag === "tr").map(({ attributes }) => attributes["key"]).slice(1)
    assert.deepStrictEqual(keys("Model"), ["2026-11-23", "2026-11-22", ""])
    assert.deepStrictEqual(keys("Day"), ["2026-11-23", "2026-11-22", ""])
    const text = textOf(show.spending("Day")(answer))
    for (const part of ["1,234 in, 5 out", "$9.50", "$0.10", "Together $19.60"]) assert.include(text, part)
  })

  it("shows how much of a budget is used, also where it is more than all", () => {
    const budget = { scope: "org:local", limit: "25", period: "month", since: null, until: null, spent: "24.9", reserved: "0.3", excess: "0", share: 1.008 } as const
    const shown = show.budgets({ budgets: [budget, { ...budget, scope: evil, period: "none", spent: "0.001", excess: "0.5", share: 0.000_04 }] })
    harmless(shown)
    for (const part of ["$25.00 a month", "100 %", "$24.90", "$0.30", "for good", "<1 %", "$0.50 beyond the price list"]) assert.include(textOf(shown), part)
    assert.deepStrictEqual(all(shown).filter(({ tag }) => tag === "progress").map(({ attributes }) => attributes["value"]), ["1", "0.00004"])
  })

  it("shows how tools do, the latest errors, and whether the trail holds", () => {
    const tools = show.tools({ tools: [{ tool: "boom", calls: 3, failed: 1, timeMs: 30, cost: "0" }, { tool: "new", calls: 0, failed: 0, timeMs: 0, cost: "0" }, { tool: null, calls: 1, failed: 0, timeMs: 0, cost: "0" }] })
    for (const part of ["33 %", "10 ms"]) assert.include(textOf(tools), part)
    assert.notInclude(textOf(tools), "NaN")
    const errors = show.errors({
      runs: { total: 4, failed: 1, rate: 0.25, byError: [] }, models: [], tools: [],
      latest: [{ at: 0, action: "tool_call", what: "boom", run, error: evil }, { at: 0, action: "admin", what: "x", run: null, error: null }]
    })
    harmless(errors)
    for (const part of ["1 run of 4 failed in these 30 days (25 %).", "tool call boom", evil, "no more is known"]) assert.include(textOf(errors), part)
    const head = { n: 36, hash: "ab" }
    assert.include(textOf(show.audit({ rows: 36, head, broken: null })), "verified 36 rows, none of them changed or missing. The end, to keep elsewhere: 36:ab")
    assert.include(textOf(show.audit({ rows: 1, head, broken: { message: "Row 2 was changed." } })), "broken Row 2 was changed. 1 row before it is sound.")
  })

  it("never makes a page of text", () => {
    const folder = path.resolve(import.meta.dirname, "../../src/dashboard")
    for (const file of fs.readdirSync(folder).filter((name) => name.endsWith(".js"))) {
      const text = fs.readFileSync(path.join(folder, file), "utf8")
      assert.notMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML|\beval\b|new Function|\.cookie\b|localStorage|sessionStorage/, file)
    }
  })

  it("writes numbers so that nothing is hidden", () => {
    assert.deepStrictEqual(["0", "1234.5", "1", "0.1", "0.5", "0.012", "0.00016", "0.0000001234", "-0.02", "0.000000000001"].map(dollars), [
      "$0.00", "$1234.50", "$1.00", "$0.10", "$0.50", "$0.012", "$0.00016", "$0.000000123", "$-0.02", "$0.000000000001"
    ])
    assert.deepStrictEqual([0, 0.001, 0.29, 0.999, 1, 1.5].map(percent), ["0 %", "<1 %", "29 %", "99 %", "100 %", "150 %"])
    assert.deepStrictEqual([5, 1_500, 61_000, 7_260_000].map(duration), ["5 ms", "1.5 s", "1 min 1 s", "2 h 1 min"])
    assert.strictEqual(plain("a\u0000b\u200Bc\nd\te"), String.raw`a\u0000b\u200bc` + "\nd\te")
  })
})

describe("A run on the dashboard", () => {
  it("is followed by every kind of event that there is", () => {
    assert.sameMembers(timeline.kinds, Object.keys(RunEvent.cases))
    assert.deepStrictEqual(timeline.kinds.filter(timeline.isEnd), ["RunCompleted", "RunFailed", "RunCancelled"])
    const page = fs.readFileSync(path.resolve(import.meta.dirname, "../../src/dashboard/page.js"), "utf8")
    for (const kind of Object.keys(RunLive.cases)) assert.include(page, `source.addEventListener("${kind}"`)
  })

  it.effect.prop("is told whatever happens in it, in words, and as text", { event: Arbitrary.schema(Schema.toEncoded(RunEvent)) }, ({ event }) =>
    Effect.sync(() => {
      const entry = timeline.entry({ run, seq: 3, epoch: 1, at: row.createdAt, event })
      harmless([entry])
      assert.match(textOf([entry]), /^3 2026-11-23 07:09:35 [^]*[a-z]/)
      assert.notInclude(textOf([entry]), "undefined")
      assert.notInclude(textOf([entry]), "[object")
    }), { arbitrary: { runs: 300 } })

  it("tells what was said as it was said", () => {
    const bill = {
      model: "m:x", usage, cost: "0.5", source: "priced", providerRequestId: null, requestedAt: 0, latencyMs: 1_500, firstTokenMs: null
    }
    const told = (event: object) => textOf([timeline.entry({ run, seq: 3, epoch: 1, at: 0, event } as unknown as typeof RunLogged.Encoded)]) // the parts that are told
    const parts = [{ type: "text", text: evil }, { type: "tool-call", id: "c", name: "weather", arguments: `{"city":"Lisbon"}` }]
    assert.include(told({ _tag: "TurnCompleted", v: 1, turn: 1, parts, bill }), `turn 1: m:x, 1.5 s, 1,234 in, 5 out, $0.50${evil}\n→ weather {"city":"Lisbon"}`)
    assert.include(told({ _tag: "RunStarted", v: 1, principal: "key:1", input: JSON.stringify("hello\u202E") }), String.raw`asked by key:1hello\u202e`)
    assert.include(told({ _tag: "RunFailed", v: 1, error: { _tag: "BudgetExceeded", scope: "org:local", limit: "1" } }), "failed: BudgetExceeded (scope org:local, limit 1)")
    assert.include(told({ _tag: "ChildEnded", v: 1, child: run, call: "c", cost: "1" }), `child ended{"child"`)
    assert.include(told({ _tag: "RunCompleted", v: 1 }), "run completed")
  })

  it("stands as the API says", () => {
    const view = {
      run, session: "s", agent: "clerk", model: "m:x", status: "cancelled", seq: 9, steps: [], turns: 2, usage, cost: "0.5", priced: true, limits: {}, text: evil,
      output: null, error: { _tag: "ModelRefused", note: evil }, waiting: null, cancelled: { by: "ada", reason: "enough" }, metadata: {}, createdAt: 0, endedAt: 61_000
    } as unknown as typeof RunView.Encoded // what is shown of it
    const shown = timeline.head(view)
    harmless(shown)
    for (const part of ["cancelled", "1970-01-01 00:01:01", "after 1 min 1 s", "$0.50", `ModelRefused (note ${evil})`, "by ada: enough", evil]) {
      assert.include(textOf(shown), part)
    }
    const waiting = timeline.head({ ...view, status: "parked", endedAt: null, error: null, text: null, cancelled: null, waiting: { reason: "approval", approvals: [], unknown: [] } })
    assert.include(textOf(waiting), "parked: approval")
    assert.deepStrictEqual([timeline.tally(1, 0), timeline.tally(1_000, 7)], ["1 event", "The latest 1000 of 1007 events: conductor show tells all."])
  })
})
