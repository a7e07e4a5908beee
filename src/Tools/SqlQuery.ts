import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { SqlError, StatementTimeoutError } from "effect/sql/SqlError"
import { asOrg } from "../Database.ts"
import * as Tool from "../Tool.ts"
import * as SqlGuard from "./SqlGuard.ts"

/** A query that the database did not answer. */
export class SqlFailed extends Schema.TaggedError<SqlFailed>()("SqlFailed", {
  /** `query`: it is wrong; `timeout`: it took too long; `unavailable`: the database is not there, or would not do it now. */
  reason: Schema.Literals(["query", "timeout", "unavailable"]),
  /** What happened. */
  thing: Schema.String,
  /** What to do about it. */
  remedy: Schema.String
}) {
  override get message() {
    return `${this.thing}: ${this.remedy}.`
  }
}

/** What a query may read, and how much of everything it may use. */
export interface Options {
  /** Tables and views of the schema `public`; `leads` and the views of migration 001 by default. */
  readonly relations?: ReadonlyArray<string>
  /** Says to the model which columns there are; by default those of `leads`, where that may be read. */
  readonly columns?: string
  /** How long the query may take; 5 seconds by default. */
  readonly statementTimeout?: Duration.Input
  /** Bytes of rows, as JSON, at most; 65,536 by default. Rows beyond it are left out, and the result says so. */
  readonly maxBytes?: number
}

/** What the tool takes. */
export const Parameters = Schema.Struct({
  query: Schema.String.annotate({ description: "One SELECT statement of Postgres; values stand in it, not $1" }),
  max_rows: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })).annotate({
    description: "How many rows to give at most, 1 to 1000; 100 when left out"
  }))
})

/** What the tool gives: rows as lists of JSON values, in the order of `columns`; large or long numbers are strings. */
export const Rows = Schema.Struct({
  columns: Schema.Array(Schema.String),
  rows: Schema.Array(Schema.Array(Schema.Json)),
  row_count: Schema.Int,
  /** Whether there are more rows than these. */
  truncated: Schema.Boolean,
  /** Why there are more, and what to do about it. */
  note: Schema.optionalKey(Schema.String)
})

const defaultRelations = ["leads", "lead_pipeline", "recent_failures", "tool_usage_stats"]

const leadColumns = `leads has: id uuid, external_id text, source_project text, oem_brand text, zip_code text, company_name text, domain text, ` +
  `phone text, email text, address jsonb {street, city, state, zip, lat, lng}, stage text, employee_count integer, revenue_range text, ` +
  `linkedin_url text, contacts jsonb [{name, title, email, phone, linkedin}], license_status text, license_number text, ` +
  `license_expiry date, qualification_score integer 0-100, qualification_reasons jsonb, outreach_count integer, created_at timestamptz, ` +
  `updated_at timestamptz. A field of address is read as address->>'state'.`

/** Marks a row as one, so that the columns of a result without rows are known as well. */
const marker = "conductor row"

/**
 * One statement around a query, on lines of its own so that a comment at its end ends there. The database makes the JSON
 * and stops at the row limit; rows beyond the byte limit come as null. `x.*` is the row even where a column is named x. The
 * query is one that the guard let through.
 */
const around = (query: string, rows: number, bytes: number) => `SELECT
  CASE WHEN size <= ${bytes} THEN json END AS json,
  CASE WHEN n = 1 THEN (SELECT json_agg(key)::text FROM json_object_keys(json::json) AS key) END AS keys
FROM (
  SELECT json, row_number() OVER w AS n, sum(octet_length(json)) OVER w AS size
  FROM (
    SELECT to_json(x.*)::text AS json FROM (
      SELECT q.* FROM (SELECT 1) AS one LEFT JOIN (
        SELECT true AS "${marker}", q.* FROM (
${query}
        ) AS q LIMIT ${rows}
      ) AS q ON true
    ) AS x
  ) AS j
  WINDOW w AS (ROWS UNBOUNDED PRECEDING)
) AS r`

interface Answer {
  readonly json: string | null
  readonly keys: string | null
}

/** Numbers that a double would change stay as they are written, as text. */
const exactly = (_key: string, value: unknown, context?: { readonly source?: string }): unknown => {
  if (typeof value !== "number" || context?.source === undefined) return value
  const digits = context.source.replace(/^-?0*\.?0*|[eE].*$|\./g, "").length
  return digits > 15 || !Number.isFinite(value) ? context.source : value
}

const decodeKeys = Schema.decodeSync(Schema.fromJsonString(Schema.Array(Schema.String)))
const decodeRow = Schema.decodeUnknownSync(Schema.Record(Schema.String, Schema.Json))

/** Reads what the database answered; gives the name of a column that is there twice instead, since JSON holds it once. */
const read = (answers: ReadonlyArray<Answer>, maxRows: number, maxBytes: number): Result.Result<typeof Rows.Type, string> => {
  const keys = decodeKeys(answers[0]?.keys ?? "[]")
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice !== undefined) return Result.fail(twice)
  const columns = keys.slice(1)
  const rows: Array<ReadonlyArray<Schema.Json>> = []
  for (const { json } of answers.slice(0, maxRows)) {
    if (json === null) break
    const row = decodeRow(JSON.parse(json, exactly))
    if (row[marker] === true) rows.push(columns.map((column) => row[column] ?? null))
  }
  const isShort = rows.length < Math.min(answers.length, maxRows) && answers.at(-1)?.json === null
  const truncated = isShort || answers.length > maxRows
  const limit = isShort ? `the first ${rows.length} rows fit into the limit of ${maxBytes} bytes` : `the first ${maxRows} rows are here`
  const note = truncated ? { note: `Only ${limit}: aggregate, filter or select fewer columns.` } : {}
  return Result.succeed({ columns, rows, row_count: rows.length, truncated, ...note })
}

const text = (cause: unknown, name: "code" | "message" | "hint"): string | undefined => {
  if (typeof cause !== "object" || cause === null) return undefined
  const value: unknown = Reflect.get(cause, name)
  return typeof value === "string" ? value : undefined
}

/** Classes of SQLSTATE whose messages are about the query itself: cardinality, data, syntax and names, limits, features. */
const aboutTheQuery = /^(21|22|42|54|0A)/

/** What the model is told of an error; nothing of the server or the connection. */
const explain = (timeout: Duration.Duration) => ({ reason }: SqlError): SqlFailed => {
  if (reason._tag === "StatementTimeoutError") {
    return new SqlFailed({
      reason: "timeout",
      thing: `The query took longer than ${Duration.toSeconds(timeout)} s`,
      remedy: "filter more, join less or aggregate fewer rows"
    })
  }
  const code = text(reason.cause, "code")
  if (code !== undefined && aboutTheQuery.test(code)) {
    const problem = (text(reason.cause, "message") ?? "it is not valid").slice(0, 300)
    const hint = text(reason.cause, "hint")?.replace(/\.$/, "").slice(0, 300)
    return new SqlFailed({ reason: "query", thing: `The query failed (${problem})`, remedy: hint ?? "correct it" })
  }
  return new SqlFailed({ reason: "unavailable", thing: "The database did not answer the query", remedy: "try a simpler query, or later" })
}

/** The settings on which the meaning of a checked query depends: which `leads` is meant, what a backslash is, when a day ends. */
const settle = (sql: SqlClient.SqlClient) =>
  sql`SELECT
    set_config('search_path', 'public, pg_temp', true),
    set_config('standard_conforming_strings', 'on', true),
    set_config('timezone', 'UTC', true)`

/**
 * Makes the tool `sql_query` and its handler. A query is refused (`SqlRefused`) unless it is one SELECT over the given tables
 * that calls nothing but functions that compute. It runs as `authenticated` of the call's organisation, in a transaction
 * that only reads, with limits of time, rows and bytes; what goes wrong then is `SqlFailed`. Both are results for the model.
 */
export const make = (options: Options = {}) => {
  const relations: ReadonlySet<string> = new Set(options.relations ?? defaultRelations)
  const timeout = Duration.fromInputUnsafe(options.statementTimeout ?? "5 seconds")
  const maxBytes = Math.trunc(options.maxBytes ?? 65_536)
  const columns = options.columns ?? (relations.has("leads") ? leadColumns : "")
  const tool = Tool.make("sql_query", {
    description: `Runs one SELECT statement of Postgres on the organisation's data and gives its rows. Tables and views: ` +
      `${[...relations].join(", ")}. ${columns}`.trim(),
    parameters: Parameters,
    success: Rows,
    failure: Schema.Union([SqlGuard.SqlRefused, SqlFailed]),
    effect: "pure",
    category: "data",
    timeout: Duration.sum(timeout, Duration.seconds(30))
  })

  const handler = Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const guard = yield* SqlGuard.make(relations)
    // The embedded database does not keep time itself: interruption ends its statement.
    const late = Effect.timeoutOrElse({
      duration: Duration.sum(timeout, Duration.seconds(1)),
      orElse: () => Effect.fail(new SqlError({ reason: new StatementTimeoutError({ cause: undefined, operation: "sql_query" }) }))
    })
    return Effect.fn("sql_query")(function*(parameters: typeof Parameters.Type) {
      const call = yield* Tool.Call
      const query = yield* Effect.fromResult(guard(parameters.query))
      const maxRows = parameters.max_rows ?? 100
      const answers = yield* settle(sql).pipe(
        Effect.andThen(late(sql.unsafe<Answer>(around(query, maxRows + 1, maxBytes)).unprepared)),
        asOrg(call.org, { readOnly: true, statementTimeout: timeout }),
        Effect.provideService(SqlClient.SqlClient, sql),
        Effect.mapError(explain(timeout))
      )
      const result = read(answers, maxRows, maxBytes)
      if (Result.isSuccess(result)) return result.success
      const thing = `Two columns of the result have the name ${result.failure.slice(0, 60)}`
      return yield* new SqlFailed({ reason: "query", thing, remedy: "give each column its own name with AS" })
    })
  })

  return { tool, handler }
}
