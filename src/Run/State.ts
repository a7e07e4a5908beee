import type * as Money from "../Money.ts"
import type { AttemptError, BudgetWarning, EffectClass, FinishReason, RunEvent, ToolOutcome, Usage } from "./Event.ts"
import type { Asked } from "./Chain.ts"
import type { RunFailure } from "./Failure.ts"
import type { AgentName, ApprovalId, AttemptId, DefinitionHash, Limits, ModelRef, OrgId, RunId, SessionId } from "./Ids.ts"
import { type AssistantMessage, type Message, textOf, type ToolCallPart, type ToolResult } from "./Transcript.ts"

/** Where a run stands. `running` and `parked` are unfinished; `parked` waits for somebody without holding a fiber. */
export type RunStatus = "running" | "parked" | "completed" | "failed" | "cancelled"

/** A person's say about a tool call, asked for and perhaps given. */
export interface Approval {
  readonly id: ApprovalId
  readonly digest: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  readonly decision: "approved" | "denied" | "expired" | null
  /** JSON text of other parameters than those that the model gave. */
  readonly parameters: string | null
  readonly by: string | null
  readonly comment: string | null
}

/** One tool call of the answer that is being worked on. A call that is `waiting` needs a decision. */
export interface Call {
  readonly part: ToolCallPart
  readonly status: "requested" | "waiting" | "started" | "unknown" | "done"
  readonly effect: EffectClass | null
  readonly approval: Approval | null
  readonly result: ToolResult | null
}

/** What goes before a run's own messages. */
export interface Earlier {
  /** How many of the last messages of the session's earlier conversation; all where it is null. */
  readonly kept: number | null
  /** What stands in the place of those before them. */
  readonly summary: string | null
  /** Results of tools have at most so many characters, but for the last `after` messages. */
  readonly results: { readonly after: number; readonly characters: number } | null
  /** Tokens, instructions and tools included, as far as known. */
  readonly tokens: number
}

/** A request to a model whose end the log does not have yet. */
export interface OpenAttempt {
  readonly id: AttemptId
  readonly number: number
  readonly model: ModelRef
  readonly reserved: Money.Money
  readonly scopes: ReadonlyArray<string>
  readonly prices: string | null
  readonly maxOutput: number
  readonly warnings?: ReadonlyArray<BudgetWarning>
  readonly at: number
}

/** Everything that a run's log says, folded. */
export interface RunState {
  readonly run: RunId
  readonly seq: number
  readonly epoch: number
  /** When the last event happened, in milliseconds since 1970. */
  readonly at: number
  readonly status: RunStatus
  readonly started: Extract<RunEvent, { _tag: "RunStarted" }>
  readonly org: OrgId
  readonly session: SessionId
  readonly agent: AgentName
  readonly definition: DefinitionHash
  /** The model that is asked: the one that answered last, or of those in `models` the one whose turn it is. */
  readonly model: ModelRef
  /** The run's models, in the order in which they are asked. */
  readonly models: ReadonlyArray<ModelRef>
  readonly limits: Limits
  /** When the limits began to count, in milliseconds since 1970; later by the time in which nobody performed the run. */
  readonly since: number
  /** Turns before the limits began to count. */
  readonly turnsBefore: number
  /** The conversation of this run, always valid: an answer enters it together with all its results. */
  readonly messages: ReadonlyArray<Message>
  /** How many of its messages were written before the instructions, the tools or the messages before them became others. */
  readonly moved: number
  readonly earlier: Earlier
  /** The answer whose calls are not all done. */
  readonly open: { readonly message: AssistantMessage; readonly calls: ReadonlyArray<Call> } | null
  /** Messages that wait for the answer under way. */
  readonly queued: ReadonlyArray<string>
  /** Messages that wait until the model has nothing more to do, each for its own answer. */
  readonly later: ReadonlyArray<string>
  readonly turns: number
  readonly pauses: number
  readonly attempt: OpenAttempt | null
  /** Attempts made for the turn that is due. */
  readonly attempts: number
  /** How many of them ended with their process: these do not count against the limit. */
  readonly lost: number
  /** What came of each model that was asked for it, in their order. */
  readonly asked: ReadonlyArray<Asked>
  /** Whether a summary is asked for, and whether that is because the model could not take the conversation. */
  readonly compacting: { readonly forced: boolean } | null
  /** When the first of them began, or began to wait. */
  readonly turnSince: number
  readonly error: AttemptError | null
  readonly finish: FinishReason | null
  readonly note: string | null
  readonly maxOutput: number
  /** How many tokens the beginning of the conversation has, as the last answer's bill tells: so many messages, its own included. Null where it counted no prompt. */
  readonly measured: { readonly messages: number; readonly tokens: number } | null
  readonly cancel: { readonly by: string; readonly reason: string | null } | null
  /** A tool failure that ends the run. */
  readonly fatal: { readonly tool: string; readonly call: string; readonly outcome: ToolOutcome; readonly failure: string } | null
  readonly failure: RunFailure | null
  readonly parked: string | null
  readonly usage: Usage
  readonly cost: Money.Money
  /** False once an attempt had no known price. */
  readonly priced: boolean
  /** True once an attempt broke off: its part of `cost` and `usage` is the most that it can have been. */
  readonly bounded: boolean
  readonly endedAt: number | null
}

/** No tokens. */
export const noUsage: Usage = { uncached: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 0, reasoning: 0 }

/** All input tokens of an attempt. */
export const promptTokens = (usage: Usage): number =>
  usage.uncached + usage.cacheRead + usage.cacheWrite + usage.cacheWriteHour

/** Which part of the input tokens the provider's cache had, from 0 to 1; 0 where there was no input. */
export const cacheHitRate = (usage: Usage): number => {
  const prompt = promptTokens(usage)
  return prompt === 0 ? 0 : usage.cacheRead / prompt
}

/** The text that a run answered with, so far. */
export const answerOf = (state: RunState): string => {
  for (let index = state.messages.length - 1; index >= 0; index--) {
    const message = state.messages[index]
    if (message?.role === "assistant") return textOf(message.parts)
  }
  return ""
}

/** True for a run that will not go on by itself or by a command. */
export const isOver = (status: RunStatus): boolean =>
  status === "completed" || status === "failed" || status === "cancelled"
