import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { AuditLog } from "../AuditLog.ts"
import { problemOf } from "../Database.ts"
import { type OrgId, StorageFailed } from "../Run.ts"
import { CurrentPrincipal } from "./Current.ts"

/** How much went, by kind. */
const Gone = Schema.Struct({
  runs: Schema.Int,
  events: Schema.Int,
  /** Attempts of the ledger. */
  calls: Schema.Int,
  commands: Schema.Int,
  sessions: Schema.Int
})
export type Gone = typeof Gone.Type

/** Runs that go in one transaction. */
const batchSize = 100

const nothing: Gone = { runs: 0, events: 0, calls: 0, commands: 0, sessions: 0 }

const plus = (a: Gone, b: Gone): Gone => ({
  runs: a.runs + b.runs,
  events: a.events + b.events,
  calls: a.calls + b.calls,
  commands: a.commands + b.commands,
  sessions: a.sessions + b.sessions
})

/**
 * For how long what runs said is kept. The audit trail is not a part of it: it says what was done, stays whole, and its content goes by
 * `AuditLog.erase` alone.
 */
export class Retention extends Context.Service<Retention, {
  /** What {@link Retention} `prune` would delete now. */
  readonly count: (org: OrgId, before: number) => Effect.Effect<Gone, StorageFailed>
  /**
   * Deletes the finished runs of an organisation that ended before a time, in milliseconds since 1970, with all that hangs on them, and
   * the sessions that are older and have no run. What an unfinished or later run goes on from stays: a session goes when all of its runs
   * are over and old. As the current principal, a hundred runs a transaction, each with its row in the audit trail.
   */
  readonly prune: (org: OrgId, before: number) => Effect.Effect<Gone, StorageFailed>
}>()("conductor-ai/Org/Retention") {
  /** Retention in Postgres; what is in process memory goes with the process. */
  static readonly layer = Layer.effect(Retention, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const audit = yield* AuditLog
    const decode = Schema.decodeUnknownSync(Gone)
    const time = (at: number) => sql`to_timestamp(${at}::double precision / 1000)`
    const failed = Effect.mapError((error: SqlError | StorageFailed) =>
      error._tag === "StorageFailed" ? error : new StorageFailed({ operation: "prune", problem: problemOf(error), cause: error }))
    const asked = (statement: Effect.Effect<ReadonlyArray<{ readonly gone: unknown }>, SqlError>) =>
      Effect.map(statement, ([row]) => decode(row?.gone))

    const batch = Effect.fnUntraced(function*(org: OrgId, before: number) {
      const gone = yield* asked(sql`SELECT conductor_prune(${org}, ${time(before)}, ${batchSize}) AS gone`)
      if (gone.runs === 0 && gone.sessions === 0) return gone
      yield* audit.append({
        org,
        principal: yield* CurrentPrincipal,
        action: "admin",
        name: "prune",
        target: `org:${org}`,
        input: { before: DateTime.formatIso(DateTime.makeUnsafe(before)), ...gone }
      })
      return gone
    }, sql.withTransaction)

    return Retention.of({
      count: Effect.fn("Retention.count")((org, before) =>
        failed(asked(sql`SELECT conductor_prune_count(${org}, ${time(before)}) AS gone`))),
      prune: Effect.fn("Retention.prune")(function*(org, before) {
        let all = nothing
        for (;;) {
          const gone = yield* failed(batch(org, before))
          if (gone.runs === 0 && gone.sessions === 0) return all
          all = plus(all, gone)
        }
      })
    })
  }))
}
