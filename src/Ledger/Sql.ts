import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, problemOf, readerOf } from "../Database.ts"
import * as Money from "../Money.ts"
import { type OrgId, type RunId, StorageFailed } from "../Run.ts"
import { type By, type Line, nothing, plus, type Range, type RunCost, type ToolLine, type Totals } from "./Line.ts"

/** How long a reading may take: it may go through all that an organisation ever did. */
const patience = Duration.minutes(1)

const sums = {
  calls: Schema.BigInt,
  failed: Schema.BigInt,
  unpriced: Schema.BigInt,
  cost: Money.FromString,
  reported: Money.FromString,
  priced: Money.FromString,
  bound: Money.FromString,
  uncached: Schema.BigInt,
  cache_read: Schema.BigInt,
  cache_write: Schema.BigInt,
  cache_write_hour: Schema.BigInt,
  output: Schema.BigInt,
  reasoning: Schema.BigInt,
  web_searches: Schema.BigInt
}
const Sums = Schema.Struct(sums)

const totalsOf = (row: typeof Sums.Type): Totals => ({
  calls: Number(row.calls),
  failed: Number(row.failed),
  unpriced: Number(row.unpriced),
  cost: row.cost,
  reported: row.reported,
  priced: row.priced,
  bound: row.bound,
  usage: {
    uncached: Number(row.uncached),
    cacheRead: Number(row.cache_read),
    cacheWrite: Number(row.cache_write),
    cacheWriteHour: Number(row.cache_write_hour),
    output: Number(row.output),
    reasoning: Number(row.reasoning),
    webSearches: Number(row.web_searches)
  }
})

const decodeLines = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ key: Schema.String, ...sums })))
const decodeRuns = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ id: Schema.String, ...sums })))
const decodeTools = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  tool: Schema.NullOr(Schema.String),
  cost: Money.FromString,
  calls: Schema.BigInt,
  failed: Schema.BigInt,
  time: Schema.BigInt
})))

const keys: Readonly<Record<By, string>> = {
  org: "org_id",
  session: "session_id",
  agent: "agent",
  model: "provider || ':' || model",
  day: "to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
}

/** The readings of `model_attempts`, `audit_logs` and `runs`. */
export const makeSql = Effect.map(SqlClient.SqlClient, (sql) => {
  const reader = readerOf(sql)
  const reply = <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
    Effect.mapError(answered(patience, statement), (error) => new StorageFailed({ operation: "cost", problem: problemOf(error), cause: error }))

  // A run without attempts has a row without one.
  const totals = sql.literal(`count(cost_source) AS calls, count(*) FILTER (WHERE error IS NOT NULL) AS failed,
    count(*) FILTER (WHERE cost_source = 'unpriced') AS unpriced, coalesce(sum(cost_usd), 0) AS cost,
    coalesce(sum(cost_usd) FILTER (WHERE cost_source = 'reported'), 0) AS reported,
    coalesce(sum(cost_usd) FILTER (WHERE cost_source = 'priced'), 0) AS priced,
    coalesce(sum(cost_usd) FILTER (WHERE cost_source = 'bound'), 0) AS bound,
    coalesce(sum(uncached_tokens), 0)::bigint AS uncached, coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read,
    coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write, coalesce(sum(cache_write_hour_tokens), 0)::bigint AS cache_write_hour,
    coalesce(sum(output_tokens), 0)::bigint AS output, coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning,
    coalesce(sum(web_searches), 0)::bigint AS web_searches`)

  const within = (at: string, { org, since, until }: Range) => {
    const time = sql.literal(at)
    return sql.and([
      sql`org_id = ${org}`,
      ...(since === undefined ? [] : [sql`${time} >= to_timestamp(${since}::double precision / 1000)`]),
      ...(until === undefined ? [] : [sql`${time} < to_timestamp(${until}::double precision / 1000)`])
    ])
  }

  const lines = (by: By, range: Range): Effect.Effect<ReadonlyArray<Line>, StorageFailed> =>
    sql`SELECT ${sql.literal(keys[by])} AS key, ${totals} FROM model_attempts WHERE ${within("ended_at", range)} GROUP BY 1`.pipe(
      reader(range.org),
      reply,
      Effect.map((rows) => decodeLines(rows).map((row) => ({ key: row.key, ...totalsOf(row) })))
    )

  // `div` and the multiplication are exact where a division would round.
  const tools = (range: Range): Effect.Effect<ReadonlyArray<ToolLine>, StorageFailed> =>
    sql`WITH attempts AS (
        SELECT cost_usd, coalesce(tools, '[]') AS tools, jsonb_array_length(coalesce(tools, '[]')) AS n
        FROM model_attempts WHERE ${within("ended_at", range)}
      ), shared AS (
        SELECT cost_usd, tools, n, CASE WHEN n = 0 THEN 0 ELSE div(cost_usd * 1000000000000, n) * 0.000000000001 END AS share FROM attempts
      ), parts AS (
        SELECT t.tool, sum(share) AS cost, 0 AS calls, 0 AS failed, 0 AS time
        FROM shared CROSS JOIN LATERAL jsonb_array_elements_text(tools) AS t (tool) GROUP BY 1
        UNION ALL
        SELECT NULL, sum(cost_usd - n * share), 0, 0, 0 FROM shared HAVING count(*) > 0
        UNION ALL
        SELECT tool_name, 0, count(*), count(*) FILTER (WHERE NOT success), coalesce(sum(duration_ms), 0)
        FROM audit_logs WHERE event = 'ToolCompleted' AND ${within("\"timestamp\"", range)} GROUP BY 1
      )
      SELECT tool, sum(cost)::numeric(24, 12) AS cost, sum(calls)::bigint AS calls, sum(failed)::bigint AS failed, sum(time)::bigint AS time
      FROM parts GROUP BY 1`.pipe(
      reader(range.org),
      reply,
      Effect.map((rows) =>
        decodeTools(rows).map(({ calls, cost, failed, time, tool }) => ({
          tool, cost, calls: Number(calls), failed: Number(failed), timeMs: Number(time)
        })))
    )

  const run = (org: OrgId, id: RunId): Effect.Effect<RunCost | undefined, StorageFailed> =>
    sql`WITH RECURSIVE below AS (
        SELECT id FROM runs WHERE org_id = ${org} AND id = ${id} UNION SELECT r.id FROM runs r JOIN below b ON r.parent_run = b.id
      )
      SELECT b.id, ${totals} FROM below b LEFT JOIN model_attempts a ON a.run_id = b.id GROUP BY 1`.pipe(
      reader(org),
      reply,
      Effect.map((rows) => {
        const all = decodeRuns(rows)
        const own = all.find((row) => row.id === id)
        if (own === undefined) return undefined
        return { own: totalsOf(own), subtree: all.map(totalsOf).reduce(plus, nothing), runs: all.length }
      })
    )

  return { lines, tools, run }
})
