import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, problemOf, readerOf } from "../Database.ts"
import { OrgId, StorageFailed } from "../Run.ts"
import { FlushPatience } from "../RunLog.ts"
import { type ApiKey, KeyId, type Org, Scope, type Tenants, useInterval } from "./Tenants.ts"

const decodeOrgs = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  id: OrgId,
  name: Schema.String,
  created_at: Schema.Date,
  retention_days: Schema.NullOr(Schema.Int)
})))

const decodeKeys = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  id: KeyId,
  org_id: OrgId,
  name: Schema.String,
  prefix: Schema.String,
  scopes: Schema.Array(Scope),
  requests_per_minute: Schema.NullOr(Schema.Int),
  created_at: Schema.Date,
  created_by: Schema.NullOr(Schema.String),
  expires_at: Schema.NullOr(Schema.Date),
  revoked_at: Schema.NullOr(Schema.Date),
  revoked_by: Schema.NullOr(Schema.String),
  last_used_at: Schema.NullOr(Schema.Date)
})))

const orgsOf = (rows: ReadonlyArray<unknown>): ReadonlyArray<Org> =>
  decodeOrgs(rows).map((row) => ({ id: row.id, name: row.name, createdAt: row.created_at.getTime(), retentionDays: row.retention_days }))

const keysOf = (rows: ReadonlyArray<unknown>): ReadonlyArray<ApiKey> =>
  decodeKeys(rows).map((row) => ({
    id: row.id,
    org: row.org_id,
    name: row.name,
    prefix: row.prefix,
    scopes: row.scopes,
    requestsPerMinute: row.requests_per_minute,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
    expiresAt: row.expires_at?.getTime() ?? null,
    revokedAt: row.revoked_at?.getTime() ?? null,
    revokedBy: row.revoked_by,
    lastUsedAt: row.last_used_at?.getTime() ?? null
  }))

/** Organisations and keys in Postgres. */
export const makeSql = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const patience = yield* FlushPatience
  const storageFailed = (error: SqlError) => new StorageFailed({ operation: "tenants", problem: problemOf(error), cause: error })
  const reply = <A, R>(statement: Effect.Effect<A, SqlError, R>) => Effect.mapError(answered(patience, statement), storageFailed)
  const as = readerOf(sql)
  /** The columns of a key that its organisation may see: all but the hash. */
  const columns = sql.literal(`id, org_id, name, prefix, scopes, requests_per_minute, created_at, created_by, expires_at, revoked_at, revoked_by,
    last_used_at`)
  const time = (at: number | null) => sql`to_timestamp(${at}::double precision / 1000)`

  const tenants: Tenants = {
    atomic: (effect) =>
      Effect.catchIf(
        sql.withTransaction(effect),
        (error): error is SqlError => typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError",
        (error) => Effect.fail(storageFailed(error))
      ),
    insertOrg: ({ createdAt, id, name, retentionDays }) =>
      sql`INSERT INTO organizations (id, name, created_at, retention_days)
        VALUES (${id}, ${name}, ${time(createdAt)}, ${retentionDays}::integer) ON CONFLICT DO NOTHING RETURNING id`.pipe(
        Effect.map((rows) => rows.length === 1),
        reply
      ),
    org: (id) =>
      sql`SELECT id, name, created_at, retention_days FROM organizations WHERE id = ${id}`.pipe(
        Effect.map((rows) => Option.fromUndefinedOr(orgsOf(rows)[0])),
        reply
      ),
    orgs: sql`SELECT id, name, created_at, retention_days FROM organizations ORDER BY id`.pipe(Effect.map(orgsOf), reply),
    retain: (id, days) =>
      sql`UPDATE organizations SET retention_days = ${days}::integer WHERE id = ${id} RETURNING id`.pipe(
        Effect.map((rows) => rows.length === 1),
        reply
      ),
    lock: (id) => sql`SELECT 1 FROM organizations WHERE id = ${id} FOR NO KEY UPDATE`.pipe(Effect.asVoid, reply),
    insertKey: (key, hash) =>
      sql`INSERT INTO api_keys (id, org_id, name, prefix, hash, scopes, requests_per_minute, created_at, created_by, expires_at)
        VALUES (${key.id}, ${key.org}, ${key.name}, ${key.prefix}, ${hash}, ${[...key.scopes]}::text[], ${key.requestsPerMinute}::integer,
          ${time(key.createdAt)}, ${key.createdBy}, ${time(key.expiresAt)})`.pipe(Effect.asVoid, reply),
    // One round trip, and a write for the first use of a minute only.
    used: (hash, at) =>
      sql`WITH found AS (SELECT ${columns} FROM api_keys WHERE hash = ${hash}),
        noted AS (
          UPDATE api_keys k SET last_used_at = ${time(at)} FROM found
          WHERE k.id = found.id AND found.revoked_at IS NULL AND (found.expires_at IS NULL OR found.expires_at > ${time(at)})
            AND (k.last_used_at IS NULL OR k.last_used_at <= ${time(at - useInterval)})
        )
        SELECT * FROM found`.pipe(Effect.map((rows) => Option.fromUndefinedOr(keysOf(rows)[0])), reply),
    // The clocks of processes differ: the allowance fills up by the one that is ahead.
    take: (id, { at, back, count, limit }) =>
      sql<{ readonly taken: number; readonly tokens: number }>`INSERT INTO api_key_rates AS r (key_id, tokens, at, taken)
        VALUES (${id}, ${limit}::double precision - ${count}::integer, ${at}::double precision, ${count}::integer)
        ON CONFLICT (key_id) DO UPDATE SET (tokens, at, taken) = (
          SELECT f.there - least(${count}::integer, floor(f.there)), greatest(r.at, excluded.at), least(${count}::integer, floor(f.there))
          FROM (SELECT least(${limit}::double precision,
            r.tokens + ${back}::integer + greatest(0, excluded.at - r.at) * ${limit}::double precision / 60000) AS there) AS f)
        RETURNING taken, tokens`.pipe(Effect.map(([row]) => row ?? { taken: 0, tokens: 0 }), reply),
    keys: (org) =>
      sql`SELECT ${columns} FROM api_keys WHERE org_id = ${org} ORDER BY created_at DESC, id DESC`.pipe(
        as(org),
        Effect.map(keysOf),
        reply
      ),
    revoke: Effect.fnUntraced(function*(org, id, by, at) {
      // What is another's is not found, also where this statement forgot to say whose key is meant.
      const found = yield* reply(as(org)(sql`SELECT id FROM api_keys WHERE org_id = ${org} AND id = ${id}`))
      if (found.length === 0) return Option.none()
      return yield* sql<{ readonly is_first: boolean }>`WITH before AS (SELECT id, revoked_at FROM api_keys WHERE id = ${id} FOR UPDATE)
        UPDATE api_keys k SET revoked_at = coalesce(k.revoked_at, ${time(at)}), revoked_by = CASE WHEN k.revoked_at IS NULL THEN ${by} ELSE k.revoked_by END
        FROM before WHERE k.id = before.id
        RETURNING k.id, org_id, name, prefix, scopes, requests_per_minute, created_at, created_by, expires_at, k.revoked_at, revoked_by,
          last_used_at, before.revoked_at IS NULL AS is_first`.pipe(
        Effect.map((rows) => {
          const [key] = keysOf(rows)
          return key === undefined ? Option.none() : Option.some({ key, isFirst: rows[0]?.is_first === true })
        }),
        reply
      )
    })
  }
  return tenants
})
