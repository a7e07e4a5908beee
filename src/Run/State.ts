import * as Money from "../Money.ts"
import type { AttemptError, EffectClass, FinishReason, Logged, RunEvent, Usage } from "./Event.ts"
import type { RunFailure } from "./Error.ts"
import type { AgentName, AttemptId, DefinitionHash, Limits, ModelRef, OrgId, RunId, SessionId } from "./Ids.ts"
import { type AssistantMessage, type Message, textOf, type ToolCallPart, toolCallsOf, type ToolResult } from "./Transcript.ts"

/** Where a run stands. `running` and `parked` are unfinished; `parked` waits for somebody without holding a fiber. */
export type RunStatus = "running" | "parked" | "completed" | "failed" | "cancelled"

/** One tool call of the answer that is being worked on. */
export interface Call {
  readonly part: ToolCallPart
  readonly status: "requested" | "started" | "unknown" | "done"
  readonly effect: EffectClass | null
  readonly result: ToolResult | null
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
  readonly at: number
}

/** Everything that a run's log says, folded. */
export interface RunState {
  readonly run: RunId
  readonly seq: number
  readonly epoch: number
  readonly status: RunStatus
  readonly started: Extract<RunEvent, { _tag: "RunStarted" }>
  readonly org: OrgId
  readonly session: SessionId
  readonly agent: AgentName
  readonly definition: DefinitionHash
  readonly model: ModelRef
  readonly limits: Limits
  /** When the limits began to count, in milliseconds since 1970. */
  readonly since: number
  /** Turns before the limits began to count. */
  readonly turnsBefore: number
  /** The conversation of this run, always valid: an answer enters it together with all its results. */
  readonly messages: ReadonlyArray<Message>
  /** The answer whose calls are not all done. */
  readonly open: { readonly message: AssistantMessage; readonly calls: ReadonlyArray<Call> } | null
  /** Messages that wait for the answer under way. */
  readonly queued: ReadonlyArray<string>
  readonly turns: number
  readonly pauses: number
  readonly attempt: OpenAttempt | null
  /** Attempts made for the turn that is due. */
  readonly attempts: number
  readonly error: AttemptError | null
  readonly finish: FinishReason | null
  readonly note: string | null
  readonly maxOutput: number
  /** How many tokens the beginning of the conversation has, as the last answer's bill tells: so many messages, its own included. */
  readonly measured: { readonly messages: number; readonly tokens: number } | null
  readonly cancel: { readonly by: string; readonly reason: string | null } | null
  /** A tool failure that ends the run. */
  readonly fatal: { readonly tool: string; readonly call: string; readonly failure: string } | null
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

const plus = (a: Usage, b: Usage): Usage => ({
  uncached: a.uncached + b.uncached,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  cacheWriteHour: a.cacheWriteHour + b.cacheWriteHour,
  output: a.output + b.output,
  reasoning: a.reasoning + b.reasoning
})

/** All input tokens of an attempt. */
export const promptTokens = (usage: Usage): number =>
  usage.uncached + usage.cacheRead + usage.cacheWrite + usage.cacheWriteHour

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

const begin = (logged: Logged, event: Extract<RunEvent, { _tag: "RunStarted" }>): RunState => ({
  run: logged.run,
  seq: logged.seq,
  epoch: logged.epoch,
  status: "running",
  started: event,
  org: event.org,
  session: event.session,
  agent: event.agent,
  definition: event.definition,
  model: event.model,
  limits: event.limits,
  since: logged.at,
  turnsBefore: 0,
  messages: [{ role: "user", text: event.prompt ?? JSON.parse(event.input) }],
  open: null,
  queued: [],
  turns: 0,
  pauses: 0,
  attempt: null,
  attempts: 0,
  error: null,
  finish: null,
  note: null,
  maxOutput: 0,
  measured: null,
  cancel: null,
  fatal: null,
  failure: null,
  parked: null,
  usage: noUsage,
  cost: Money.zero,
  priced: true,
  bounded: false,
  endedAt: null
})

/** Adds messages that waited; only between answers, where the conversation may take them. */
const release = (state: RunState): RunState =>
  state.queued.length === 0 || state.open !== null || state.attempt !== null ? state : {
    ...state,
    messages: [...state.messages, ...state.queued.map((text) => ({ role: "user" as const, text }))],
    queued: []
  }

const withCall = (state: RunState, id: string, change: (call: Call) => Call): RunState => {
  if (state.open === null) return state
  const calls = state.open.calls.map((call) => call.part.id === id && call.status !== "done" ? change(call) : call)
  if (calls.some((call) => call.result === null)) return { ...state, open: { ...state.open, calls } }
  const results = calls.flatMap((call) => call.result === null ? [] : [call.result])
  return release({ ...state, open: null, messages: [...state.messages, state.open.message, { role: "tool", results }] })
}

const bill = (state: RunState, event: { readonly bill: { readonly usage: Usage; readonly cost: Money.Money; readonly source: string } }) => ({
  usage: plus(state.usage, event.bill.usage),
  cost: Money.add(state.cost, event.bill.cost),
  priced: state.priced && event.bill.source !== "unpriced",
  bounded: state.bounded || event.bill.source === "bound"
})

const over = (state: RunState, status: RunStatus, at: number): RunState => ({ ...state, status, endedAt: at })

const apply = (state: RunState, event: RunEvent, at: number): RunState => {
  switch (event._tag) {
    case "RunStarted":
    case "ChildStarted":
    case "ApprovalRequested":
    case "ApprovalDecided":
      return state
    case "RunClaimed":
      return state.status === "parked" ? { ...state, status: "running", parked: null } : state
    case "TurnStarted":
      return {
        ...state,
        attempt: {
          id: event.attemptId,
          number: event.attempt,
          model: event.model,
          reserved: event.reserved,
          scopes: event.scopes,
          prices: event.prices,
          maxOutput: event.maxOutput,
          at
        },
        attempts: event.attempt,
        maxOutput: event.maxOutput,
        error: null
      }
    case "AttemptFailed":
      return release({ ...state, ...bill(state, event), attempt: null, error: event.error })
    case "TurnCompleted": {
      const calls = toolCallsOf(event.parts)
      const message: AssistantMessage = { role: "assistant", model: event.bill.model, parts: event.parts }
      const next: RunState = {
        ...state,
        ...bill(state, event),
        attempt: null,
        attempts: 0,
        error: null,
        turns: state.turns + 1,
        pauses: event.finish === "pause" ? state.pauses + 1 : 0,
        finish: event.finish,
        note: event.note,
        measured: { messages: state.messages.length + 1, tokens: promptTokens(event.bill.usage) + event.bill.usage.output }
      }
      if (calls.length > 0) {
        const open = calls.map((part): Call => ({ part, status: "requested", effect: null, result: null }))
        return { ...next, open: { message, calls: open } }
      }
      return release({ ...next, messages: [...next.messages, message] })
    }
    case "ToolStarted":
      return withCall(state, event.call, (call) => ({ ...call, status: "started", effect: event.effect }))
    case "ToolCompleted": {
      const next = withCall(state, event.call, (call) => ({
        ...call,
        status: "done",
        result: { id: event.call, name: event.name, isFailure: event.outcome !== "success", result: event.result }
      }))
      return event.fatal === undefined
        ? next
        : { ...next, fatal: { tool: event.name, call: event.call, failure: event.fatal } }
    }
    case "ToolUnknown":
      return withCall(state, event.call, (call) => ({ ...call, status: "unknown" }))
    case "ToolResolved":
      return withCall(state, event.call, (call) =>
        event.resolution === "run-again"
          ? { ...call, status: "requested" }
          : {
            ...call,
            status: "done",
            result: {
              id: event.call,
              name: call.part.name,
              isFailure: event.resolution === "did-not-happen",
              result: event.result ?? `A person found that this call ${event.resolution === "happened" ? "happened" : "did not happen"}.`
            }
          })
    case "MessageReceived":
      return release({ ...state, queued: [...state.queued, event.text] })
    case "CancelRequested":
      return { ...state, cancel: { by: event.by, reason: event.reason } }
    case "ContextCompacted":
      return {
        ...state,
        ...bill(state, event),
        messages: [{ role: "user", text: event.summary }, ...state.messages.slice(event.through)],
        measured: null
      }
    case "ChildEnded":
      return { ...state, cost: Money.add(state.cost, event.cost) }
    case "DefinitionMigrated":
      return { ...state, definition: event.to }
    case "RunParked":
      return { ...state, status: "parked", parked: event.reason }
    case "RunRetried":
      return {
        ...state,
        status: "running",
        messages: state.messages.at(-1)?.role === "assistant" ? state.messages.slice(0, -1) : state.messages,
        limits: event.limits,
        since: at,
        turnsBefore: state.turns,
        attempts: 0,
        pauses: 0,
        error: null,
        finish: null,
        measured: null,
        cancel: null,
        fatal: null,
        failure: null,
        endedAt: null
      }
    case "RunCompleted":
      return over(state, "completed", at)
    case "RunFailed":
      return over({ ...state, failure: event.error }, "failed", at)
    case "RunCancelled":
      return over(state, "cancelled", at)
  }
}

/**
 * Takes one event into account. The first event of a run is `RunStarted`, given no state; pure, and total over every
 * version of every event, so that any stored log can be folded.
 */
export const fold = (state: RunState | undefined, logged: Logged): RunState => {
  if (state === undefined) {
    if (logged.event._tag !== "RunStarted") {
      throw new Error(`The log of run ${logged.run} begins with ${logged.event._tag} instead of RunStarted`)
    }
    return begin(logged, logged.event)
  }
  return { ...apply(state, logged.event, logged.at), seq: logged.seq, epoch: logged.epoch }
}
