import * as Effect from "effect/Effect"
import { AuditLog } from "../AuditLog.ts"
import type { StorageFailed } from "../Run.ts"
import type { Json } from "../RunLog.ts"
import type { Request } from "./Request.ts"

/** Rows of the audit trail about a run's approvals that are looked through for one request. */
const maxRows = 1_000

/**
 * The parameters of a request as the audit trail keeps them: the process that asked knew which of them are secret, and took
 * those out. Null where they were erased.
 */
export const askedFor = Effect.fnUntraced(function*(request: Request): Effect.fn.Return<Json, StorageFailed, AuditLog> {
  const audit = yield* AuditLog
  const rows = yield* audit.list({ org: request.org, run: request.run, action: "approval", limit: maxRows })
  // The trail cuts the ids of calls that are very long.
  return rows.find((row) => row.event === "ApprovalRequested" && row.call !== null && request.call.startsWith(row.call))?.input ?? null
})
