import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { problemOf, readerOf } from "../Database.ts"
import * as Money from "../Money.ts"
import { StorageFailed } from "../Run.ts"
import type { Period } from "./Account.ts"
import type { Corrected, Report } from "./Correct.ts"

const Milliseconds = Schema.NullOr(Schema.BigInt)

const Rows = Schema.Array(Schema.Struct({
  scope: Schema.String,
  limit: Money.FromString,
  spent: Money.FromString,
  reserved: Money.FromString,
  excess: Money.FromString,
  period: Schema.Literals(["none", "day", "month"]),
  since: Milliseconds,
  until: Milliseconds
}))

const Answer = Schema.NullOr(Schema.Struct({ before: Money.FromString, difference: Money.FromString, changed: Schema.Boolean }))

const numberOf = (time: bigint | null): number | null => time === null ? null : Number(time)

/** Errors of statements, and those of what was written with them, as those of an operation. */
const failed = (operation: string) =>
  Effect.mapError((error: SqlError | StorageFailed) =>
    error._tag === "StorageFailed" ? error : new StorageFailed({ operation, problem: problemOf(error), cause: error }))

/** The table `budgets` and its functions. */
export const makeSql = Effect.map(SqlClient.SqlClient, (sql) => {
  const reader = readerOf(sql)
  const decodeRows = Schema.decodeUnknownSync(Rows)
  const decodeAnswer = Schema.decodeUnknownSync(Answer)

  return {
    /** A statement and what is to be written down of it, together or not at all. */
    together: <A, R>(operation: string, effect: Effect.Effect<A, SqlError | StorageFailed, R>) =>
      failed(operation)(sql.withTransaction(effect)),

    set: (org: string, scope: string, limit: Money.Money, period: Period | null) =>
      sql`INSERT INTO budgets AS b (org_id, scope, limit_usd, period, until)
        VALUES (${org}, ${scope}, ${Money.format(limit)}::numeric, coalesce(${period}::text, 'none'),
          conductor_period_until(coalesce(${period}::text, 'none'), clock_timestamp()))
        ON CONFLICT (org_id, scope) DO UPDATE
        SET limit_usd = excluded.limit_usd, period = coalesce(${period}::text, b.period), updated_at = now()`,

    /** True where there was one. One that holds reservations stays, unseen, until they are settled. */
    remove: Effect.fnUntraced(function*(org: string, scope: string) {
      // What is another's is not found, also where this forgot to say whose budget is meant; what goes is what was found.
      const [found] = yield* reader(org)(sql<{ readonly org_id: string; readonly scope: string }>`
        SELECT org_id, scope FROM budgets WHERE org_id = ${org} AND scope = ${scope}`)
      if (found === undefined) return false
      const own = sql`(org_id, scope) = (${found.org_id}, ${found.scope})`
      const rows = yield* sql<{ readonly removed: boolean }>`SELECT removed FROM budgets WHERE ${own} FOR UPDATE`
      yield* sql`DELETE FROM budgets WHERE ${own} AND reserved_usd = 0`
      yield* sql`UPDATE budgets SET removed = true, updated_at = now() WHERE ${own}`
      return rows[0]?.removed === false
    }),

    /** As they are now: of a period that is over nothing counts but what is still reserved. */
    list: (org: string, idleRuns: boolean) =>
      sql`SELECT scope, limit_usd AS limit, period, reserved_usd AS reserved,
          CASE WHEN until <= now() THEN 0 ELSE spent_usd END AS spent,
          CASE WHEN until <= now() THEN least(excess_usd, greatest(reserved_usd - limit_usd, 0)) ELSE excess_usd END AS excess,
          CASE WHEN isfinite(since) THEN (extract(epoch FROM CASE WHEN until <= now() THEN conductor_period_since(period, now()) ELSE since END) * 1000)::bigint END AS since,
          (extract(epoch FROM CASE WHEN until <= now() THEN conductor_period_until(period, now()) ELSE until END) * 1000)::bigint AS until
        FROM budgets WHERE org_id = ${org} AND NOT removed AND (${idleRuns} OR reserved_usd > 0 OR NOT starts_with(scope, 'run:')) ORDER BY scope COLLATE "C"`.pipe(
        reader(org),
        Effect.map((rows) => decodeRows(rows).map((row) => ({ ...row, since: numberOf(row.since), until: numberOf(row.until) }))),
        failed("budgets")
      ),

    correct: (org: string, attempt: string, { cost, requestId, usage }: Report): Effect.Effect<Corrected | undefined, SqlError> =>
      sql<{ readonly answer: unknown }>`SELECT conductor_correct_call(${org}, ${attempt}, ${Money.format(cost)}::numeric, ${requestId ?? null}::text,
        ${usage === undefined ? null : JSON.stringify(usage)}::text::jsonb) AS answer`.pipe(
        Effect.map(([row]) => decodeAnswer(row?.answer ?? null) ?? undefined)
      )
  }
})
