import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { AgentName, ApprovalId, AttemptId, BudgetPeriod, DefinitionHash, InboxId, Limits, ModelRef, OrgId, RunId, RunnerId, SessionId } from "./Ids.ts"
import { RunFailure } from "./Failure.ts"
import { AssistantPart, Message } from "./Transcript.ts"

/** How a tool treats the world, and so how it is recovered after a crash. */
export const EffectClass = Schema.Literals(["pure", "idempotent", "transactional", "reconcilable", "unsafe"])
export type EffectClass = typeof EffectClass.Type

/** Why a model ended its answer. */
export const FinishReason = Schema.Literals([
  "stop", "length", "content-filter", "tool-calls", "error", "pause", "other", "unknown"
])
export type FinishReason = typeof FinishReason.Type

/** Tokens of one attempt, each counted once: `uncached + cacheRead + cacheWrite` is the prompt. */
export const Usage = Schema.Struct({
  uncached: Schema.Int,
  cacheRead: Schema.Int,
  /** Tokens written to the cache for five minutes. */
  cacheWrite: Schema.Int,
  /** Tokens written to the cache for an hour. */
  cacheWriteHour: Schema.Int,
  /** All output, reasoning included. */
  output: Schema.Int,
  reasoning: Schema.Int,
  /** Searches of the web that the provider made and charges for, where it made any. */
  webSearches: Schema.optionalKey(Schema.Int)
})
export type Usage = typeof Usage.Type

/** Where the cost of an attempt is from. */
export const CostSource = Schema.Literals(["reported", "priced", "bound", "unpriced"])
export type CostSource = typeof CostSource.Type

/** What one attempt cost and how it went; ends each attempt, whether it answered or failed. */
export const Bill = Schema.Struct({
  model: ModelRef,
  usage: Usage,
  cost: Money.FromString,
  source: CostSource,
  latencyMs: Schema.Int,
  firstTokenMs: Schema.NullOr(Schema.Int),
  requestId: Schema.NullOr(Schema.String),
  /** Who computed the answer, where the provider passes requests on and says to whom. */
  host: Schema.optionalKey(Schema.String),
  /** Why the answer ended, in the provider's own word. */
  nativeFinish: Schema.optionalKey(Schema.String),
  /** The provider's id of the model that answered, where that is not the one that was asked. */
  servedModel: Schema.optionalKey(Schema.String)
})
export type Bill = typeof Bill.Type

/** A classified failure of one attempt. */
export const AttemptError = Schema.Struct({
  /** An `AiError` reason's tag, or what ended the attempt here: `FirstTokenTimedOut`, `StreamStalled`, `TurnTimedOut`, `Interrupted`, `Lost`. */
  reason: Schema.String,
  message: Schema.String,
  retryable: Schema.Boolean,
  retryAfterMs: Schema.NullOr(Schema.Int),
  /** True where the conversation is too long for the model, as its provider says. */
  tooLong: Schema.optionalKey(Schema.Boolean)
})
export type AttemptError = typeof AttemptError.Type

/** How a message gets to a run that is under way. */
export const SteerMode = Schema.Literals(["queue", "steer", "interrupt"])
export type SteerMode = typeof SteerMode.Type

/** How a tool call ended. */
export const ToolOutcome = Schema.Literals([
  "success", "failure", "invalid-parameters", "unknown-tool", "invalid-result", "timeout", "defect", "denied", "cancelled"
])
export type ToolOutcome = typeof ToolOutcome.Type

/** A budget of which four fifths and more were spent when an attempt was admitted; told once for each scope and period. */
export const BudgetWarning = Schema.Struct({
  /** `org:…`, `session:…` or `run:…`. */
  scope: Schema.String,
  limit: Money.FromString,
  spent: Money.FromString,
  /** The attempt's own reservation included. */
  reserved: Money.FromString,
  /** What the limit is for; absent where it is for good. */
  period: Schema.optionalKey(BudgetPeriod),
  /** When the next period begins: `2026-12-01T00:00:00Z`. */
  until: Schema.optionalKey(Schema.String)
})
export type BudgetWarning = typeof BudgetWarning.Type

const v1 = Schema.Literal(1)

/** How far a change of the conversation's beginning goes, where that began before the run. */
const place = {
  /** How many of the last messages of the session's earlier conversation it leaves alone; absent where there is none. */
  history: Schema.optionalKey(Schema.Int),
  /** Tokens to be counted before the run's own messages from now on. */
  tokens: Schema.optionalKey(Schema.Int)
}

/** A fact of a run. Every member carries `v`, the version of its shape; the union decodes every version released. */
export const RunEvent = Schema.TaggedUnion({
  RunStarted: {
    v: v1,
    org: OrgId,
    session: SessionId,
    agent: AgentName,
    definition: DefinitionHash,
    /** The model that is asked first. */
    model: ModelRef,
    /** The models that are asked after it, in their order, where it cannot answer. */
    fallback: Schema.optionalKey(Schema.Array(ModelRef)),
    /** The agent's input as JSON text. */
    input: Schema.String,
    /** The user message rendered from the input; absent when the input is that text itself. */
    prompt: Schema.optionalKey(Schema.String),
    limits: Limits,
    principal: Schema.String,
    /** The place in an earlier run of the session whose conversation this one goes on from. */
    after: Schema.NullOr(Schema.Struct({ run: RunId, seq: Schema.Int })),
    /** What was said before the input, as the starter tells. */
    history: Schema.optionalKey(Schema.Array(Message)),
    /** The agent's tools that the run may use; all of them where it is absent. */
    tools: Schema.optionalKey(Schema.Array(Schema.String)),
    /** What the starter wants kept with the run. */
    metadata: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
    /** What is known of the room for the conversation. */
    context: Schema.optionalKey(Schema.Struct({
      /** Tokens before the run's own messages: instructions, tools, and the session's earlier conversation. */
      tokens: Schema.Int,
      /** Messages of the session's earlier conversation. */
      history: Schema.Int,
      /** Tokens of input that fit in a request to each of the run's models, in their order; null where that is not known. */
      windows: Schema.Array(Schema.NullOr(Schema.Int))
    })),
    sourceProject: Schema.NullOr(Schema.String)
  },
  RunClaimed: { v: v1, runner: RunnerId },
  TurnStarted: {
    v: v1,
    turn: Schema.Int,
    /** The number of the request among all for this turn, whatever model they were made to. */
    attempt: Schema.Int,
    attemptId: AttemptId,
    model: ModelRef,
    /** What else than an answer is asked for: a summary of the conversation. */
    purpose: Schema.optionalKey(Schema.Literals(["compaction"])),
    /** Milliseconds for which the request waited until its provider might be asked, where it did. */
    waitedMs: Schema.optionalKey(Schema.Int),
    /** The output limit asked of the provider, in tokens. */
    maxOutput: Schema.Int,
    /** What was set aside for this attempt, once admitted; zero without a budget. */
    reserved: Money.FromString,
    /** The budgets in which it was set aside. */
    scopes: Schema.Array(Schema.String),
    /** Names the price list, or is null where the model has no price. */
    prices: Schema.NullOr(Schema.String),
    /** The budgets that are nearly used up, where they were not before. */
    warnings: Schema.optionalKey(Schema.Array(BudgetWarning))
  },
  AttemptFailed: {
    v: v1,
    turn: Schema.Int,
    attemptId: AttemptId,
    error: AttemptError,
    bill: Bill
  },
  TurnCompleted: {
    v: v1,
    turn: Schema.Int,
    attemptId: AttemptId,
    parts: Schema.Array(AssistantPart),
    finish: FinishReason,
    /** What the provider said about a refusal or an odd ending. */
    note: Schema.NullOr(Schema.String),
    bill: Bill
  },
  ToolStarted: { v: v1, turn: Schema.Int, call: Schema.String, name: Schema.String, effect: EffectClass, key: Schema.String },
  ToolCompleted: {
    v: v1,
    turn: Schema.Int,
    call: Schema.String,
    name: Schema.String,
    outcome: ToolOutcome,
    /** JSON text of the encoded result, or a sentence for the model. */
    result: Schema.String,
    durationMs: Schema.Int,
    /** How often the handler was run for this result, where that is more than once. */
    attempts: Schema.optionalKey(Schema.Int),
    /** Present where this failure ends the run: the encoded typed failure of the tool as JSON text. */
    fatal: Schema.optionalKey(Schema.String)
  },
  ToolUnknown: { v: v1, call: Schema.String, name: Schema.String, reason: Schema.String },
  ToolResolved: {
    v: v1,
    call: Schema.String,
    resolution: Schema.Literals(["happened", "did-not-happen", "run-again"]),
    result: Schema.NullOr(Schema.String),
    by: Schema.String,
    comment: Schema.NullOr(Schema.String)
  },
  ApprovalRequested: {
    v: v1,
    approval: ApprovalId,
    call: Schema.String,
    name: Schema.String,
    /** Binds the request to the tool, its decoded parameters, the run, the organisation and the policy. */
    digest: Schema.String,
    /** Names the rule by which the tool needs approval. */
    policy: Schema.optionalKey(Schema.String),
    expiresAt: Schema.Int
  },
  ApprovalDecided: {
    v: v1,
    approval: ApprovalId,
    call: Schema.String,
    decision: Schema.Literals(["approved", "denied", "expired"]),
    /** JSON text of edited parameters, or null for as asked. */
    parameters: Schema.NullOr(Schema.String),
    by: Schema.String,
    comment: Schema.NullOr(Schema.String)
  },
  MessageReceived: {
    v: v1,
    message: InboxId,
    text: Schema.String,
    by: Schema.String,
    /** `steer` where it is absent. */
    mode: Schema.optionalKey(SteerMode)
  },
  /** A command that the run could not follow when it came to it. */
  CommandRefused: {
    v: v1,
    command: InboxId,
    kind: Schema.Literals(["decision", "resolve"]),
    problem: Schema.String,
    by: Schema.String
  },
  CancelRequested: { v: v1, by: Schema.String, reason: Schema.NullOr(Schema.String) },
  /** The beginning of the conversation was summarised: the first `through` of the run's own messages, and all before them. */
  ContextCompacted: {
    v: v1,
    through: Schema.Int,
    /** The message that stands in the place of what was summarised. */
    summary: Schema.String,
    bill: Bill,
    /** The attempt that this ends. */
    attemptId: Schema.optionalKey(AttemptId),
    ...place
  },
  /** The beginning of the conversation was made shorter by rule, without a model. */
  ContextShortened: {
    v: v1,
    through: Schema.Int,
    ...place,
    /** Characters that tool results before that place have at most from now on. */
    characters: Schema.optionalKey(Schema.Int),
    /** The message that stands in the place of what is before that place. */
    summary: Schema.optionalKey(Schema.String),
    /** Why no model was asked: the tag of an error, or of an attempt's failure. */
    because: Schema.optionalKey(Schema.String)
  },
  ChildStarted: { v: v1, child: RunId, call: Schema.String },
  ChildEnded: { v: v1, child: RunId, call: Schema.String, cost: Money.FromString },
  DefinitionMigrated: {
    v: v1,
    from: DefinitionHash,
    to: DefinitionHash,
    /** What the model is told about it. */
    note: Schema.optionalKey(Schema.String)
  },
  /** The agent has changed, and the run goes on with the stored definition. */
  DefinitionKept: { v: v1, definition: DefinitionHash, registered: DefinitionHash },
  RunParked: { v: v1, reason: Schema.Literals(["approval", "unknown-tool-outcome", "shutdown"]) },
  /** A failed run goes on from its log, under limits that count from here. */
  RunRetried: { v: v1, limits: Limits, by: Schema.String },
  RunCompleted: { v: v1 },
  RunFailed: { v: v1, error: RunFailure },
  RunCancelled: {
    v: v1,
    by: Schema.String,
    reason: Schema.NullOr(Schema.String),
    /** Tools that did not stop when they were interrupted. */
    left: Schema.Array(Schema.String)
  }
})
export type RunEvent = typeof RunEvent.Type

/** An event with its place in its run: `seq` counts from 1 without gaps, `at` is milliseconds since 1970. */
export interface Logged {
  readonly run: RunId
  readonly seq: number
  readonly epoch: number
  readonly at: number
  readonly event: RunEvent
}
