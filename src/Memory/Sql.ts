import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, problemOf, readerOf } from "../Database.ts"
import { OrgId, RunId, StorageFailed } from "../Run.ts"
import { type Fact, type Filter, type Forgetting, MemoryId, Scope } from "./Fact.ts"
import type { Shelf } from "./Shelf.ts"
import { fragmentOf, isEmptied, takeOut } from "./TakeOut.ts"

/** How long a statement may take: it may go through all that an organisation has. */
const patience = Duration.minutes(1)

/** A statement, failing as the store does. */
export const reply = <A, R>(statement: Effect.Effect<A, SqlError, R>): Effect.Effect<A, StorageFailed, R> =>
  Effect.mapError(answered(patience, statement), storageFailed)

const storageFailed = (error: SqlError) => new StorageFailed({ operation: "memory", problem: problemOf(error), cause: error })

/** Does everything or nothing of an effect. */
export const atomically = <A, E, R>(sql: SqlClient.SqlClient, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | StorageFailed, R> =>
  Effect.catchIf(
    sql.withTransaction(effect),
    (error): error is SqlError => typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError",
    (error) => Effect.fail(storageFailed(error))
  )

/** True for an expression of SQL, without parameters, that may hold one of the texts. */
export const mayHold = (sql: SqlClient.SqlClient, expression: string, texts: ReadonlyArray<string>) => {
  const fragments = texts.map(fragmentOf)
  return fragments.includes("") ? sql`true` : sql.or(fragments.map((fragment) => sql`position(${fragment} in ${sql.literal(expression)}) > 0`))
}

const row = {
  id: MemoryId,
  org_id: OrgId,
  scope: Scope,
  text: Schema.String,
  source_run: Schema.NullOr(RunId),
  source_call: Schema.NullOr(Schema.String),
  created_by: Schema.String,
  created_at: Schema.Date,
  expires_at: Schema.NullOr(Schema.Date)
}
const Row = Schema.Struct(row)
const decode = Schema.decodeUnknownSync(Schema.Array(Row))
const decodeFound = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ ...row, score: Schema.Finite })))
const decodeErasures = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  id: Schema.String,
  org_id: OrgId,
  texts: Schema.Array(Schema.String),
  runs: Schema.NullOr(Schema.Array(RunId)),
  requested_by: Schema.String,
  created_at: Schema.Date
})))

const factOf = (row: typeof Row.Type): Fact => ({
  id: row.id,
  org: row.org_id,
  scope: row.scope,
  text: row.text,
  sourceRun: row.source_run,
  sourceCall: row.source_call,
  createdBy: row.created_by,
  createdAt: row.created_at.getTime(),
  expiresAt: row.expires_at?.getTime() ?? null
})

/** Memories in Postgres. They are read as their organisation, and found by its full-text search. */
export const makeSql = Effect.map(SqlClient.SqlClient, (sql): Shelf => {
  const columns = sql.literal("id, org_id, scope, text, source_run, source_call, created_by, created_at, expires_at")
  const time = (at: number | null) => sql`to_timestamp(${at}::double precision / 1000)`
  const read = readerOf(sql)

  const living = (org: OrgId, { before, scopes }: Pick<Filter, "before" | "scopes">, at: number) =>
    sql.and([
      sql`org_id = ${org}`,
      sql`(expires_at IS NULL OR expires_at > ${time(at)})`,
      ...(scopes === undefined ? [] : [sql`scope = ANY (${[...scopes]}::text[])`]),
      ...(before === undefined ? [] : [sql`id < ${before}`])
    ])

  const meant = (what: Forgetting) =>
    "id" in what
      ? what.scopes === undefined ? sql`id = ${what.id}` : sql`id = ${what.id} AND scope = ANY (${[...what.scopes]}::text[])`
      : "scope" in what ? sql`scope = ${what.scope}` : sql`position(${what.text} in text) > 0`

  const idsOf = (org: OrgId, which: ReturnType<typeof meant> | ReturnType<typeof sql.and>) =>
    sql<{ readonly id: string }>`SELECT id FROM memories WHERE org_id = ${org} AND ${which}`.pipe(
      read(org),
      Effect.map((rows) => rows.map((row) => row.id))
    )

  return {
    atomic: (effect) => atomically(sql, effect),
    put: (fact, dedupe) =>
      sql`INSERT INTO memories (id, org_id, scope, text, source_run, source_call, dedupe, created_by, created_at, expires_at)
        VALUES (${fact.id}, ${fact.org}, ${fact.scope}, ${fact.text}, ${fact.sourceRun}, ${fact.sourceCall}, ${dedupe}, ${fact.createdBy},
          ${time(fact.createdAt)}, ${time(fact.expiresAt)})
        ON CONFLICT (org_id, dedupe) DO UPDATE SET dedupe = excluded.dedupe RETURNING ${columns}`.pipe(
        Effect.map((rows) => decode(rows).map(factOf)[0] ?? fact),
        reply
      ),
    // The words of the question as the index has them; those that say nothing (is, the) are none. A question that stands in a memory
    // letter by letter finds it, too, where there are no such words, as in languages that Postgres does not know.
    find: (org, { limit, scopes, text }, at) =>
      sql`WITH asked AS (SELECT tsvector_to_array(to_tsvector('pg_catalog.english', ${text})) AS words),
        found AS (
          SELECT ${columns}, CASE WHEN position(lower(${text}) in lower(text)) > 0 THEN 1
            ELSE (SELECT count(*) FROM unnest(asked.words) AS w (word) WHERE word = ANY (tsvector_to_array(m.words)))
              / greatest(1, cardinality(asked.words))::double precision END AS score
          FROM memories m, asked
          WHERE ${living(org, { scopes }, at)}
            AND (m.words @@ replace(plainto_tsquery('pg_catalog.english', ${text})::text, ' & ', ' | ')::tsquery
              OR position(lower(${text}) in lower(text)) > 0)
        )
        SELECT * FROM found ORDER BY score DESC, id DESC LIMIT ${limit}`.pipe(
        read(org),
        Effect.map((rows) => decodeFound(rows).map(({ score, ...row }) => ({ ...factOf(row), score }))),
        reply
      ),
    list: (org, filter, at) =>
      sql`SELECT ${columns} FROM memories WHERE ${living(org, filter, at)} ORDER BY id DESC LIMIT ${filter.limit ?? 100}`.pipe(
        read(org),
        Effect.map((rows) => decode(rows).map(factOf)),
        reply
      ),
    // What is not to be seen by the organisation is not found, so that it cannot go either.
    remove: (org, what) =>
      idsOf(org, meant(what)).pipe(
        Effect.flatMap((ids) => sql<{ readonly text: string }>`DELETE FROM memories WHERE id = ANY (${ids}::text[]) RETURNING text`),
        Effect.map((rows) => rows.map((row) => row.text)),
        reply
      ),
    takeOut: Effect.fnUntraced(function*(org, texts, runs) {
      const take = takeOut(texts)
      const holding = mayHold(sql, "text", texts)
      const ids = yield* reply(idsOf(org, runs === undefined ? holding : sql.and([holding, sql`source_run = ANY (${[...runs]}::text[])`])))
      // Somebody else may be forgetting another part of the same memory.
      const rows = yield* sql<{ readonly id: string; readonly text: string }>`
        SELECT id, text FROM memories WHERE id = ANY (${ids}::text[]) ORDER BY id FOR UPDATE`.pipe(reply)
      const changed = rows.map(({ id, text }) => ({ id, before: text, text: take(text) })).filter(({ before, text }) => text !== before)
      const gone = changed.filter(({ text }) => isEmptied(text)).map(({ id }) => id)
      if (gone.length > 0) yield* reply(sql`DELETE FROM memories WHERE id = ANY (${gone}::text[])`)
      for (const { id, text } of changed) {
        if (!gone.includes(id)) yield* reply(sql`UPDATE memories SET text = ${text} WHERE id = ${id}`)
      }
      return gone.length
    }, (effect) => atomically(sql, effect)),
    removeExpired: (at) => sql`DELETE FROM memories WHERE expires_at <= ${time(at)}`.pipe(Effect.asVoid, reply),
    erasures: sql`SELECT id, org_id, texts, runs, requested_by, created_at FROM memory_erasures ORDER BY id`.pipe(
      Effect.map((rows) =>
        decodeErasures(rows).map(({ created_at, id, org_id: org, requested_by: by, runs, texts }) =>
          ({ id, org, texts, runs, by, at: created_at.getTime() }))),
      reply
    ),
    begin: ({ by, id, org, texts }) =>
      sql`INSERT INTO memory_erasures (id, org_id, texts, requested_by)
        VALUES (${id}, ${org}, ${JSON.stringify(texts)}::text::jsonb, ${by})`.pipe(Effect.asVoid, reply),
    wait: (id, runs) => sql`UPDATE memory_erasures SET runs = ${[...runs]}::text[] WHERE id = ${id}`.pipe(Effect.asVoid, reply),
    end: (id) => sql`DELETE FROM memory_erasures WHERE id = ${id}`.pipe(Effect.asVoid, reply)
  }
})
