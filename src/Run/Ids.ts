import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"

/** Identifies a run; a UUIDv7. */
export const RunId = Schema.String.pipe(Schema.brand("RunId"))
export type RunId = typeof RunId.Type

/** Identifies a session, which orders the runs of one conversation; a UUIDv7 or the caller's own name. */
export const SessionId = Schema.String.pipe(Schema.brand("SessionId"))
export type SessionId = typeof SessionId.Type

/** Identifies an organisation. */
export const OrgId = Schema.String.pipe(Schema.brand("OrgId"))
export type OrgId = typeof OrgId.Type

/** Identifies one process that performs runs; a UUIDv7. */
export const RunnerId = Schema.String.pipe(Schema.brand("RunnerId"))
export type RunnerId = typeof RunnerId.Type

/** Identifies one request to a model: the run's id, a dot, and the sequence number of its `TurnStarted`. */
export const AttemptId = Schema.String.pipe(Schema.brand("AttemptId"))
export type AttemptId = typeof AttemptId.Type

/** Identifies a command in a run's inbox; a UUIDv7. */
export const InboxId = Schema.String.pipe(Schema.brand("InboxId"))
export type InboxId = typeof InboxId.Type

/** Identifies a request for approval: the run's id, the turn and the number of the call in it. */
export const ApprovalId = Schema.String.pipe(Schema.brand("ApprovalId"))
export type ApprovalId = typeof ApprovalId.Type

/** The name under which an agent is registered. */
export const AgentName = Schema.String.pipe(Schema.brand("AgentName"))
export type AgentName = typeof AgentName.Type

/** SHA-256, in hex, of an agent's definition: what the model is told and what its tools promise. */
export const DefinitionHash = Schema.String.pipe(Schema.brand("DefinitionHash"))
export type DefinitionHash = typeof DefinitionHash.Type

/** A model by provider and exact id: `anthropic:claude-sonnet-5-5`. */
export const ModelRef = Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9-]*:\S+$/)).pipe(Schema.brand("ModelRef"))
export type ModelRef = typeof ModelRef.Type

/** How often the spending of a budget begins anew, by UTC. */
export const BudgetPeriod = Schema.Literals(["day", "month"])
export type BudgetPeriod = typeof BudgetPeriod.Type

/** How a conversation is kept within the context window of a model; what is left out has a default. */
export const ContextRules = Schema.Struct({
  /** Tokens of input of a request for an answer; no more than fit in the model's window beside the output, which is the default. */
  tokens: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
  /** Turns at the end that stay whole, as long as they fit in half of that; 10 by default. */
  keepTurns: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
  /** Characters of a tool result that is no longer recent; 2,000 by default. */
  resultCharacters: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(500))),
  /** Who summarises what is no longer recent: the run's model, which is the default, or a rule, which takes no request. */
  summaries: Schema.optionalKey(Schema.Literals(["model", "rule"]))
})
export type ContextRules = typeof ContextRules.Type

/** What a run may use up at most; reaching one ends the run with a typed error. */
export const Limits = Schema.Struct({
  /** Answers of the model. */
  turns: Schema.Int,
  /** Requests to one model for one answer, the first included. */
  attempts: Schema.Int,
  /** Dollars, all attempts and children together; null for none. */
  cost: Schema.NullOr(Money.FromString),
  /** Milliseconds of the run, without the time in which it was parked or nobody performed it. */
  timeMs: Schema.Int,
  /** Milliseconds of one turn with all its attempts; no limit where it is absent. */
  turnMs: Schema.optionalKey(Schema.Int),
  /** Milliseconds until an attempt says something. */
  firstTokenMs: Schema.optionalKey(Schema.Int),
  /** Milliseconds between two pieces of an answer. */
  idleMs: Schema.optionalKey(Schema.Int),
  /** Milliseconds of one execution of a tool, where its own limit is not shorter. */
  toolMs: Schema.optionalKey(Schema.Int),
  /** Tool calls of one turn that run at the same time. */
  toolConcurrency: Schema.Int,
  /** Output tokens of one turn. */
  outputTokens: Schema.Int,
  /** How much of the conversation is sent. */
  context: Schema.optionalKey(ContextRules)
})
export type Limits = typeof Limits.Type
