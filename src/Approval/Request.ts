import { type ApprovalId, isOver, type OrgId, RunId, type RunState } from "../Run.ts"
import type { Json, Projection, Row, Step, Tables } from "../RunLog.ts"

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

const end = (append: number, id: string, status: Status, at: number, by: string | null, comment: string | null): Row =>
  ({ append, kind: "end", id, status, at, person: by, comment })

const rowsOf = (step: Step, append: number): ReadonlyArray<Row> => {
  const { after, before, logged: { at, event, run } } = step
  if (event._tag === "ApprovalRequested") {
    const { approval, call, digest, expiresAt, name, policy } = event
    return [{ append, kind: "ask", id: approval, org: after.org, run, call, tool: name, digest, policy: policy ?? null, expires: expiresAt, at }]
  }
  if (event._tag === "ApprovalDecided") {
    const asked = waiting(before).some((call) => call.approval?.id === event.approval)
    return asked ? [end(append, event.approval, event.decision, at, event.by, event.comment)] : []
  }
  const gone = isOver(after.status)
    ? waiting(before)
    : event._tag === "ToolCompleted"
    ? waiting(before).filter((call) => call.part.id === event.call)
    : []
  return gone.flatMap(({ approval }) => approval === null ? [] : [end(append, approval.id, "withdrawn", at, null, null)])
}

const text = (value: Json | undefined): string | null => typeof value === "string" ? value : null

/** Requests as rows, kept as the events say. */
export const projection: Projection = {
  name: "approvals",
  order: 5,
  rows: (append, index) => append.steps.flatMap((step) => rowsOf(step, index)),
  write: (rows, tables) => {
    const requests = table(tables)
    for (const row of rows) {
      const id = String(row["id"]) as ApprovalId // as the rows above have it
      const at = Number(row["at"])
      const known = requests.get(id)
      if (row["kind"] === "ask") {
        requests.set(id, {
          id,
          org: String(row["org"]) as OrgId, // likewise
          run: RunId.make(String(row["run"])),
          call: String(row["call"]),
          tool: String(row["tool"]),
          digest: String(row["digest"]),
          status: "pending",
          createdAt: at,
          expiresAt: Number(row["expires"]),
          decidedBy: null,
          decidedAt: null,
          comment: null
        })
      } else if (known?.status === "pending") {
        const status = row["status"] as Status // likewise
        requests.set(id, { ...known, status, decidedAt: at, decidedBy: text(row["person"]), comment: text(row["comment"]) })
      }
    }
  }
}
