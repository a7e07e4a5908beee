import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as fs from "node:fs"
import * as path from "node:path"
import { type Account, reserve, settle } from "../../src/Budget/Account.ts"
import { Budget } from "../../src/Budget.ts"
import { problemOf } from "../../src/Database.ts"
import * as Migrations from "../../src/Database/Migrations.ts"
import { Agent, Conductor, Run } from "../../src/index.ts"
import * as Money from "../../src/Money.ts"
import * as testing from "../../src/testing.ts"
import { emptyDatabases, freshDirectory, freshPostgres, scratchPath } from "../support/databases.ts"

const org = Run.OrgId.make("local")

const agent = Agent.make("patient", { instructions: "Wait.", model: "scripted:patient", limits: { cost: "1 USD", attempts: 9 } })

const options = { agents: [agent], models: testing.models(testing.script(["Well."])) } as const

const runtimes = [
  { name: "pglite", layer: Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ ...options, dir })) },
  { name: "postgres", layer: Effect.map(freshPostgres(), ({ url }) => Conductor.layerPostgres({ ...options, url: url })) }
]

/** A folder with the migrations before the one of budgets. */
const earlier = () => {
  const folder = scratchPath("earlier")
  fs.cpSync(Migrations.ownFolder, folder, { recursive: true, filter: (file) => !(path.basename(file) >= "007" && file.endsWith(".sql")) })
  return folder
}

describe("The constraint on budgets", () => {
  for (const { layer, name } of runtimes) {
    it.live(`refuses what breaks it, alone, and ends its run, which can be retried (${name})`, () =>
      Effect.gen(function*() {
        yield* Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const conductor = yield* Conductor
          yield* (yield* Budget).set(org, "session:short", Money.usd("0.5"))
          // As if the gate had a fault: it believes that this scope may spend much more than it may.
          yield* sql`ALTER TABLE budgets ADD CONSTRAINT fault CHECK (scope <> 'session:short' OR reserved_usd = 0)`
          const runs = yield* Effect.forEach(Array.from({ length: 30 }, (_, n) => n), (n) =>
            conductor.start(agent, "Go.", { session: n === 17 ? "short" : `s${n}` }), { concurrency: "unbounded" })
          const ends = yield* Effect.forEach(runs, (run) => Effect.exit(conductor.result(run)), { concurrency: "unbounded" })
          assert.deepStrictEqual(ends.flatMap((end, n) => end._tag === "Success" ? [] : [n]), [17])
          const run = runs[17] ?? Run.RunId.make("")
          const failure = yield* Effect.flip(conductor.result(run))
          assert.strictEqual(failure._tag, "InternalError")
          assert.match(failure.message, /the database refused an event of the run \(.*"fault".*\)\. The run can be retried from its log\.$/)
          yield* sql`ALTER TABLE budgets DROP CONSTRAINT fault`
          yield* conductor.retry(run)
          assert.strictEqual((yield* conductor.result(run)).text, "Well.")
          const balances = yield* (yield* Budget).list(org)
          assert.isTrue(balances.every(({ excess, reserved }) => reserved === 0n && excess === 0n))
        }).pipe(Effect.provide(yield* layer))
      }), 60_000)
  }

  for (const { layer: database, name } of emptyDatabases({ migrate: false })) {
    it.effect(`takes in budgets of before, whatever they hold (${name})`, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* Migrations.run(earlier())
        yield* sql`INSERT INTO budgets (org_id, scope, limit_usd, spent_usd, reserved_usd)
          VALUES ('acme', 'org:acme', 1, 0.5, 0.25), ('acme', 'session:s', 1, 0.9, 0.2), ('acme', 'run:r', 0.1, 0.3, 0)`
        yield* Migrations.run()
        const rows = yield* sql<{ readonly scope: string; readonly excess: string; readonly period: string; readonly since: string }>`
          SELECT scope, trim_scale(excess_usd)::text AS excess, period, since::text AS since FROM budgets ORDER BY scope`
        assert.deepStrictEqual(rows.map((row) => [row.scope, row.excess, row.period, row.since]), [
          ["org:acme", "0", "none", "-infinity"], ["run:r", "0.2", "none", "-infinity"], ["session:s", "0.1", "none", "-infinity"]
        ])
        // A process of before lowers a limit, and knows nothing of what is above it.
        yield* sql`INSERT INTO budgets (org_id, scope, limit_usd) VALUES ('acme', 'org:acme', 0.6)
          ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now()`
        const [org] = yield* sql<{ readonly excess: string }>`SELECT trim_scale(excess_usd)::text AS excess FROM budgets WHERE scope = 'org:acme'`
        assert.strictEqual(org?.excess, "0.15")
        // What nobody may do: reserve more than there is.
        const error = yield* Effect.flip(sql`UPDATE budgets SET reserved_usd = reserved_usd + 0.000000000001 WHERE scope = 'org:acme'`)
        assert.include(problemOf(error), "budgets_within_limit")
      }).pipe(Effect.provide(database)))
  }

  it("cannot be passed in memory either", () => {
    const account: Account = {
      scope: "org:acme", limit: Money.usd("1"), spent: Money.usd("0.4"), reserved: Money.usd("0.5"), excess: Money.zero, period: "none", since: 0,
      until: null, rows: 0, warned: false, removed: false
    }
    assert.throws(() => reserve(account, Money.usd("0.100000000001")), /The budget of org:acme would hold more than its limit \(1 0\.4 0\.600000000001 0\)\./)
    assert.strictEqual(account.reserved, Money.usd("0.5"))
    settle(account, Money.usd("0.7"), Money.usd("0.5"))
    assert.strictEqual(account.excess, Money.usd("0.1"))
    assert.throws(() => reserve(account, Money.usd("0.000000000001")))
  })
})
