import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { AuditLog } from "../AuditLog.ts"
import { readerOf } from "../Database.ts"
import type { OrgId, RunId } from "../Run.ts"
import type { Erasure, Traces } from "./Shelf.ts"
import { atomically, mayHold, reply } from "./Sql.ts"
import { fromCommand, fromEvent, fromRequest, shortenedMark, type TakeOut } from "./TakeOut.ts"

/** Runs that are looked through at a time. */
const page = 200

/** Rows of the audit trail that are looked through at a time: a statement goes through them for each text that is to be forgotten. */
const stretch = 5_000

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
  /** Requests for approval of these calls. */
  readonly digests: Array<string>
}

const contentOf = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  n: Schema.BigInt,
  content: Schema.Array(Schema.NullOr(Schema.String))
})))

interface Execution {
  readonly id: string
  readonly input: string
  readonly output: string | null
}

/**
 * What was said in runs, in Postgres. All of it is looked for as the organisation: what is another's is not found, and so stays, also
 * where a statement forgot to say whose it means.
 */
export const makeTraces = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const audit = yield* AuditLog
  const read = readerOf(sql)
  const holding = (expression: string, texts: ReadonlyArray<string>) => mayHold(sql, expression, texts)
  const idsOf = (rows: ReadonlyArray<{ readonly id: RunId }>) => rows.map((row) => row.id)

  const changesIn = Effect.fnUntraced(function*({ org, texts }: Erasure, take: TakeOut, runs: ReadonlyArray<RunId>) {
    const changes = new Map<RunId, Changes>()
    const of = (run: RunId): Changes => {
      const known = changes.get(run) ?? { events: [], calls: new Set(), commands: [], comments: [], digests: [] }
      changes.set(run, known)
      return known
    }
    const some = [...runs]
    const events = yield* sql<Event>`SELECT run_id, seq, payload FROM run_events
      WHERE org_id = ${org} AND run_id = ANY (${some}::text[]) AND (${holding("payload", texts)} OR position(${shortenedMark} in payload) > 0)
      ORDER BY run_id, seq`.pipe(read(org), reply)
    for (const { payload, run_id, seq } of events) {
      const taken = fromEvent(payload, take)
      if (taken === undefined) continue
      of(run_id).events.push({ seq, payload: taken.payload })
      for (const call of taken.calls) of(run_id).calls.add(call)
    }
    const asking = [...changes].flatMap(([run, { calls }]) => calls.size > 0 ? [run] : [])
    const requests = yield* sql<Event>`SELECT run_id, seq, payload FROM run_events
      WHERE org_id = ${org} AND run_id = ANY (${asking}::text[]) AND tag = 'ApprovalRequested'`.pipe(read(org), reply)
    for (const { payload, run_id, seq } of requests) {
      const left = fromRequest(payload, of(run_id).calls)
      if (left === undefined) continue
      of(run_id).events.push({ seq, payload: left.payload })
      of(run_id).digests.push(left.approval)
    }
    const commands = yield* sql<Command>`SELECT id, run_id, payload FROM run_inbox
      WHERE org_id = ${org} AND run_id = ANY (${some}::text[]) AND ${holding("payload", texts)}`.pipe(read(org), reply)
    for (const { id, payload, run_id } of commands) {
      const left = fromCommand(payload, take)
      if (left !== undefined) of(run_id).commands.push({ id, payload: left })
    }
    const comments = yield* sql<{ readonly id: string; readonly run_id: RunId; readonly comment: string }>`
      SELECT id, run_id, comment FROM approvals
      WHERE org_id = ${org} AND run_id = ANY (${some}::text[]) AND comment IS NOT NULL`.pipe(read(org), reply)
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
      read(org),
      Effect.map((rows) => rows.map((row) => Number(row.n))),
      reply
    )

  /** Log and trail together, so that what was begun is found again where the process ends in the middle. False where the run is not over. */
  const redact = Effect.fnUntraced(function*(erasure: Erasure, take: TakeOut, run: RunId) {
    // Whoever forgets something else of the same run comes before or after, and neither writes back what the other has taken out.
    yield* reply(sql`SELECT 1 FROM runs WHERE id = ${run} FOR NO KEY UPDATE`)
    const change = (yield* changesIn(erasure, take, [run])).get(run)
    if (change === undefined) return true
    const { commands, comments, digests, events } = change
    const [done] = yield* sql<{ readonly done: boolean }>`SELECT conductor_redact(${erasure.org}, ${erasure.by}, ${run},
      ${events.map((event) => event.seq)}::int[], ${events.map((event) => event.payload)}::text[],
      ${commands.map((command) => command.id)}::text[], ${commands.map((command) => command.payload)}::text[], ${comments}::text[],
      ${digests}::text[]) AS done`.pipe(reply)
    if (done?.done !== true) return false
    yield* eraseRows(erasure, yield* rowsAbout(erasure.org, run, change))
    return true
  })

  /** Versions before kept the content of calls here; since then it is said where the log has it. */
  const clearExecutions = Effect.fnUntraced(function*({ org, texts }: Erasure, take: TakeOut, after: number) {
    const found = yield* sql<{ readonly id: string }>`SELECT e.id::text AS id FROM audit_logs a JOIN tool_executions e ON e.audit_log_id = a.id
      WHERE a.org_id = ${org} AND a.n > ${after} AND a.n <= ${after + stretch}
        AND NOT coalesce(e.input_json ->> 'run' = e.run_id AND e.input_json ->> 'call' = e.call_id, false)
        AND ${holding("concat_ws(' ', e.input_json::text, e.output_json::text)", texts)}`.pipe(read(org), reply)
    const rows = yield* sql<Execution>`SELECT id::text AS id, input_json::text AS input, output_json::text AS output FROM tool_executions
      WHERE id = ANY (${found.map(({ id }) => id)}::uuid[]) ORDER BY id FOR UPDATE`.pipe(reply)
    for (const { id, input, output } of rows) {
      yield* sql`UPDATE tool_executions SET input_json = ${take(input)}::text::jsonb,
        output_json = ${output === null ? null : take(output)}::text::jsonb WHERE id = ${id}::uuid`.pipe(reply)
    }
  }, (effect) => atomically(sql, effect))

  const traces: Traces = {
    underWay: Effect.fnUntraced(function*({ id, org }) {
      const [asked] = yield* sql<{ readonly since: Date }>`SELECT created_at - interval '1 minute' AS since FROM memory_erasures
        WHERE id = ${id}`.pipe(reply)
      return asked === undefined ? [] : yield* sql<{ readonly id: RunId }>`SELECT id FROM runs
        WHERE org_id = ${org} AND (ended_at IS NULL OR created_at > ${asked.since}) ORDER BY id`.pipe(read(org), Effect.map(idsOf), reply)
    }),
    over: (org, after) =>
      sql<{ readonly id: RunId }>`SELECT id FROM runs WHERE org_id = ${org} AND ended_at IS NOT NULL AND id > ${after}
        ORDER BY id LIMIT ${page}`.pipe(read(org), Effect.map(idsOf), reply),
    unfinished: (org, runs) =>
      sql<{ readonly id: RunId }>`SELECT id FROM runs WHERE org_id = ${org} AND id = ANY (${[...runs]}::text[]) AND ended_at IS NULL`.pipe(
        read(org),
        Effect.map(idsOf),
        reply
      ),
    clear: Effect.fnUntraced(function*(erasure, take, runs) {
      const left: Array<RunId> = []
      for (const run of (yield* changesIn(erasure, take, runs)).keys()) {
        const isDone = yield* atomically(sql, redact(erasure, take, run))
        if (!isDone) left.push(run)
      }
      return left
    }),
    clearTrail: Effect.fnUntraced(function*(erasure, take) {
      const { org, texts } = erasure
      const [end] = yield* sql<{ readonly last: bigint | null }>`SELECT max(n) AS last FROM audit_logs WHERE org_id = ${org}`.pipe(read(org), reply)
      // What is added meanwhile tells of erasures.
      for (let after = 0; after < Number(end?.last ?? 0); after += stretch) {
        const rows = yield* sql`SELECT n, ARRAY[input_params::text, output_summary, target_entity, error_message] AS content FROM audit_logs
          WHERE org_id = ${org} AND n > ${after} AND n <= ${after + stretch} AND erased_at IS NULL AND action <> 'erase'
            AND ${holding("concat_ws(' ', input_params::text, output_summary, target_entity, error_message)", texts)} ORDER BY n`.pipe(
          read(org),
          Effect.map(contentOf),
          reply
        )
        yield* clearExecutions(erasure, take, after)
        yield* eraseRows(erasure, rows.filter(({ content }) => content.some((text) => text !== null && take(text) !== text)).map((row) => Number(row.n)))
      }
    })
  }
  return traces
})
