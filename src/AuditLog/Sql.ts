import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { readerOf, texts } from "../Database.ts"
import { StorageFailed } from "../Run.ts"
import { origin, type Stored } from "./Chain.ts"
import type { Filter, Where } from "./Filter.ts"
import { cellsOf, type Unsealed } from "./Row.ts"
import type { Source } from "./Verify.ts"

/** A row as the driver gives it: `int8` is a bigint. */
type Fetched = Omit<Stored, "n" | "at" | "erasedAt"> & {
  readonly n: bigint
  readonly at: bigint
  readonly erasedAt: bigint | null
}

const toStored = (row: Fetched): Stored => ({
  ...row,
  n: Number(row.n),
  at: Number(row.at),
  erasedAt: row.erasedAt === null ? null : Number(row.erasedAt)
})

const failed = (operation: string) =>
  Effect.mapError((error: SqlError) => new StorageFailed({ operation, problem: error.message, cause: error }))

/** The table `audit_logs` and its functions. */
export const makeSql = Effect.map(SqlClient.SqlClient, (sql) => {
  const reader = readerOf(sql)
  const columns = sql.literal(`id::text AS id, org_id AS "org", n, (extract(epoch FROM "timestamp") * 1000000)::bigint AS "at", event, action,
    tool_name AS "name", principal, agent, session_id AS "session", run_id AS "run", seq, call_id AS "call", source_project AS "project",
    success, duration_ms AS "durationMs", trim_scale(cost_usd)::text AS "cost", target_entity AS "target", input_params::text AS "input",
    output_summary AS "output", error_message AS "error", salt, content_digest AS "contentDigest", hash,
    (extract(epoch FROM erased_at) * 1000000)::bigint AS "erasedAt"`)

  const list = (filter: Filter) =>
    sql<Fetched>`SELECT ${columns} FROM audit_logs WHERE ${
      sql.and([
        sql`org_id = ${filter.org}`,
        ...(filter.run === undefined ? [] : [sql`run_id = ${filter.run}`]),
        ...(filter.session === undefined ? [] : [sql`session_id = ${filter.session}`]),
        ...(filter.tool === undefined ? [] : [sql`tool_name = ${filter.tool}`]),
        ...(filter.action === undefined ? [] : [sql`action = ${filter.action}`]),
        ...(filter.target === undefined ? [] : [sql`target_entity = ${filter.target}`]),
        ...(filter.success === undefined ? [] : [sql`success = ${filter.success}`]),
        ...(filter.before === undefined ? [] : [sql`n < ${filter.before}`])
      ])
    } ORDER BY n DESC LIMIT ${filter.limit}`.pipe(reader(filter.org), Effect.map((rows) => rows.map(toStored)), failed("audit"))

  const source = (org: string): Source => ({
    end: sql<{ readonly n: bigint | null; readonly hash: Uint8Array | null; readonly last: bigint | null }>`
      SELECT (SELECT max(n) FROM audit_logs WHERE org_id = ${org}) AS last, h.n, h.hash
      FROM (VALUES (1)) AS one LEFT JOIN audit_heads h ON h.org_id = ${org}`.pipe(
      reader(org),
      Effect.map(([end]) => ({ n: Number(end?.n ?? 0), hash: end?.hash ?? origin, last: Number(end?.last ?? 0) })),
      failed("verify")
    ),
    page: (after, last, limit) =>
      sql<Fetched>`SELECT ${columns} FROM audit_logs WHERE org_id = ${org} AND n > ${after} AND n <= ${last} ORDER BY n LIMIT ${limit}`.pipe(
        reader(org),
        Effect.map((rows) => rows.map(toStored)),
        failed("verify")
      )
  })

  const erase = (org: string, where: Where, by: string) =>
    sql<{ readonly rows: bigint }>`SELECT audit_erase(${org}, ${by}, ${"run" in where ? where.run : null}::text,
      ${"target" in where ? where.target : null}::text, ${"n" in where ? where.n : null}::bigint) AS rows`.pipe(
      Effect.map(([answer]) => Number(answer?.rows ?? 0)),
      failed("erase")
    )

  const append = (row: Unsealed) => sql`SELECT conductor_project_trail(${texts(cellsOf(row, 0))})`.pipe(Effect.asVoid, failed("audit"))

  return { list, source, erase, append }
})
