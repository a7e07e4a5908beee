import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ApprovalError } from "../Approval/Error.ts"
import { ApprovalId, RunConflict, RunId, RunNotFound } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { limit, text } from "./Common.ts"
import { told } from "./Error.ts"

/** A tool call that waits for a person. Times are milliseconds since 1970. */
export const ApprovalRequest = Schema.Struct({
  id: ApprovalId,
  run: RunId,
  agent: Schema.String,
  tool: Schema.String,
  call: Schema.String,
  /** What the call would be made with, without secrets; null where it was erased. */
  parameters: Schema.Json,
  /** Binds a decision to what was looked at. */
  digest: Schema.String,
  createdAt: Schema.Int,
  expiresAt: Schema.Int
})
export type ApprovalRequest = typeof ApprovalRequest.Type

/** What somebody decides about a call. */
export const Decide = Schema.Struct({
  decision: Schema.Literals(["approved", "denied"]),
  /** Other parameters than the agent's, of the tool's schema. */
  parameters: Schema.optionalKey(Schema.Json),
  comment: Schema.optionalKey(text(10_000)),
  /** The digest of the request that was looked at: another one is refused. */
  digest: Schema.optionalKey(text(100))
})

/** Requests for a person's approval. */
export const Approvals = HttpApiGroup.make("approvals").add(
  HttpApiEndpoint.get("list", "/v1/approvals", {
    query: { limit },
    success: Schema.Struct({ approvals: Schema.Array(ApprovalRequest) })
  }).annotate(Needs, "approvals:decide").annotate(OpenApi.Summary, "List the tool calls that wait for approval, oldest first"),
  HttpApiEndpoint.post("decide", "/v1/approvals/:id", {
    params: { id: Schema.String },
    payload: Decide,
    success: Schema.Struct({ run: RunId }).pipe(HttpApiSchema.status(202)),
    error: [...ApprovalError.members.map(told), ...[RunNotFound, RunConflict].map(told)]
  }).annotate(Needs, "approvals:decide").annotate(OpenApi.Summary, "Approve or deny a tool call")
).middleware(Authorization)
