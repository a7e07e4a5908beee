import { assert, layer } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Option, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as SqlClient from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import * as AuditLog from "../src/AuditLog.ts"
import * as Budget from "../src/Budget.ts"
import { asOrg } from "../src/Database.ts"
import * as Inbox from "../src/Inbox.ts"
import { type By, cacheHitRate, Ledger, type Line, type Totals } from "../src/Ledger.ts"
import * as Money from "../src/Money.ts"
import { type Bill, ModelRef, OrgId, RunId, type Usage } from "../src/Run.ts"
import * as RunLog from "../src/RunLog.ts"
import { databases } from "./support/databases.ts"
import { makeRun } from "./support/runs.ts"

const usd = Money.usd
const gates = [Inbox.gate, Budget.gate]
const projections = [Inbox.projection, Budget.projection, AuditLog.projection]

/** The ledger on every store, with the log that it is written from. */
const stores: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Ledger | Budget.Budget | RunLog.RunLog, unknown> }> = [
  {
    name: "memory",
    layer: Layer.mergeAll(Ledger.layerMemory, Budget.Budget.layerMemory).pipe(
      Layer.provideMerge(AuditLog.AuditLog.layerMemory),
      Layer.provideMerge(RunLog.RunLog.layerTables(gates, projections)),
      Layer.provideMerge(RunLog.Tables.layer),
      Layer.provide(SecureRandom.layerWebCrypto)
    )
  },
  ...databases.map(({ layer, name }) => ({
    name,
    layer: Layer.mergeAll(Ledger.layer, Budget.Budget.layer).pipe(
      Layer.provideMerge(AuditLog.AuditLog.layer),
      Layer.provideMerge(RunLog.RunLog.layerSql(gates, projections)),
      Layer.provide(SecureRandom.layerWebCrypto),
      Layer.provideMerge(layer)
    )
  }))
]

const day = 86_400_000
/** Noon of 22 November 2026, UTC. */
const noon = Date.UTC(2026, 10, 22, 12)

type Run = ReturnType<typeof makeRun>

const append = (run: Run, ...[first, ...rest]: Parameters<Run["append"]>) =>
  Effect.flatMap(RunLog.RunLog, (log) => log.append(run.append(first, ...rest)))

const figures = ({ bound, calls, cost, failed, priced, reported, unpriced }: Totals) =>
  [cost, reported, priced, bound].map(Money.format).concat([calls, failed, unpriced].map(String)).join(" ")

const table = (lines: ReadonlyArray<Line>) => lines.map((line) => `${line.key} ${figures(line)}`)

const attemptOf = (run: Run) => run.state()?.attempt?.id ?? ""

for (const { layer: store, name } of stores) {
  layer(store, { excludeTestServices: true })(`Ledger (${name})`, (it) => {
    it.effect("adds up attempts by whom, by what and by when, with where each figure is from", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const org = OrgId.make(randomUUID())
        const one = makeRun({ org, session: "one", agent: "scout", model: "anthropic:claude", at: noon })
        yield* append(one, one.started(), ...one.turn({
          cost: "0.1",
          bill: { usage: { uncached: 10, cacheRead: 70, cacheWrite: 15, cacheWriteHour: 5, output: 40, reasoning: 25, webSearches: 2 } }
        }))
        yield* append(one, one.turnStarted(), one.attemptFailed("Lost", "gone", { cost: usd("0.02"), source: "bound" }))
        const two = makeRun({ org, session: "two", agent: "clerk", model: "openrouter:deepseek", at: noon + day })
        yield* append(two, two.started(), ...two.turn({ cost: "0.000000000001", bill: { source: "reported" } }), two.completed())
        const three = makeRun({ org, session: "two", agent: "clerk", model: "own:model", at: noon + day })
        yield* append(three, three.started(), ...three.turn({ cost: "0", bill: { source: "unpriced" } }), three.completed())
        yield* append(makeRun(), makeRun().started())

        assert.deepStrictEqual(table(yield* ledger.totals("org", { org })), [`${org} 0.120000000001 0.000000000001 0.1 0.02 4 1 1`])
        assert.deepStrictEqual(table(yield* ledger.totals("session", { org })), [
          "one 0.12 0 0.1 0.02 2 1 0",
          "two 0.000000000001 0.000000000001 0 0 2 0 1"
        ])
        assert.deepStrictEqual(table(yield* ledger.totals("agent", { org })).map((line) => line.split(" ")[0]), ["scout", "clerk"])
        assert.deepStrictEqual(table(yield* ledger.totals("model", { org })), [
          "anthropic:claude 0.12 0 0.1 0.02 2 1 0",
          "openrouter:deepseek 0.000000000001 0.000000000001 0 0 1 0 0",
          "own:model 0 0 0 0 1 0 1"
        ])
        assert.deepStrictEqual(table(yield* ledger.totals("day", { org })).map((line) => line.split(" ")[0]), ["2026-11-22", "2026-11-23"])
        const [scout] = yield* ledger.totals("agent", { org, until: noon + 31 })
        assert.deepStrictEqual(scout?.usage, { uncached: 10, cacheRead: 70, cacheWrite: 15, cacheWriteHour: 5, output: 40, reasoning: 25, webSearches: 2 })
        assert.strictEqual(scout === undefined ? 0 : cacheHitRate(scout), 0.7)
      }))

    it.effect("takes attempts from the beginning of a range on, and before its end", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const run = makeRun({ at: noon })
        yield* append(run, run.started(), ...run.turn({ cost: "1" }), ...run.turn({ cost: "2" }))
        const cost = (range: { readonly since?: number; readonly until?: number }) =>
          Effect.map(ledger.totals("org", { org: run.org, ...range }), (lines) => lines.map((line) => Money.format(line.cost)))
        const [first, second] = [noon + 30, noon + 50]
        assert.deepStrictEqual(yield* cost({}), ["3"])
        assert.deepStrictEqual(yield* cost({ since: first }), ["3"])
        assert.deepStrictEqual(yield* cost({ since: first + 1 }), ["2"])
        assert.deepStrictEqual(yield* cost({ until: second }), ["1"])
        assert.deepStrictEqual(yield* cost({ since: second + 1 }), [])
        assert.deepStrictEqual(yield* ledger.tools({ org: run.org, since: second + 1 }), [])
      }))

    it.effect("splits the cost of an answer among the tools that it called, and what is left is of no tool", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const run = makeRun({ at: noon })
        const calls = ["weather", "search", "weather"].map((name, index) => ({ id: String(index), name, arguments: "{}" }))
        yield* append(run, run.started(), run.turnStarted(), run.attemptFailed("Lost", "gone", { cost: usd("0.5"), source: "bound" }),
          ...run.turn({ cost: "0.00000000001", calls }))
        yield* append(run, ...run.tool("0", { durationMs: 20 }), ...run.tool("1", { outcome: "timeout", durationMs: 1_000 }),
          ...run.tool("2", { durationMs: 30 }), ...run.turn({ cost: "0.25" }), run.completed())
        const lines = yield* ledger.tools({ org: run.org })
        assert.deepStrictEqual(lines.map((line) => [line.tool, Money.format(line.cost), line.calls, line.failed, line.timeMs]), [
          ["weather", "0.000000000006", 2, 0, 50],
          ["search", "0.000000000003", 1, 1, 1_000],
          [null, "0.750000000001", 0, 0, 0]
        ])
      }))

    it.effect("puts a correction where its attempt is", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const run = makeRun({ at: noon, agent: "assistant" })
        yield* append(run, run.started(), run.turnStarted())
        const attempt = attemptOf(run)
        yield* append(run, run.attemptFailed("Lost", "gone", { cost: usd("0.5"), source: "bound" }))
        const usage: Usage = { uncached: 80, cacheRead: 60, cacheWrite: 0, cacheWriteHour: 0, output: 20, reasoning: 0, webSearches: 1 }
        yield* (yield* Budget.Budget).correct(run.org, attempt, { cost: usd("0.3"), source: "reported", usage })
        const lines = yield* ledger.totals("day", { org: run.org })
        assert.deepStrictEqual(table(lines), ["2026-11-22 0.3 0.3 0 0 1 1 0"])
        assert.deepStrictEqual(lines[0]?.usage, usage)
        assert.strictEqual(figures((yield* ledger.run(run.org, run.run)).own), "0.3 0.3 0 0 1 1 0")
        const log = yield* RunLog.RunLog
        assert.strictEqual(Money.format((yield* log.find(run.run)).cost), "0.3")
      }))

    it.effect("tells what a run cost alone and with the runs below it", () =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const log = yield* RunLog.RunLog
        const org = randomUUID()
        const [top, child, grandchild] = [makeRun({ org }), makeRun({ org }), makeRun({ org })] as const
        for (const [index, run] of [top, child, grandchild].entries()) yield* append(run, run.started(), ...run.turn({ cost: `0.${index + 1}` }))
        const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
        for (const [parent, below] of [[top, child], [child, grandchild]] as const) {
          yield* log.append(parent.append({ _tag: "ChildStarted", v: 1, child: below.run, call: "delegate" }))
          if (Option.isSome(sql)) yield* sql.value`UPDATE runs SET parent_run = ${parent.run} WHERE id = ${below.run}`
        }
        const costs = yield* Effect.forEach([top, child, grandchild], ({ org, run }) => ledger.run(org, run))
        assert.deepStrictEqual(
          costs.map(({ own, runs, subtree }) => [Money.format(own.cost), Money.format(subtree.cost), subtree.calls, runs]),
          [["0.1", "0.6", 3, 3], ["0.2", "0.5", 2, 2], ["0.3", "0.3", 1, 1]]
        )
        const idle = makeRun()
        yield* append(idle, idle.started())
        assert.strictEqual(figures((yield* ledger.run(idle.org, idle.run)).subtree), "0 0 0 0 0 0 0")
        assert.strictEqual((yield* Effect.flip(ledger.run(idle.org, RunId.make(randomUUID()))))._tag, "RunNotFound")
      }))

    const Roll = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999_999 }))
    const rolls = Arbitrary.array(Arbitrary.schema(Roll), { minLength: 4, maxLength: 24 })

    it.effect.prop("adds up to what its runs cost, to the last digit, by whatever it is read", { rolls }, ({ rolls }) =>
      Effect.gen(function*() {
        const ledger = yield* Ledger
        const log = yield* RunLog.RunLog
        const org = OrgId.make(randomUUID())
        const models = ["a:x", "a:y", "b:x"].map((ref) => ModelRef.make(ref))
        const sources = ["reported", "priced", "bound"] as const
        let whole = Money.zero
        for (let at = 0; at + 3 < rolls.length; at += 4) {
          const [a = 0, b = 0, c = 0, d = 0] = rolls.slice(at, at + 4)
          const run = makeRun({ org, session: `s${a % 3}-${at}`, agent: `agent${b % 2}`, at: noon + (c % 5) * day })
          const bill: Partial<Bill> = { model: models[d % 3] ?? ModelRef.make("a:x"), source: sources[a % 3] ?? "priced", cost: Money.Money.make(BigInt(a) * BigInt(b + 1)) }
          const calls = Array.from({ length: c % 4 }, (_, index) => ({ id: `${index}`, name: `tool${(d + index) % 3}`, arguments: "{}" }))
          yield* append(run, run.started(), run.turnStarted(), run.attemptFailed("Lost", "gone", { ...bill, cost: Money.Money.make(BigInt(d)) }),
            ...run.turn({ bill, calls }))
          whole = Money.add(whole, (yield* log.find(run.run)).cost)
        }
        const sumOf = (costs: ReadonlyArray<Money.Money>) => costs.reduce(Money.add, Money.zero)
        for (const by of ["org", "session", "agent", "model", "day"] satisfies ReadonlyArray<By>) {
          const lines = yield* ledger.totals(by, { org })
          assert.strictEqual(sumOf(lines.map((line) => line.cost)), whole, by)
          assert.strictEqual(sumOf(lines.flatMap((line) => [line.reported, line.priced, line.bound])), whole, by)
        }
        assert.strictEqual(sumOf((yield* ledger.tools({ org })).map((line) => line.cost)), whole)
      }), { arbitrary: { runs: 12 } })

    if (name !== "memory") {
      it.effect("shows an organisation its own attempts alone", () =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const [ours, theirs] = [makeRun(), makeRun()]
          for (const run of [ours, theirs]) yield* append(run, run.started(), ...run.turn({ cost: "1" }))
          const seen = yield* asOrg(ours.org)(sql<{ readonly run_id: string }>`SELECT run_id FROM model_attempts`)
          assert.deepStrictEqual(seen.map((row) => row.run_id), [ours.run])
        }) as Effect.Effect<void, unknown, Ledger | RunLog.RunLog>) // of these stores both have a database

      it.effect("reads attempts that a process of the version before writes", () =>
        Effect.gen(function*() {
          const ledger = yield* Ledger
          const sql = yield* SqlClient.SqlClient
          const org = OrgId.make(randomUUID())
          const r = [randomUUID(), org, randomUUID(), "s", "old", 1, 1, "a", "x", 1, 2, 3, 4, 5, 0, "0.7", "priced", "list", 9, null, "tool-calls", null, null, noon]
          yield* sql`SELECT conductor_project_calls(${JSON.stringify([{ append: 0, r }])}::text::jsonb)`
          assert.deepStrictEqual(table(yield* ledger.totals("model", { org })), ["a:x 0.7 0 0.7 0 1 0 0"])
          assert.deepStrictEqual((yield* ledger.tools({ org })).map((line) => [line.tool, Money.format(line.cost)]), [[null, "0.7"]])
        }) as Effect.Effect<void, unknown, Ledger>) // of these stores both have a database
    }
  })
}
