/** Durable steps a second, and what they write, beside a loop that inserts one row a step. */
import { Effect, type Layer, ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql"
import * as path from "node:path"
import { Database } from "../../src/Database.ts"
import { Conductor } from "../../src/index.ts"
import { figure, interleave, median, ratios, type Sample, spread, table, timed } from "./measure.ts"
import { scratch, type Server } from "./server.ts"
import { conductorRuns, effectLoop, optionsOf, providerOf, steps, unlimited } from "./subject.ts"

/** Runs of one measurement by how many there are at a time. */
const loads = [{ concurrency: 1, runs: 20 }, { concurrency: 20, runs: 120 }, { concurrency: 200, runs: 600 }]

const padding = "x".repeat(300)

/** The loop beside it: each turn, the answer too, is one awaited INSERT of a row of about 0.6 kB into a table of its own. */
const plainRuns = (runs: number, concurrency: number) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const provider = providerOf()
    yield* Effect.forEach(Array.from({ length: runs }), () => {
      const run = crypto.randomUUID()
      return effectLoop(provider, (turn, message, result) => {
        const payload = JSON.stringify({ message, result, padding })
        return sql`INSERT INTO plain_steps (run_id, turn, payload) VALUES (${run}, ${turn}, ${payload})`
      })
    }, { concurrency, discard: true })
  })

const setUp = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE plain_steps (run_id text NOT NULL, turn integer NOT NULL, payload text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (run_id, turn))`
})

const settingsOf = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const database = yield* Database
  const [row] = yield* sql<{ readonly fsync: string; readonly commit: string; readonly pages: string; readonly method: string }>`
    SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
      current_setting('full_page_writes') AS pages, current_setting('wal_sync_method') AS method`
  return `Postgres ${database.version} (${database.kind}), fsync ${row?.fsync}, wal_sync_method ${row?.method}, synchronous_commit ${row?.commit}, full_page_writes ${row?.pages}, survives: ${database.durability}`
})

type Runtime = ManagedRuntime.ManagedRuntime<Conductor | Database | SqlClient.SqlClient, unknown>

const explanation: Readonly<Record<number, string>> = {
  1: "one run waits for each commit that a turn needs (before the request), as the plain loop does for its INSERT, and does more in each",
  20: "the flush shares a commit among 20 runs; the plain loop has ten connections that share the disk's",
  200: "goal: at least half of the plain loop's steps a second"
}

const rates = async (runtime: Runtime, rounds: number) => {
  const rate = async (effect: Effect.Effect<void, unknown, Conductor | SqlClient.SqlClient>, runs: number) =>
    runs * steps * 1000 / await timed(() => runtime.runPromise(effect))
  await runtime.runPromise(Effect.andThen(conductorRuns(200, 100), plainRuns(200, 100)))
  const rows: Array<ReadonlyArray<string>> = []
  const notes: Array<string> = []
  for (const { concurrency, runs } of loads) {
    const out: Record<string, Sample> = await interleave(rounds, {
      plain: () => rate(plainRuns(runs, concurrency), runs),
      conductor: () => rate(conductorRuns(runs, concurrency), runs),
      unlimited: () => rate(conductorRuns(runs, concurrency, unlimited), runs)
    })
    const [plain = [], conductor = [], free = []] = [out["plain"], out["conductor"], out["unlimited"]]
    const ratio = ratios(conductor, plain)
    rows.push([String(concurrency), spread(plain), spread(conductor), spread(ratio), spread(free)])
    const verdict = concurrency !== 200 ? "" : median(ratio) >= 0.5 ? ": met" : `: MISSED (${median(ratio).toFixed(2)})`
    notes.push(`  ${concurrency} at once: ${explanation[concurrency]}${verdict}`)
  }
  table(["runs at once", "plain INSERT steps/s", "Conductor steps/s", "Conductor / plain", "without a budget"], rows)
  for (const note of notes) console.log(note)
}

/** Bytes of WAL that runs write, by table with its indexes, from `pg_walinspect`. */
const walOf = (effect: Effect.Effect<void, unknown, Conductor | SqlClient.SqlClient>, runs: number) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const lsn = Effect.map(sql<{ readonly lsn: string }>`SELECT pg_current_wal_insert_lsn()::text AS lsn`, ([row]) => row?.lsn ?? "0/0")
    const before = yield* lsn
    yield* effect
    const after = yield* lsn
    return yield* sql<{ readonly name: string; readonly bytes: number; readonly images: number; readonly records: number }>`
      WITH blocks AS (
        SELECT start_lsn, min(block_id) AS block_id, sum(block_fpi_length)::float8 AS images
        FROM pg_get_wal_block_info(${before}::pg_lsn, ${after}::pg_lsn, false) GROUP BY start_lsn
      ), records AS (
        SELECT b.images, i.record_length - b.images AS bytes, pg_filenode_relation(i.reltablespace, i.relfilenode) AS rel
        FROM blocks b JOIN pg_get_wal_block_info(${before}::pg_lsn, ${after}::pg_lsn, false) i USING (start_lsn, block_id)
      ), named AS (
        SELECT coalesce(x.indrelid, t.oid, r.rel)::regclass::text AS name, r.bytes, r.images
        FROM records r LEFT JOIN pg_index x ON x.indexrelid = r.rel LEFT JOIN pg_class t ON t.reltoastrelid = r.rel
      )
      SELECT name, sum(bytes)::float8 / ${runs} AS bytes, sum(images)::float8 / ${runs} AS images, count(*)::float8 / ${runs} AS records
      FROM named GROUP BY name
      UNION ALL
      SELECT 'total (commits too)', pg_wal_lsn_diff(${after}::pg_lsn, ${before}::pg_lsn)::float8 / ${runs}, 0, 0
      ORDER BY bytes DESC`
  })

const wal = async (runtime: Runtime) => {
  const runs = 400
  await runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE EXTENSION IF NOT EXISTS pg_walinspect`))
  // The first touch of a page after a checkpoint writes the page: these runs are measured well after one.
  await runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CHECKPOINT`))
  await runtime.runPromise(Effect.andThen(conductorRuns(runs, 200), plainRuns(runs, 200)))
  const plain = await runtime.runPromise(walOf(plainRuns(runs, 200), runs))
  const rows = await runtime.runPromise(walOf(conductorRuns(runs, 200), runs))
  console.log(`WAL bytes a run (${runs} runs, 200 at once; a table with its indexes and TOAST; page images apart), from pg_walinspect:`)
  const total = plain.find((row) => row.name.startsWith("total"))
  console.log(`  plain INSERT: ${figure(total?.bytes ?? 0)} in all`)
  table(["table", "bytes", "page images", "records"], rows.filter((row) => row.bytes + row.images >= 1).map((row) => [
    row.name,
    figure(row.bytes),
    figure(row.images),
    figure(row.records)
  ]))
}

const measure = async (layer: Layer.Layer<Conductor | Database | SqlClient.SqlClient, unknown>, rounds: number, withWal: boolean) => {
  const runtime: Runtime = ManagedRuntime.make(layer)
  try {
    console.log(await runtime.runPromise(settingsOf))
    await runtime.runPromise(setUp)
    await rates(runtime, rounds)
    if (withWal) await wal(runtime)
    const [row] = await runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) =>
      sql<{ readonly events: number; readonly audited: number; readonly calls: number }>`
        SELECT (SELECT count(*)::int FROM run_events) AS events, (SELECT count(*)::int FROM audit_logs) AS audited,
          (SELECT count(*)::int FROM model_calls) AS calls`))
    console.log(`  written: ${figure(row?.events ?? 0)} events, ${figure(row?.calls ?? 0)} model calls, ${
      row?.audited === 0 ? "NO audit rows: the audit trail is not wired" : `${figure(row?.audited ?? 0)} audit rows`}`)
  } finally {
    await runtime.dispose()
  }
}

/** Measures Postgres and the embedded database. */
export const durable = async (server: Server): Promise<void> => {
  console.log(`Durable: steps a second of runs of ${steps} steps and an answer (${steps + 1} INSERTs of the plain loop), a run budget, fence and projections on;`)
  console.log("medians of interleaved rounds.")
  const url = await server.database()
  await measure(Conductor.layerPostgres({ ...optionsOf(), url }), 5, true)
  await measure(Conductor.layerEmbedded({ ...optionsOf(), dir: path.join(scratch(), "pglite") }), 3, false)
}
