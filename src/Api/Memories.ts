import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { MemoryInvalid, MemoryNotFound } from "../Memory/Error.ts"
import { RunId } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { limit, next, text } from "./Common.ts"
import { told } from "./Error.ts"

/** Whose a memory is: the whole organisation's (`org`), one agent's (`agent:NAME`) or one user's (`user:ID`). */
const Scope = Schema.String.check(Schema.isPattern(/^(org|(agent|user):.{1,300})$/s))

/** Something that is remembered. Times are milliseconds since 1970. */
export const MemoryRow = Schema.Struct({
  id: Schema.String,
  scope: Scope,
  text: Schema.String,
  /** The run and the tool call that it is from; null for what was told from outside. */
  sourceRun: Schema.NullOr(RunId),
  sourceCall: Schema.NullOr(Schema.String),
  createdBy: Schema.String,
  createdAt: Schema.Int,
  /** Null for what is kept until somebody forgets it. */
  expiresAt: Schema.NullOr(Schema.Int),
  /** Which part of the words that were looked for is in it, up to 1. */
  score: Schema.optionalKey(Schema.Finite)
})
export type MemoryRow = typeof MemoryRow.Type

/** What was forgotten. */
export const ForgottenView = Schema.Struct({
  /** Memories that are gone. */
  memories: Schema.Int,
  /** Runs under way that may have heard of it: their logs are looked through when they are over. */
  waiting: Schema.Array(RunId)
})

/** What the organisation's agents remember. */
export const Memories = HttpApiGroup.make("memories").add(
  HttpApiEndpoint.get("list", "/v1/memories", {
    query: {
      /** Words to look for; all memories, newest first, where it is left out. */
      q: Schema.optionalKey(text(8_000)),
      scope: Schema.optionalKey(Scope),
      limit,
      /** Memories older than this one; not with `q`. */
      before: Schema.optionalKey(text(200))
    },
    success: Schema.Struct({ memories: Schema.Array(MemoryRow), next })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List what is remembered, or look for words in it"),
  HttpApiEndpoint.post("remember", "/v1/memories", {
    payload: Schema.Struct({
      text: text(8_000),
      /** `org` where it is left out. */
      scope: Schema.optionalKey(Scope),
      /** For how many days it is of use. */
      days: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 36_500 })))
    }),
    success: MemoryRow.pipe(HttpApiSchema.status(201)),
    error: told(MemoryInvalid)
  }).annotate(Needs, "runs:write").annotate(OpenApi.Summary, "Remember something"),
  HttpApiEndpoint.delete("forget", "/v1/memories/:id", {
    params: { id: Schema.String },
    success: ForgottenView,
    error: [told(MemoryInvalid), told(MemoryNotFound)]
  }).annotate(Needs, "admin").annotateMerge(OpenApi.annotations({
    summary: "Forget one memory",
    description: "What it said is taken out, word for word, of all that the organisation has kept: the logs of runs, commands, and the audit trail, which still verifies."
  })),
  HttpApiEndpoint.post("forgetAll", "/v1/memories/forget", {
    payload: Schema.Struct({
      /** All memories that contain it, and it itself wherever it was said. */
      text: Schema.optionalKey(text(8_000)),
      /** All memories of a scope. */
      scope: Schema.optionalKey(Scope)
    }).check(Schema.makeFilter(({ scope, text }) => (scope === undefined) !== (text === undefined) || "either a text or a scope")),
    success: ForgottenView,
    error: told(MemoryInvalid)
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "Forget whatever contains a text, or all of a scope")
).middleware(Authorization)
