import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, problemOf, readerOf } from "./Database.ts"
import { type OrgId, SessionId, StorageFailed } from "./Run.ts"
import { FlushPatience, RunLog, Tables } from "./RunLog.ts"

/** A conversation. */
export interface Session {
  readonly session: SessionId
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly runs: number
}

/** The conversations of an organisation: those that were begun by name, and those of its runs. */
export class Sessions extends Context.Service<Sessions, {
  /** Begins a conversation, unless there is one of that name. */
  readonly create: (org: OrgId, session: SessionId) => Effect.Effect<Session, StorageFailed>
  readonly find: (org: OrgId, session: SessionId) => Effect.Effect<Option.Option<Session>, StorageFailed>
  /** Newest first, those that came before another one. */
  readonly list: (org: OrgId, options: { readonly limit: number; readonly before?: SessionId }) => Effect.Effect<
    ReadonlyArray<Session>,
    StorageFailed
  >
}>()("conductor-ai/Session") {
  /** Conversations in Postgres. */
  static readonly layer = Layer.effect(Sessions, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const patience = yield* FlushPatience
    const as = readerOf(sql)
    const reply = <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
      Effect.mapError(answered(patience, statement), (error) =>
        new StorageFailed({ operation: "sessions", problem: problemOf(error), cause: error }))
    type Row = { readonly id: string; readonly created_at: Date; readonly runs: bigint }
    const sessionOf = (row: Row): Session => ({ session: SessionId.make(row.id), createdAt: row.created_at.getTime(), runs: Number(row.runs) })
    const read = (org: OrgId, where: ReturnType<typeof sql.and>, limit: number) =>
      sql<Row>`SELECT s.id, s.created_at, (SELECT count(*) FROM runs r WHERE r.org_id = s.org_id AND r.session_id = s.id) AS runs
        FROM sessions s WHERE s.org_id = ${org} AND ${where} ORDER BY s.created_at DESC, s.id DESC LIMIT ${limit}`.pipe(
        as(org),
        Effect.map((rows) => rows.map(sessionOf)),
        reply
      )
    const find = (org: OrgId, session: SessionId) =>
      Effect.map(read(org, sql.and([sql`s.id = ${session}`]), 1), (rows) => Option.fromUndefinedOr(rows[0]))
    return Sessions.of({
      create: Effect.fn("Sessions.create")(function*(org, session) {
        yield* sql`INSERT INTO organizations (id, name) VALUES (${org}, ${org}) ON CONFLICT (id) DO NOTHING`.pipe(reply)
        yield* sql`INSERT INTO sessions (org_id, id) VALUES (${org}, ${session}) ON CONFLICT DO NOTHING`.pipe(reply)
        // It was just written.
        return Option.getOrThrow(yield* find(org, session))
      }),
      find: Effect.fn("Sessions.find")(find),
      list: Effect.fn("Sessions.list")((org, { before, limit }) =>
        read(
          org,
          before === undefined
            ? sql.and([sql`true`])
            : sql.and([sql`(s.created_at, s.id) < (SELECT b.created_at, b.id FROM sessions b WHERE b.org_id = ${org} AND b.id = ${before})`]),
          limit
        )
      )
    })
  }))

  /** Conversations in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Sessions, Effect.gen(function*() {
    const begun = (yield* Tables).get("conversations", () => new Map<string, { readonly org: OrgId; readonly session: SessionId; readonly at: number }>())
    const log = yield* RunLog
    const nameOf = (org: OrgId, session: SessionId) => JSON.stringify([org, session])
    const all = Effect.fnUntraced(function*(org: OrgId) {
      const found = new Map<SessionId, Session>()
      for (const one of begun.values()) {
        if (one.org === org) found.set(one.session, { session: one.session, createdAt: one.at, runs: 0 })
      }
      for (const { createdAt, session } of yield* log.as(org).list({ limit: Infinity })) {
        const known = found.get(session)
        found.set(session, { session, createdAt: Math.min(known?.createdAt ?? createdAt, createdAt), runs: (known?.runs ?? 0) + 1 })
      }
      return [...found.values()].toSorted((a, b) => b.createdAt - a.createdAt || (a.session < b.session ? 1 : -1))
    })
    const find = Effect.fnUntraced(function*(org: OrgId, session: SessionId) {
      return Option.fromUndefinedOr((yield* all(org)).find((one) => one.session === session))
    })
    return Sessions.of({
      create: Effect.fn("Sessions.create")(function*(org, session) {
        const at = yield* Clock.currentTimeMillis
        const name = nameOf(org, session)
        if (!begun.has(name)) begun.set(name, { org, session, at })
        return Option.getOrThrow(yield* find(org, session))
      }),
      find,
      list: Effect.fn("Sessions.list")(function*(org, { before, limit }) {
        const sessions = yield* all(org)
        const from = before === undefined ? 0 : sessions.findIndex(({ session }) => session === before) + 1
        return before !== undefined && from === 0 ? [] : sessions.slice(from, from + limit)
      })
    })
  }))
}
