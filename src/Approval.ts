import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type Request, table } from "./Approval/Request.ts"
import { answered, problemOf, readerOf } from "./Database.ts"
import { type AgentName, ApprovalId, canonical, OrgId, RunId, StorageFailed } from "./Run.ts"
import { FlushPatience, Store, Tables } from "./RunLog.ts"

export { askedFor } from "./Approval/Asked.ts"
export * from "./Approval/Error.ts"
export { projection, type Request, rewriteComments, rewriteDigests, type Status } from "./Approval/Request.ts"

/** What an approval is bound to. `parameters` are those of the model, decoded by the tool and encoded again. */
export interface Bound {
  readonly org: OrgId
  readonly run: RunId
  readonly turn: number
  readonly call: string
  readonly tool: string
  readonly parameters: unknown
  readonly policy: string
}

/** SHA-256, in hex, of what an approval is bound to: it is good for nothing else. */
export const digestOf = ({ call, org, parameters, policy, run, tool, turn }: Bound): string => {
  const text = JSON.stringify(["conductor.approval.1", org, run, turn, call, tool, canonical(parameters), policy])
  return createHash("sha256").update(text).digest("hex")
}

const decode = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
  id: ApprovalId,
  org_id: OrgId,
  run_id: RunId,
  call_id: Schema.String,
  tool: Schema.String,
  digest: Schema.String,
  status: Schema.Literals(["pending", "approved", "denied", "expired", "withdrawn"]),
  created_at: Schema.Date,
  expires_at: Schema.Date,
  decided_by: Schema.NullOr(Schema.String),
  decided_at: Schema.NullOr(Schema.Date),
  comment: Schema.NullOr(Schema.String)
})))

const requestsOf = (rows: ReadonlyArray<unknown>): ReadonlyArray<Request> =>
  decode(rows).map((row) => ({
    id: row.id,
    org: row.org_id,
    run: row.run_id,
    call: row.call_id,
    tool: row.tool,
    digest: row.digest,
    status: row.status,
    createdAt: row.created_at.getTime(),
    expiresAt: row.expires_at.getTime(),
    decidedBy: row.decided_by,
    decidedAt: row.decided_at?.getTime() ?? null,
    comment: row.comment
  }))

/** Requests for a person's approval of a tool call, as the logs of runs say. */
export class Approval extends Context.Service<Approval, {
  /** A request of an organisation; another's is not there. */
  readonly find: (org: OrgId, id: string) => Effect.Effect<Option.Option<Request>, StorageFailed>
  /** The requests of an organisation that wait for a decision, oldest first. */
  readonly pending: (org: OrgId, limit: number) => Effect.Effect<ReadonlyArray<Request>, StorageFailed>
  /** The runs of these agents with a request whose time is over, at most a hundred, those that have waited longest first. */
  readonly overdue: (agents: ReadonlyArray<AgentName>) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
}>()("conductor-ai/Approval") {
  /** Requests in Postgres. */
  static readonly layer = Layer.effect(Approval, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const patience = yield* FlushPatience
    const reader = readerOf(sql)
    const failed = <A, R>(statement: Effect.Effect<A, SqlError, R>) =>
      Effect.mapError(answered(patience, statement), (error) =>
        new StorageFailed({ operation: "approvals", problem: problemOf(error), cause: error }))
    return Approval.of({
      find: Effect.fn("Approval.find")((org, id) =>
        sql`SELECT * FROM approvals WHERE org_id = ${org} AND id = ${id}`.pipe(
          reader(org),
          Effect.map((rows) => Option.fromUndefinedOr(requestsOf(rows)[0])),
          failed
        )
      ),
      pending: Effect.fn("Approval.pending")((org, limit) =>
        sql`SELECT * FROM approvals WHERE org_id = ${org} AND status = 'pending' ORDER BY created_at, id LIMIT ${limit}`.pipe(
          reader(org),
          Effect.map(requestsOf),
          failed
        )
      ),
      overdue: (agents) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          agents.length === 0 ? Effect.succeed([]) : sql<{ readonly run_id: RunId }>`
            SELECT a.run_id FROM approvals a JOIN runs r ON r.id = a.run_id
            WHERE a.status = 'pending' AND a.expires_at <= to_timestamp(${now}::double precision / 1000) AND ${sql.in("r.agent", agents)}
            ORDER BY a.expires_at LIMIT 100`.pipe(Effect.map((rows) => [...new Set(rows.map((row) => row.run_id))]), failed))
    })
  }))

  /** Requests in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Approval, Effect.gen(function*() {
    const requests = table(yield* Tables)
    const store = yield* Store
    return Approval.of({
      find: (org, id) => Effect.sync(() => Option.filter(Option.fromUndefinedOr(requests.get(id)), (request) => request.org === org)),
      pending: (org, limit) =>
        Effect.sync(() => [...requests.values()].filter((one) => one.org === org && one.status === "pending").slice(0, limit)),
      overdue: (agents) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const late = [...requests.values()].filter((one) => one.status === "pending" && one.expiresAt <= now)
          const runs = [...new Set(late.toSorted((a, b) => a.expiresAt - b.expiresAt).map((one) => one.run))]
          const isOurs = (run: RunId) =>
            Effect.map(store.find(run), Option.exists((row) => agents.includes(row.agent)))
          return Effect.map(Effect.filter(runs, isOurs), (ours) => ours.slice(0, 100))
        })
    })
  }))
}

