import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { RunId, SessionId } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { few, limit, next, optional, text } from "./Common.ts"
import { NotFound, told } from "./Error.ts"
import { RunRef, RunRow } from "./Runs.ts"

/** A conversation. Times are milliseconds since 1970. */
export const SessionRow = Schema.Struct({
  session: SessionId,
  createdAt: Schema.Int,
  runs: Schema.Int
})
export type SessionRow = typeof SessionRow.Type

/** A message of a conversation, and the run that it is of. */
export const SessionMessage = Schema.Struct({
  run: RunId,
  role: Schema.Literals(["user", "assistant", "tool"]),
  text: Schema.String,
  /** The model that an answer is of. */
  model: Schema.optionalKey(Schema.String),
  /** What an answer calls; arguments are JSON text as the model wrote it. */
  calls: Schema.optionalKey(Schema.Array(Schema.Struct({ id: Schema.String, name: Schema.String, arguments: Schema.String }))),
  results: Schema.optionalKey(Schema.Array(Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    isFailure: Schema.Boolean,
    result: Schema.String
  })))
})
export type SessionMessage = typeof SessionMessage.Type

/** A conversation with its runs and what was said in them. */
export const SessionView = Schema.Struct({
  session: SessionId,
  createdAt: Schema.Int,
  /** Newest first. */
  runs: Schema.Array(RunRow),
  /** What was said in these runs, in order. */
  messages: Schema.Array(SessionMessage),
  /** `before` for the runs that came before these; null where there are none. */
  next
})

/** Conversations. */
export const Sessions = HttpApiGroup.make("sessions").add(
  HttpApiEndpoint.get("list", "/v1/sessions", {
    query: { limit, before: Schema.optionalKey(text(200)) },
    success: Schema.Struct({ sessions: Schema.Array(SessionRow), next })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List conversations, newest first"),
  HttpApiEndpoint.post("create", "/v1/sessions", {
    payload: optional(Schema.Struct({ session: Schema.optionalKey(text(200)) })),
    success: SessionRow.pipe(HttpApiSchema.status(201))
  }).annotate(Needs, "runs:write").annotateMerge(OpenApi.annotations({
    summary: "Begin a conversation",
    description: "Not needed: a run that names a new session begins it. The same name again is the same conversation."
  })),
  HttpApiEndpoint.get("get", "/v1/sessions/:session", {
    params: { session: Schema.String },
    query: { limit: few, before: Schema.optionalKey(RunRef) },
    success: SessionView,
    error: told(NotFound)
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "See a conversation with its messages")
).middleware(Authorization)
