import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Schedule from "effect/Schedule"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, Database, readerOf } from "../Database.ts"
import * as Money from "../Money.ts"
import { AgentName, DefinitionHash, type Logged, ModelRef, OrgId, RunId, RunnerId, SessionId, StorageFailed } from "../Run.ts"
import type { Gate, Projection } from "./Append.ts"
import { FlushPatience, isTransient, makeFlush, storageFailed } from "./Flush.ts"
import { LeaseTime } from "./Lease.ts"
import type { Page } from "./Page.ts"
import { decodeEvent } from "./Payload.ts"
import { BetweenStore, type Reads, type RunFilter, type RunRow, Store } from "./Store.ts"

const Timestamp = Schema.Date

const RunRecord = Schema.Struct({
  id: RunId,
  org_id: OrgId,
  session_id: SessionId,
  agent: AgentName,
  definition_hash: DefinitionHash,
  model: ModelRef,
  status: Schema.Literals(["running", "parked", "completed", "failed", "cancelled"]),
  owner: Schema.NullOr(RunnerId),
  epoch: Schema.Int,
  seq: Schema.Int,
  turns: Schema.Int,
  own_cost: Money.FromString,
  unpriced: Schema.Boolean,
  input_tokens: Schema.BigInt,
  output_tokens: Schema.BigInt,
  error_tag: Schema.NullOr(Schema.String),
  parked_reason: Schema.NullOr(Schema.String),
  created_at: Timestamp,
  ended_at: Schema.NullOr(Timestamp)
})
const decodeRun = Schema.decodeUnknownSync(RunRecord)

const toRow = (record: object): RunRow => {
  const run = decodeRun(record)
  return {
    run: run.id,
    org: run.org_id,
    session: run.session_id,
    agent: run.agent,
    definition: run.definition_hash,
    model: run.model,
    status: run.status,
    owner: run.owner,
    epoch: run.epoch,
    seq: run.seq,
    turns: run.turns,
    cost: run.own_cost,
    priced: !run.unpriced,
    inputTokens: Number(run.input_tokens),
    outputTokens: Number(run.output_tokens),
    error: run.error_tag,
    parked: run.parked_reason,
    createdAt: run.created_at.getTime(),
    endedAt: run.ended_at?.getTime() ?? null
  }
}

/** A row or an event that cannot be read, as one that a newer version wrote, is a failure of its run and of no other. */
const readable = <A, B>(operation: string, read: (value: A) => B) => (value: A): Effect.Effect<B, StorageFailed> =>
  Effect.try({
    try: () => read(value),
    catch: (cause) => new StorageFailed({ operation, problem: `what is stored cannot be read (${String(cause).slice(0, 200)}).`, cause })
  })

/** Keeps logs in Postgres. */
export const layerSql = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
  Layer.effect(Store, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const random = yield* SecureRandom.SecureRandom
    const lease = Duration.toMillis(yield* LeaseTime)
    const patience = yield* FlushPatience
    const { aloneSince, kind } = yield* Database
    const runner = RunnerId.make(yield* random.uuidV7())
    // A connection that is cut comes back at once or not so soon, and these statements may be sent twice.
    const again = { while: isTransient, schedule: Schedule.upTo(Schedule.spaced("100 millis"), { duration: "2 seconds" }) }
    const reply = (operation: string) => <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
      Effect.mapError(Effect.retry(answered(patience, statement), again), storageFailed(operation))

    // Who held leases before this process had the database for itself is gone, so its runs need not wait for them to end.
    if (Option.isSome(aloneSince)) {
      yield* reply("register")(sql`UPDATE runners SET lease_until = now() WHERE started_at < ${aloneSince.value} AND lease_until > now()`)
    }
    yield* sql`INSERT INTO runners (id, host, pid, lease_until)
      VALUES (${runner}, 'local', 0, now() + ${lease} * interval '1 millisecond')`.pipe(
      reply("register"))
    yield* Effect.addFinalizer(() =>
      Effect.ignore(answered(Duration.seconds(1), sql`UPDATE runners SET lease_until = now() WHERE id = ${runner}`))
    )

    const reader = readerOf(sql)
    /** What is read of all runs, or as an organisation. */
    const readsOf = (org?: OrgId): Reads => ({
      // What is too much for the page stays in the database: a length is known without the text.
      read: (run, after, { bytes, events }) =>
        sql<{ readonly seq: number; readonly epoch: number; readonly at: bigint; readonly payload: string; readonly found: number }>`
          SELECT p.seq, p.epoch, p.at, p.payload, p.found FROM (
            SELECT e.*, count(*) OVER ()::integer AS found, sum(octet_length(e.payload)) OVER (ORDER BY e.seq) - octet_length(e.payload) AS before
            FROM (SELECT seq, epoch, at, payload FROM ${
          org === undefined
            ? sql`run_events WHERE run_id = ${run} AND seq > ${after} ORDER BY seq LIMIT ${events}`
            : sql`conductor_events_as(${org}, ${run}, ${after}, ${events})`
        }) e) p WHERE p.before < ${bytes} ORDER BY p.seq`.pipe(
          reply("read"),
          Effect.flatMap(readable("read", (rows): Page => ({
            events: rows.map((row): Logged => ({
              run,
              seq: row.seq,
              epoch: row.epoch,
              at: Number(row.at),
              event: decodeEvent(JSON.parse(row.payload))
            })),
            isLast: rows.length < events && rows.length === (rows[0]?.found ?? 0)
          })))
        ),
      find: (run) =>
        sql`SELECT * FROM ${org === undefined ? sql`runs WHERE id = ${run}` : sql`conductor_run_as(${org}, ${run})`}`.pipe(
          reply("find"),
          Effect.flatMap(readable("find", ([row]) => Option.map(Option.fromUndefinedOr(row), toRow)))
        ),
      list: ({ agent, before, limit, session, status, ...filter }: RunFilter) => {
        const of = org ?? filter.org
        const statement = sql`SELECT * FROM runs WHERE ${
          sql.and([
            ...(of === undefined ? [] : [sql`org_id = ${of}`]),
            ...(session === undefined ? [] : [sql`session_id = ${session}`]),
            ...(status === undefined ? [] : [sql`status = ${status}`]),
            ...(agent === undefined ? [] : [sql`agent = ${agent}`]),
            ...(before === undefined ? [] : [sql`id < ${before}`]),
            sql`true`
          ])
        } ORDER BY id DESC LIMIT ${limit}`
        return (org === undefined ? statement : reader(org)(statement)).pipe(
          reply("list"),
          Effect.flatMap(readable("list", (rows) => rows.map(toRow)))
        )
      }
    })

    const orphan = sql`(r.status = 'running' OR (r.status = 'parked' AND r.parked_reason = 'shutdown')) AND NOT EXISTS (
      SELECT 1 FROM runners o WHERE o.id = r.owner AND o.id <> ${runner} AND o.lease_until > now())`

    const between = yield* BetweenStore
    return between({
      runner,
      // The embedded database has one connection, so a second flush would only wait for it.
      lanes: kind === "postgres" ? 2 : 1,
      joins: true,
      ...makeFlush({ sql, runner, gates, projections, patience }),
      ...readsOf(),
      as: readsOf,
      heads: (runs) =>
        sql<{ readonly id: RunId; readonly seq: number }>`SELECT id, seq FROM runs WHERE id = ANY (${[...runs]}::text[])`.pipe(
          Effect.map((rows) => new Map(rows.map((row) => [row.id, row.seq]))),
          reply("heads")
        ),
      latest: (org, session) =>
        sql`SELECT * FROM conductor_latest_as(${org}, ${session})`.pipe(
          reply("latest"),
          Effect.flatMap(readable("latest", ([row]) => Option.map(Option.fromUndefinedOr(row), toRow)))
        ),
      define: (hash, agent, definition) =>
        sql`INSERT INTO agent_definitions (hash, agent, definition) VALUES (${hash}, ${agent}, ${definition})
          ON CONFLICT (hash) DO NOTHING`.pipe(Effect.asVoid, reply("define")),
      definition: (hash) =>
        sql<{ readonly definition: string }>`SELECT definition FROM agent_definitions WHERE hash = ${hash}`.pipe(
          Effect.map(([row]) => Option.fromUndefinedOr(row?.definition)),
          reply("definition")
        ),
      renew: sql<{ readonly kept: boolean }>`
        WITH before AS (SELECT lease_until > now() AS kept FROM runners WHERE id = ${runner} FOR UPDATE)
        UPDATE runners SET lease_until = now() + ${lease} * interval '1 millisecond'
        FROM before WHERE id = ${runner} RETURNING before.kept`.pipe(
        Effect.map(([row]) => row?.kept === true),
        // Sent twice, it would not tell that the lease had ended before.
        (statement) => Effect.mapError(answered(patience, statement), storageFailed("renew"))
      ),
      claim: (run, options) =>
        sql<{ readonly epoch: number }>`
          UPDATE runs r SET owner = ${runner}, epoch = epoch + 1, updated_at = now()
          WHERE r.id = ${run} AND ${options?.over === true ? sql`r.status = 'failed'` : sql`r.ended_at IS NULL`}
            AND NOT EXISTS (
              SELECT 1 FROM runners o WHERE o.id = r.owner AND o.id <> ${runner} AND o.lease_until > now())
          RETURNING epoch`.pipe(
          Effect.map(([row]) => Option.fromUndefinedOr(row?.epoch)),
          reply("claim")
        ),
      orphans: (agents, except, limit) =>
        agents.length === 0 ? Effect.succeed([]) : sql<{ readonly id: RunId }>`
          SELECT r.id FROM runs r WHERE r.ended_at IS NULL AND ${sql.in("r.agent", agents)} AND ${orphan}
            AND r.id <> ALL (${[...except]}::text[])
          ORDER BY r.id LIMIT ${limit}`.pipe(
          Effect.map((rows) => rows.map((row) => row.id)),
          reply("orphans")
        ),
      unclaimed: sql<{ readonly agent: AgentName; readonly runs: bigint }>`
        SELECT r.agent, count(*) AS runs FROM runs r WHERE r.ended_at IS NULL AND ${orphan} GROUP BY r.agent ORDER BY r.agent`.pipe(
        Effect.map((rows) => rows.map((row) => ({ agent: row.agent, runs: Number(row.runs) }))),
        reply("unclaimed")
      )
    })
  }))
