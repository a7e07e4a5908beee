import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, problemOf } from "./Database.ts"
import { canonical, type OrgId, RunId, StorageFailed } from "./Run.ts"
import { FlushPatience, Tables } from "./RunLog.ts"

interface Kept {
  readonly fingerprint: string
  readonly run: RunId
  readonly at: number
}

const table = (tables: Tables["Service"]) => tables.get("requests", () => new Map<string, Kept>())

/** Puts another fingerprint in the place of that of the request in process memory that a run is of. */
export const rewriteFingerprint = (tables: Tables["Service"], run: RunId, fingerprint: string): void => {
  for (const [name, kept] of table(tables)) if (kept.run === run) table(tables).set(name, { ...kept, fingerprint })
}

/** Milliseconds for which a key stands for its request. */
const lifetime = 24 * 60 * 60 * 1000

/** SHA-256, in hex, of what a request asks for, however its JSON is written. */
export const fingerprintOf = (request: unknown): string => createHash("sha256").update(JSON.stringify(canonical(request))).digest("hex")

/** A request that carries a key. */
export interface Keyed {
  readonly org: OrgId
  readonly key: string
  readonly fingerprint: string
}

/** What a key stands for: a run, and whether its request is the one that it was first used for. */
export interface Claimed {
  readonly run: RunId
  readonly isFirst: boolean
  readonly isSame: boolean
}

/** The keys of requests that are carried out once, each for a day. */
export class Idempotency extends Context.Service<Idempotency, {
  /** Has a key stand for a run, unless it stands for another already. */
  readonly claim: (request: Keyed, run: RunId) => Effect.Effect<Claimed, StorageFailed>
  /** Has a key that stands for a run stand for the one that its request came to instead. */
  readonly settle: (request: Keyed, claimed: RunId, run: RunId) => Effect.Effect<void, StorageFailed>
  /** Forgets keys that are older than a day. */
  readonly prune: Effect.Effect<void, StorageFailed>
}>()("conductor-ai/Idempotency") {
  /** Keys in Postgres. */
  static readonly layer = Layer.effect(Idempotency, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const patience = yield* FlushPatience
    const reply = <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
      Effect.mapError(answered(patience, statement), (error) =>
        new StorageFailed({ operation: "requests", problem: problemOf(error), cause: error }))
    const old = sql`now() - ${lifetime} * interval '1 millisecond'`
    return Idempotency.of({
      claim: Effect.fn("Idempotency.claim")(function*({ fingerprint, key, org }, run) {
        const [row] = yield* sql<{ readonly run_id: string; readonly fingerprint: string }>`
          INSERT INTO requests AS r (org_id, key, fingerprint, run_id) VALUES (${org}, ${key}, ${fingerprint}, ${run})
          ON CONFLICT (org_id, key) DO UPDATE SET
            fingerprint = CASE WHEN r.created_at < ${old} THEN excluded.fingerprint ELSE r.fingerprint END,
            run_id = CASE WHEN r.created_at < ${old} THEN excluded.run_id ELSE r.run_id END,
            created_at = CASE WHEN r.created_at < ${old} THEN now() ELSE r.created_at END
          RETURNING run_id, fingerprint`.pipe(reply)
        const claimed = row?.run_id ?? run
        return { run: RunId.make(claimed), isFirst: claimed === run, isSame: row === undefined || row.fingerprint === fingerprint }
      }),
      settle: Effect.fn("Idempotency.settle")(({ key, org }, claimed, run) =>
        // The run that it stands for is nobody else's, also where this forgot to say whose key is meant.
        sql`UPDATE requests SET run_id = ${run} WHERE org_id = ${org} AND key = ${key} AND run_id = ${claimed}`.pipe(Effect.asVoid, reply)
      ),
      prune: sql`DELETE FROM requests WHERE created_at < ${old}`.pipe(Effect.asVoid, reply)
    })
  }))

  /** Keys in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Idempotency, Effect.gen(function*() {
    const tables = yield* Tables
    const kept = table(tables)
    const nameOf = ({ key, org }: Keyed) => JSON.stringify([org, key])
    return Idempotency.of({
      claim: (request, run) =>
        Effect.map(Clock.currentTimeMillis, (at) => {
          const found = kept.get(nameOf(request))
          if (found !== undefined && at - found.at <= lifetime) {
            return { run: found.run, isFirst: false, isSame: found.fingerprint === request.fingerprint }
          }
          kept.set(nameOf(request), { fingerprint: request.fingerprint, run, at })
          return { run, isFirst: true, isSame: true }
        }),
      settle: (request, claimed, run) =>
        Effect.sync(() => {
          const found = kept.get(nameOf(request))
          if (found?.run === claimed) kept.set(nameOf(request), { ...found, run })
        }),
      prune: Effect.map(Clock.currentTimeMillis, (at) => {
        for (const [name, one] of kept) if (at - one.at > lifetime) kept.delete(name)
      })
    })
  }))
}
