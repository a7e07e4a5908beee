import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { AgentName, RunId, SessionId } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { flag, limit, place, text } from "./Common.ts"
import { RunRef } from "./Runs.ts"

/** One thing that was done. Times are milliseconds since 1970. */
export const AuditRow = Schema.Struct({
  /** Its number in the organisation's chain, from 1 without gaps. */
  n: Schema.Int,
  id: Schema.String,
  at: Schema.Int,
  event: Schema.String,
  /** `tool_call`, `model_attempt`, `approval`, `command`, `run`, `erase`, `admin`. */
  action: Schema.String,
  tool: Schema.String,
  principal: Schema.String,
  agent: Schema.NullOr(AgentName),
  session: Schema.NullOr(SessionId),
  run: Schema.NullOr(RunId),
  seq: Schema.NullOr(Schema.Int),
  call: Schema.NullOr(Schema.String),
  sourceProject: Schema.NullOr(Schema.String),
  success: Schema.Boolean,
  durationMs: Schema.NullOr(Schema.Int),
  cost: Schema.NullOr(Money.FromString),
  target: Schema.NullOr(Schema.String),
  /** What went in, without secrets. */
  input: Schema.Json,
  output: Schema.NullOr(Schema.String),
  error: Schema.NullOr(Schema.String),
  erasedAt: Schema.NullOr(Schema.Int),
  hash: Schema.String
})
export type AuditRow = typeof AuditRow.Type

const Anchor = Schema.Struct({ n: Schema.Int, hash: Schema.String })

/** The audit trail of the key's organisation. */
export const Audit = HttpApiGroup.make("audit").add(
  HttpApiEndpoint.get("list", "/v1/audit", {
    query: {
      limit,
      /** Rows with a lower number than this. */
      before: Schema.optionalKey(place),
      run: Schema.optionalKey(RunRef),
      session: Schema.optionalKey(text(200)),
      tool: Schema.optionalKey(text(200)),
      action: Schema.optionalKey(text(100)),
      target: Schema.optionalKey(text(1_000)),
      success: flag
    },
    success: Schema.Struct({ rows: Schema.Array(AuditRow), next: Schema.NullOr(Schema.Int) })
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "List what was done, newest first"),
  HttpApiEndpoint.get("verify", "/v1/audit/verify", {
    query: { expect: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^\d{1,15}:[0-9a-f]{64}$/i))) },
    success: Schema.Struct({
      /** Rows that are sound, from the first on. */
      rows: Schema.Int,
      /** The end of the chain as far as it is sound: keep it elsewhere, for `expect`. */
      head: Anchor,
      broken: Schema.NullOr(Schema.Struct({ n: Schema.Int, problem: Schema.String, message: Schema.String }))
    })
  }).annotate(Needs, "runs:read").annotateMerge(OpenApi.annotations({
    summary: "Check that nothing in the trail was changed",
    description: "With the end of an earlier check as N:HASH, kept elsewhere, also that the whole chain was not written anew."
  }))
).middleware(Authorization)
