import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Money from "../Money.ts"
import {
  AgentName, AgentNotRegistered, Fenced, ForbiddenModel, InboxId, InvalidInput, Limits, ModelRef, RunConflict, RunEvent, RunFailure, RunId, RunNotFound, SessionId,
  SteerMode, UnknownModel, Usage
} from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { amount, limit, optional, place, positive, text } from "./Common.ts"
import { IdempotencyKeyReused, told } from "./Error.ts"

/** The id of a run. */
export const RunRef = Schema.String.check(Schema.isPattern(/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i)).pipe(
  Schema.decode(SchemaTransformation.toLowerCase()),
  Schema.brand("RunId")
)

/** Where a run stands. */
export const RunStatus = Schema.Literals(["running", "parked", "completed", "failed", "cancelled"])

/** Limits that replace the agent's; see `Limits`. */
export const SomeLimits = Schema.Struct({
  turns: Schema.optionalKey(positive),
  attempts: Schema.optionalKey(positive),
  cost: Schema.optionalKey(amount),
  timeMs: Schema.optionalKey(positive),
  turnMs: Schema.optionalKey(positive),
  firstTokenMs: Schema.optionalKey(positive),
  idleMs: Schema.optionalKey(positive),
  toolMs: Schema.optionalKey(positive),
  toolConcurrency: Schema.optionalKey(positive),
  outputTokens: Schema.optionalKey(positive)
})

/** Something that was said before. */
export const Said = Schema.Struct({ role: Schema.Literals(["user", "assistant"]), content: text(2_000_000) })

/** Names and values that are kept with a run. */
const Metadata = Schema.Record(text(64), Schema.String.check(Schema.isMaxLength(1_000))).check(
  Schema.makeFilter((metadata) => Object.keys(metadata).length <= 32 || "at most 32 entries")
)

/** What a run is started with: an agent, and its input or what was said so far. */
export const StartRun = Schema.Struct({
  /** The first one of the server by default. */
  agent: Schema.optionalKey(text(200)),
  /** Text, or JSON of the agent's input schema. */
  input: Schema.optionalKey(Schema.Json),
  /** Instead of an input, for an agent that takes text: the conversation so far, of which the last is by the user. */
  messages: Schema.optionalKey(Schema.Array(Said).check(Schema.isMinLength(1), Schema.isMaxLength(10_000))),
  model: Schema.optionalKey(ModelRef),
  session: Schema.optionalKey(text(200)),
  /** What becomes of the input where the session has an unfinished run; `reject` by default. */
  whenBusy: Schema.optionalKey(Schema.Literals(["queue", "steer", "interrupt", "reject"])),
  limits: Schema.optionalKey(SomeLimits),
  /** The agent's tools that the run may use; all of them by default. */
  tools: Schema.optionalKey(Schema.Array(text(200)).check(Schema.isMaxLength(1_000))),
  metadata: Schema.optionalKey(Metadata)
}).check(
  Schema.makeFilter(({ input, messages }) =>
    (input === undefined) !== (messages === undefined) || { path: ["input"], issue: "either input or messages has to be given" })
)
export type StartRun = typeof StartRun.Type

/** A run that was started. */
export const Started = Schema.Struct({
  run: RunId,
  session: SessionId,
  status: RunStatus,
  links: Schema.Struct({
    self: Schema.String,
    events: Schema.String,
    messages: Schema.String,
    cancel: Schema.String
  })
})
export type Started = typeof Started.Type

/** A run as lists show it. Times are milliseconds since 1970, money is dollars as a decimal string. */
export const RunRow = Schema.Struct({
  run: RunId,
  session: SessionId,
  agent: AgentName,
  model: ModelRef,
  status: RunStatus,
  turns: Schema.Int,
  inputTokens: Schema.Int,
  outputTokens: Schema.Int,
  cost: Money.FromString,
  /** False where an attempt had no known price, so that the true cost is more than `cost`. */
  priced: Schema.Boolean,
  /** The tag of the error that it failed with. */
  error: Schema.NullOr(Schema.String),
  /** What it waits for, while it is parked. */
  parked: Schema.NullOr(Schema.String),
  createdAt: Schema.Int,
  endedAt: Schema.NullOr(Schema.Int)
})
export type RunRow = typeof RunRow.Type

/** One tool call of a step. `outcome` is null until it has ended. */
export const StepCall = Schema.Struct({
  call: Schema.String,
  tool: Schema.String,
  /** JSON text as the model wrote it. */
  arguments: Schema.String,
  outcome: Schema.NullOr(Schema.String),
  /** JSON text, or a sentence. */
  result: Schema.NullOr(Schema.String),
  durationMs: Schema.NullOr(Schema.Int)
})

/** An answer of the model with its tool calls. */
export const RunStep = Schema.Struct({
  turn: Schema.Int,
  at: Schema.Int,
  model: ModelRef,
  text: Schema.String,
  calls: Schema.Array(StepCall),
  usage: Usage,
  cost: Money.FromString
})
export type RunStep = typeof RunStep.Type

/** A run with everything that came of it so far. */
export const RunView = Schema.Struct({
  run: RunId,
  session: SessionId,
  agent: AgentName,
  model: ModelRef,
  status: RunStatus,
  /** The sequence number of its last event. */
  seq: Schema.Int,
  steps: Schema.Array(RunStep),
  turns: Schema.Int,
  usage: Usage,
  cost: Money.FromString,
  priced: Schema.Boolean,
  limits: Limits,
  /** The answer as the model wrote it, of a run that is completed. */
  text: Schema.NullOr(Schema.String),
  /** The answer: text, or JSON of the agent's output schema. */
  output: Schema.Json,
  /** Why it failed. */
  error: Schema.NullOr(RunFailure),
  /** What it waits for. */
  waiting: Schema.NullOr(Schema.Struct({
    reason: Schema.String,
    approvals: Schema.Array(Schema.Struct({ approval: Schema.String, tool: Schema.String })),
    unknown: Schema.Array(Schema.Struct({ call: Schema.String, tool: Schema.String }))
  })),
  cancelled: Schema.NullOr(Schema.Struct({ by: Schema.String, reason: Schema.NullOr(Schema.String) })),
  metadata: Schema.Record(Schema.String, Schema.String),
  createdAt: Schema.Int,
  endedAt: Schema.NullOr(Schema.Int)
})
export type RunView = typeof RunView.Type

/** An event of a run: the same as in its log. */
export const RunLogged = Schema.Struct({
  run: RunId,
  seq: Schema.Int,
  epoch: Schema.Int,
  at: Schema.Int,
  event: RunEvent
})

/** What is live between events, best effort, and not kept. */
export const RunLive = Schema.TaggedUnion({
  /** A piece of the answer under way. */
  Delta: { turn: Schema.Int, kind: Schema.Literals(["text", "reasoning"]), text: Schema.String },
  /** The answer under way failed and is asked for again: its deltas so far do not count. */
  Reset: { turn: Schema.Int },
  Progress: { call: Schema.String, tool: Schema.String, message: Schema.String }
})

/** What a stream of a run carries, as JSON in `data`. An event has its sequence number as `id`; what is live has none. */
export const RunItem = Schema.Union([RunLogged, RunLive])
export type RunItem = typeof RunItem.Type

/** A message for a run under way. */
export const Message = Schema.Struct({
  text: Schema.String,
  mode: Schema.optionalKey(Schema.Union([SteerMode, Schema.Literal("reject")]))
})

const params = { run: Schema.String }

/** Identifies a request, so that it is carried out once however often it is sent. */
export const idempotency = { "idempotency-key": Schema.optionalKey(text(200)) }

/** Runs: started, seen, followed, spoken to and cancelled. */
export const Runs = HttpApiGroup.make("runs").add(
  HttpApiEndpoint.post("start", "/v1/runs", {
    headers: idempotency,
    payload: StartRun,
    success: Started.pipe(HttpApiSchema.status(202)),
    error: [AgentNotRegistered, InvalidInput, ForbiddenModel, UnknownModel, RunConflict, Fenced, IdempotencyKeyReused].map(told)
  }).annotate(Needs, "runs:write").annotateMerge(OpenApi.annotations({
    summary: "Start a run",
    description: "Answers as soon as the run is durable. With an idempotency key the same request gives the same run, for a day."
  })),
  HttpApiEndpoint.get("list", "/v1/runs", {
    query: {
      limit,
      before: Schema.optionalKey(RunRef),
      status: Schema.optionalKey(RunStatus),
      agent: Schema.optionalKey(Schema.String),
      session: Schema.optionalKey(Schema.String)
    },
    success: Schema.Struct({ runs: Schema.Array(RunRow), next: Schema.NullOr(RunId) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List runs, newest first"),
  HttpApiEndpoint.get("get", "/v1/runs/:run", {
    params,
    success: RunView,
    error: told(RunNotFound)
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "See how a run stands"),
  HttpApiEndpoint.get("events", "/v1/runs/:run/events", {
    params,
    query: { after: Schema.optionalKey(place) },
    headers: { "last-event-id": Schema.optionalKey(place) },
    success: HttpApiSchema.StreamSse({ data: RunItem }),
    error: told(RunNotFound)
  }).annotate(Needs, "runs:read").annotateMerge(OpenApi.annotations({
    summary: "Follow a run",
    description: "Every event after a place in the log, once and in order, then those that come, until the run is over. " +
      "Events have their sequence number as id; pieces of the answer under way come between them without one. " +
      "A reader that comes back with Last-Event-ID misses nothing, also after a restart. 204 where nothing comes any more."
  })),
  HttpApiEndpoint.post("send", "/v1/runs/:run/messages", {
    params,
    headers: idempotency,
    payload: Message,
    success: Schema.Struct({ message: InboxId }).pipe(HttpApiSchema.status(202)),
    error: [RunNotFound, RunConflict, IdempotencyKeyReused].map(told)
  }).annotate(Needs, "runs:write").annotateMerge(OpenApi.annotations({
    summary: "Say something to a run under way",
    description: "Durable when it is answered. With an idempotency key the same message is heard once, and answered the same when the run is over."
  })),
  HttpApiEndpoint.post("cancel", "/v1/runs/:run/cancel", {
    params,
    payload: optional(Schema.Struct({ reason: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(10_000))) })),
    success: Schema.Struct({ run: RunId, status: RunStatus }).pipe(HttpApiSchema.status(202)),
    error: [RunNotFound, RunConflict].map(told)
  }).annotate(Needs, "runs:write").annotateMerge(OpenApi.annotations({
    summary: "Cancel a run",
    description: "Any number of times; 409 where it is over."
  }))
).middleware(Authorization)

