import { type ApprovalId, isOver, type OrgId, type RunId, type RunState } from "../Run.ts"
import type { Projection, Row, Step, Tables } from "../RunLog.ts"

/** How a request stands; `withdrawn` is one that its run has ended before anybody decided. */
export type Status = "pending" | "approved" | "denied" | "expired" | "withdrawn"

/** A request for a person's approval of one tool call. Times are milliseconds since 1970. */
export interface Request {
  readonly id: ApprovalId
  readonly org: OrgId
  readonly run: RunId
  readonly call: string
  readonly tool: string
  readonly digest: string
  readonly status: Status
  readonly createdAt: number
  readonly expiresAt: number
  readonly decidedBy: string | null
  readonly decidedAt: number | null
  readonly comment: string | null
}

/** The requests of a process, by id. */
export const table = (tables: Tables["Service"]) => tables.get("approvals", () => new Map<string, Request>())

/** Puts other comments in the place of those about requests of a run in process memory. */
export const rewriteComments = (tables: Tables["Service"], run: RunId, change: (comment: string) => string): void => {
  for (const request of table(tables).values()) {
    if (request.run === run && request.comment !== null) table(tables).set(request.id, { ...request, comment: change(request.comment) })
  }
}

/** Puts another digest in the place of those of requests of a run in process memory that are for some calls. */
export const rewriteDigests = (tables: Tables["Service"], run: RunId, calls: ReadonlySet<string>, digest: string): void => {
  for (const request of table(tables).values()) {
    if (request.run === run && calls.has(request.call)) table(tables).set(request.id, { ...request, digest })
  }
}

const waiting = (state: RunState | undefined) => state?.open?.calls.filter((call) => call.status === "waiting") ?? []

/** What an event makes of a request: a new one, or the end of one. */
type Change = { readonly asked: Request; readonly policy: string | null } | {
  readonly id: ApprovalId
  readonly status: Status
  readonly at: number
  readonly by: string | null
  readonly comment: string | null
}

const changesOf = (step: Step): ReadonlyArray<Change> => {
  const { after, before, logged: { at, event, run } } = step
  if (event._tag === "ApprovalRequested") {
    const { approval: id, call, digest, expiresAt, name: tool, policy } = event
    const request = { id, org: after.org, run, call, tool, digest, createdAt: at, expiresAt }
    return [{ asked: { ...request, status: "pending", decidedBy: null, decidedAt: null, comment: null }, policy: policy ?? null }]
  }
  if (event._tag === "ApprovalDecided") {
    const asked = waiting(before).some((call) => call.approval?.id === event.approval)
    return asked ? [{ id: event.approval, status: event.decision, at, by: event.by, comment: event.comment }] : []
  }
  const gone = isOver(after.status)
    ? waiting(before)
    : event._tag === "ToolCompleted"
    ? waiting(before).filter((call) => call.part.id === event.call)
    : []
  return gone.flatMap(({ approval }) =>
    approval === null ? [] : [{ id: approval.id, status: "withdrawn" as const, at, by: null, comment: null }])
}

const cellsOf = (change: Change, append: number): Row => {
  if ("asked" in change) {
    const { asked, policy } = change
    return [
      String(append), asked.id, String(asked.createdAt), null, null, null,
      asked.org, asked.run, asked.call, asked.tool, asked.digest, policy, String(asked.expiresAt)
    ]
  }
  return [String(append), change.id, String(change.at), change.status, change.by, change.comment, null, null, null, null, null, null, null]
}

/** Requests as rows, kept as the events say. */
export const projection: Projection = {
  name: "approvals",
  order: 5,
  rows: ({ steps }, index) => steps.flatMap((step) => changesOf(step).map((change) => cellsOf(change, index))),
  keep: ({ steps }, tables) => {
    const requests = table(tables)
    for (const change of steps.flatMap(changesOf)) {
      if ("asked" in change) {
        requests.set(change.asked.id, change.asked)
        continue
      }
      const known = requests.get(change.id)
      if (known?.status !== "pending") continue
      requests.set(change.id, { ...known, status: change.status, decidedAt: change.at, decidedBy: change.by, comment: change.comment })
    }
  }
}
