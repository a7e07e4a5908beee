import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { AuditLog } from "../AuditLog.ts"
import type { OrgId, RunId } from "../Run.ts"
import type { Erasure, Traces } from "./Shelf.ts"
import { atomically, reply } from "./Sql.ts"
import { fragmentOf, fromCommand, fromEvent, type TakeOut } from "./TakeOut.ts"

/** Runs that are looked through at a time. */
const page = 200

interface Event {
  readonly run_id: RunId
  readonly seq: number
  readonly payload: string
}

interface Command {
  readonly id: string
  readonly run_id: RunId
  readonly payload: string
}

/** What is to be changed in one run. */
interface Changes {
  readonly events: Array<{ readonly seq: number; readonly payload: string }>
  readonly calls: Set<string>
  readonly commands: Array<{ readonly id: string; readonly payload: string }>
  readonly comments: Array<string>
}

const contentOf = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  n: Schema.BigInt,
  content: Schema.Array(Schema.NullOr(Schema.String))
})))

/** What was said in runs, in Postgres. */
export const makeTraces = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const audit = yield* AuditLog

  /** True for a column that may hold one of the texts. */
  const mayHold = (column: string, texts: ReadonlyArray<string>) => {
    const fragments = texts.map(fragmentOf)
    return fragments.includes("") ? sql`true` : sql.or(fragments.map((fragment) => sql`position(${fragment} in ${sql.literal(column)}) > 0`))
  }

  const changesIn = Effect.fnUntraced(function*(texts: ReadonlyArray<string>, take: TakeOut, runs: ReadonlyArray<RunId>) {
    const changes = new Map<RunId, Changes>()
    const of = (run: RunId): Changes => {
      const known = changes.get(run) ?? { events: [], calls: new Set(), commands: [], comments: [] }
      changes.set(run, known)
      return known
    }
    const some = [...runs]
    const events = yield* sql<Event>`SELECT run_id, seq, payload FROM run_events
      WHERE run_id = ANY (${some}::text[]) AND ${mayHold("payload", texts)} ORDER BY run_id, seq`.pipe(reply)
    for (const { payload, run_id, seq } of events) {
      const taken = fromEvent(payload, take)
      if (taken === undefined) continue
      of(run_id).events.push({ seq, payload: taken.payload })
      for (const call of taken.calls) of(run_id).calls.add(call)
    }
    const commands = yield* sql<Command>`SELECT id, run_id, payload FROM run_inbox
      WHERE run_id = ANY (${some}::text[]) AND ${mayHold("payload", texts)}`.pipe(reply)
    for (const { id, payload, run_id } of commands) {
      const left = fromCommand(payload, take)
      if (left !== undefined) of(run_id).commands.push({ id, payload: left })
    }
    const comments = yield* sql<{ readonly id: string; readonly run_id: RunId; readonly comment: string }>`
      SELECT id, run_id, comment FROM approvals WHERE run_id = ANY (${some}::text[]) AND comment IS NOT NULL`.pipe(reply)
    for (const { comment, id, run_id } of comments) if (take(comment) !== comment) of(run_id).comments.push(id)
    return changes
  })

  const eraseRows = ({ by, org }: Erasure, rows: ReadonlyArray<number>) =>
    Effect.forEach(rows, (n) => audit.erase({ org, where: { n }, by }), { discard: true })

  /** The rows about these events and calls: they tell of them in other words, or in fewer. */
  const rowsAbout = (org: OrgId, run: RunId, { calls, events }: Changes) =>
    sql<{ readonly n: bigint }>`SELECT n FROM audit_logs
      WHERE org_id = ${org} AND run_id = ${run} AND erased_at IS NULL AND action <> 'erase'
        AND (seq = ANY (${events.map((event) => event.seq)}::int[]) OR call_id = ANY (${[...calls]}::text[])) ORDER BY n`.pipe(
      Effect.map((rows) => rows.map((row) => Number(row.n))),
      reply
    )

  /** Log and trail together, so that what was begun is found again where the process ends in the middle. False where the run is not over. */
  const redact = Effect.fnUntraced(function*(erasure: Erasure, run: RunId, change: Changes) {
    const { commands, comments, events } = change
    const [done] = yield* sql<{ readonly done: boolean }>`SELECT conductor_redact(${erasure.org}, ${erasure.by}, ${run},
      ${events.map((event) => event.seq)}::int[], ${events.map((event) => event.payload)}::text[],
      ${commands.map((command) => command.id)}::text[], ${commands.map((command) => command.payload)}::text[], ${comments}::text[]) AS done`.pipe(reply)
    if (done?.done !== true) return false
    yield* eraseRows(erasure, yield* rowsAbout(erasure.org, run, change))
    return true
  })

  const traces: Traces = {
    underWay: ({ id, org }) =>
      sql<{ readonly id: RunId }>`SELECT r.id FROM runs r JOIN memory_erasures e ON e.id = ${id}
        WHERE r.org_id = ${org} AND (r.ended_at IS NULL OR r.created_at > e.created_at - interval '1 minute') ORDER BY r.id`.pipe(
        Effect.map((rows) => rows.map((row) => row.id)),
        reply
      ),
    over: (org, after) =>
      sql<{ readonly id: RunId }>`SELECT id FROM runs WHERE org_id = ${org} AND ended_at IS NOT NULL AND id > ${after}
        ORDER BY id LIMIT ${page}`.pipe(Effect.map((rows) => rows.map((row) => row.id)), reply),
    unfinished: (org, runs) =>
      sql<{ readonly id: RunId }>`SELECT id FROM runs WHERE org_id = ${org} AND id = ANY (${[...runs]}::text[]) AND ended_at IS NULL`.pipe(
        Effect.map((rows) => rows.map((row) => row.id)),
        reply
      ),
    clear: Effect.fnUntraced(function*(erasure, take, runs) {
      const changes = yield* changesIn(erasure.texts, take, runs)
      const left: Array<RunId> = []
      for (const [run, change] of changes) {
        const isDone = yield* atomically(sql, redact(erasure, run, change))
        if (!isDone) left.push(run)
      }
      return left
    }),
    clearTrail: Effect.fnUntraced(function*(erasure, take) {
      const rows = yield* sql`SELECT n, ARRAY[input_params::text, output_summary, target_entity, error_message] AS content FROM audit_logs
        WHERE org_id = ${erasure.org} AND erased_at IS NULL AND action <> 'erase' AND ${
        mayHold("concat_ws(' ', input_params::text, output_summary, target_entity, error_message)", erasure.texts)
      } ORDER BY n`.pipe(Effect.map(contentOf), reply)
      const holding = rows.filter(({ content }) => content.some((text) => text !== null && take(text) !== text))
      yield* eraseRows(erasure, holding.map((row) => Number(row.n)))
    })
  }
  return traces
})
