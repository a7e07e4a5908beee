import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { answered, problemOf, readerOf } from "./Database.ts"
import { AgentName, isOver, type OrgId, StorageFailed } from "./Run.ts"
import { FlushPatience, RunLog } from "./RunLog.ts"

/** The runs of an organisation that ended within a time, in milliseconds since 1970. */
export interface Span {
  readonly org: OrgId
  readonly since?: number
  readonly until?: number
}

/** How many runs of an agent ended how. */
export interface Outcome {
  readonly agent: AgentName
  readonly status: string
  /** The tag of the error of those that failed. */
  readonly error: string | null
  readonly runs: number
}

/** How runs ended. */
export class Outcomes extends Context.Service<Outcomes, {
  readonly read: (span: Span) => Effect.Effect<ReadonlyArray<Outcome>, StorageFailed>
}>()("conductor-ai/Outcomes") {
  /** From Postgres. */
  static readonly layer = Layer.effect(Outcomes, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const patience = yield* FlushPatience
    const as = readerOf(sql)
    return Outcomes.of({
      read: Effect.fn("Outcomes.read")(({ org, since, until }) =>
        sql<{ readonly agent: string; readonly status: string; readonly error: string | null; readonly runs: bigint }>`
          SELECT agent, status, error_tag AS error, count(*) AS runs FROM runs WHERE ${
          sql.and([
            sql`org_id = ${org}`,
            sql`ended_at IS NOT NULL`,
            ...(since === undefined ? [] : [sql`ended_at >= to_timestamp(${since}::double precision / 1000)`]),
            ...(until === undefined ? [] : [sql`ended_at < to_timestamp(${until}::double precision / 1000)`])
          ])
        } GROUP BY 1, 2, 3`.pipe(
          as(org),
          (statement) => answered(patience, statement),
          Effect.mapError((error) => new StorageFailed({ operation: "outcomes", problem: problemOf(error), cause: error })),
          Effect.map((rows) => rows.map((row) => ({ ...row, agent: AgentName.make(row.agent), runs: Number(row.runs) })))
        )
      )
    })
  }))

  /** From process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Outcomes, Effect.gen(function*() {
    const log = yield* RunLog
    return Outcomes.of({
      read: Effect.fn("Outcomes.read")(function*({ org, since = -Infinity, until = Infinity }) {
        const found = new Map<string, Outcome>()
        for (const { agent, endedAt, error, status } of yield* log.as(org).list({ limit: Infinity })) {
          if (!isOver(status) || endedAt === null || endedAt < since || endedAt >= until) continue
          const key = JSON.stringify([agent, status, error])
          found.set(key, { agent, status, error, runs: (found.get(key)?.runs ?? 0) + 1 })
        }
        return [...found.values()]
      })
    })
  }))
}
