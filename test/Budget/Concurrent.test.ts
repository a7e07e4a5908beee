import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { inject } from "vitest"
import { Budget, Money, Run } from "../../src/index.ts"
import { between } from "../support/chance.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { onlooker } from "../survive/campaign.ts"
import { Reporter } from "../survive/processes.ts"
import type { Place } from "../survive/worker.ts"
import type { Orders } from "./spender.ts"

/** Runs that spend; more, in steps of 200, by the environment. */
const runs = Number(process.env["BUDGET_RUNS"] ?? 200)
/** Processes that are ended in the middle. */
const endsOf = (at: Place) => Number(process.env["BUDGET_KILLS"] ?? ("url" in at ? 3 : 2))

const org = Run.OrgId.make("local")
/** One dollar; for more runs as much more. */
const dollars = runs / 200
const limit = Money.usd(String(dollars))
const patience = 120_000

/** Keeps every committed state of the organisation's budget, as the database itself sees it. */
const watchStates = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* (yield* Budget).set(org, `org:${org}`, limit)
  yield* sql`CREATE TABLE states (at timestamptz NOT NULL DEFAULT clock_timestamp(), spent numeric NOT NULL, reserved numeric NOT NULL, excess numeric NOT NULL)`
  yield* sql`CREATE FUNCTION keep_state() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO states (spent, reserved, excess) VALUES (NEW.spent_usd, NEW.reserved_usd, NEW.excess_usd); RETURN NULL; END $$`
  yield* sql`CREATE TRIGGER keep_state AFTER UPDATE ON budgets FOR EACH ROW WHEN (NEW.scope = 'org:local') EXECUTE FUNCTION keep_state()`
})

/** Looks at the budget from a connection of its own, again and again; how often it was above its limit, of how many looks. */
const look = (url: string) =>
  Effect.gen(function*() {
    const services = yield* Layer.build(PgClient.layer({ url: Redacted.make(url) }))
    const sql = Context.get(services, SqlClient.SqlClient)
    const seen = { looks: 0, above: 0 }
    const once = Effect.map(sql<{ readonly above: boolean }>`
      SELECT spent_usd + reserved_usd > ${dollars}::numeric AS above FROM budgets WHERE scope = 'org:local'`, ([row]) => {
      seen.looks++
      if (row?.above !== false) seen.above++
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(once, Effect.sleep("2 millis"))))
    return seen
  })

/** Ends processes by SIGKILL, or by closing their runtime, in the middle of what they do, and begins others in their place. */
const spend = async (seed: string, at: Place, workers: number): Promise<void> => {
  const ends = endsOf(at)
  const crew: Array<Reporter> = []
  // Always one process ahead, which has everything but its orders.
  let spare = new Reporter("../Budget/spender.ts")
  const launch = (slot: number, as: { readonly last?: boolean; readonly holds?: boolean } = {}): Reporter => {
    const { holds = false, last = false } = as
    const worker = spare
    spare = new Reporter("../Budget/spender.ts")
    worker.tell({ seed, at, last, holds, begin: last ? { first: 0, every: 1, until: runs } : { first: slot, every: workers, until: runs } } satisfies Orders)
    return worker
  }
  try {
    for (let slot = 0; slot < workers; slot++) crew.push(launch(slot, { holds: slot === 0 }))
    for (let number = 0; number < ends; number++) {
      const slot = number % workers
      const worker = crew[slot]
      if (worker === undefined) break
      // The first to be ended is in the middle of an attempt.
      if (number === 0 && !(await worker.until((report) => report === "? 0", patience))) throw new Error(`run 0 was not asked: ${worker.output}`)
      if (!(await worker.until((report) => report.startsWith("-") || report === "done", patience))) throw new Error(`nothing ended: ${worker.output}`)
      await worker.until((report) => report === "done", between(0, 250, seed, "moment", number))
      if (number === 1) {
        worker.tell({ close: true })
        await worker.ended
      } else {
        await worker.kill()
      }
      if (number + workers < ends) crew[slot] = launch(slot)
    }
    for (const worker of crew) await worker.kill()
    const last = launch(0, { last: true })
    crew.push(last)
    if (!(await last.until((report) => report === "done", patience))) throw new Error(`the last process did not finish: ${last.reports.slice(-5).join(" | ")} ${last.output}`)
    await last.ended
  } finally {
    for (const worker of [spare, ...crew]) await worker.kill()
  }
}

const figures = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [states] = yield* sql<{ readonly states: bigint; readonly above: bigint; readonly most: string }>`
    SELECT count(*) AS states, count(*) FILTER (WHERE spent + reserved > ${dollars}::numeric OR excess > 0) AS above, max(spent + reserved)::text AS most FROM states`
  const wrong = yield* sql<{ readonly scope: string }>`
    SELECT scope FROM budgets b WHERE reserved_usd <> 0 OR excess_usd <> 0 OR spent_usd <> (
      SELECT coalesce(sum(c.cost_usd), 0) FROM model_calls c
      WHERE c.org_id = b.org_id AND b.scope IN ('org:' || c.org_id, 'session:' || c.session_id, 'run:' || c.run_id))`
  const rows = yield* sql<{ readonly end: string; readonly runs: bigint; readonly cost: string }>`
    SELECT coalesce(error_tag, status) AS "end", count(*) AS runs, sum(own_cost)::text AS cost FROM runs GROUP BY 1 ORDER BY 1`
  const errors = yield* sql<{ readonly error: string; readonly calls: bigint }>`
    SELECT coalesce(error, 'answered') AS error, count(*) AS calls FROM model_calls GROUP BY 1 ORDER BY 1`
  const [ledger] = yield* sql<{ readonly cost: string; readonly budgets: bigint }>`
    SELECT trim_scale(sum(cost_usd))::text AS cost, (SELECT count(*) FROM budgets) AS budgets FROM model_calls`
  const balance = (yield* (yield* Budget).list(org)).find(({ scope }) => scope === `org:${org}`)
  return { states, wrong, rows, errors, ledger, balance }
})

const campaign = (at: Place, workers: number) =>
  Effect.gen(function*() {
    const seed = inject("seed")
    yield* Effect.provide(watchStates, onlooker(at))
    const seen = "url" in at ? yield* look(at.url) : undefined
    yield* Effect.promise(() => spend(seed, at, workers))
    const { balance, errors, ledger, rows, states, wrong } = yield* Effect.provide(figures, onlooker(at))
    const told = `(CONDUCTOR_SEED=${seed}) ${rows.map((row) => `${row.end} ${row.runs}`).join(", ")}; attempts: ${errors.map((row) => `${row.error} ${row.calls}`).join(", ")}; ` +
      `${states?.states} committed states, ${states?.most} USD at most${seen === undefined ? "" : `, ${seen.looks} looks`}; spent ${balance === undefined ? "" : Money.format(balance.spent)}`
    console.log(told)
    assert.strictEqual(states?.above, 0n, told)
    assert.strictEqual(seen?.above ?? 0, 0, told)
    assert.deepStrictEqual(wrong, [], told)
    // The budget was short, and every way of ending was seen.
    assert.isAbove(Number(states?.most), 0.95 * dollars, told)
    assert.strictEqual(rows.reduce((sum, row) => sum + Number(row.runs), 0), runs, told)
    for (const end of ["BudgetExceeded", "cancelled"]) assert.isTrue(rows.some((row) => row.end === end), `${end}? ${told}`)
    for (const error of ["Lost", "answered"]) assert.isTrue(errors.some((row) => row.error === error), `${error}? ${told}`)
    assert.strictEqual(Number(ledger?.budgets), 1 + runs, told)
    assert.strictEqual(balance?.reserved, 0n, told)
    assert.strictEqual(Money.format(balance?.spent ?? Money.zero), Money.format(Money.usd(String(ledger?.cost))), told)
    return told
  })

describe(`${runs} runs on ${Money.format(limit)} USD, whose processes are killed`, () => {
  it.live("never spend and reserve more, and in the end the ledger says what was spent (postgres)", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      yield* campaign({ url: Redacted.value(url) }, 2)
    }), 300_000)

  it.live("never spend and reserve more, and in the end the ledger says what was spent (pglite)", () =>
    Effect.gen(function*() {
      yield* campaign({ dir: yield* freshDirectory }, 1)
    }), 300_000)
})
