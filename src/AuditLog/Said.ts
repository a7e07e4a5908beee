import * as Money from "../Money.ts"
import type { Bill, BudgetWarning, Logged, RunEvent, RunState, Transcript } from "../Run.ts"
import type { Json, Step } from "../RunLog.ts"
import { redact, redactLine, type SecretPath } from "./Redact.ts"

/** What the audit trail needs to know of a tool, from its definition. */
export interface ToolFacts {
  /** Where its parameters are sensitive; see {@link sensitivePaths}. */
  readonly sensitive: ReadonlyArray<SecretPath>
  /** What a call is about, such as `lead:123`, from its parameters as parsed JSON; may throw, which counts as null. */
  readonly target: (parameters: unknown) => string | null
}

/** Finds a tool of an agent; nothing where it is not known here. */
export type Lookup = (agent: string, tool: string) => ToolFacts | undefined

/** Characters of JSON kept of a call's parameters. */
const maxInput = 8_000

/** Characters kept of a result or an error. */
const maxLine = 500

const maxTarget = 200
/** Characters kept of a name. */
export const maxName = 200

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The value as JSON without secrets; where that is too long, `{"cut": <how long it was>, "start": <its beginning>}`. */
export const inputOf = (value: unknown, sensitive: ReadonlyArray<SecretPath> = []): Json => {
  const clean = redact(value, sensitive)
  const text = JSON.stringify(clean)
  return text.length <= maxInput ? clean : { cut: text.length, start: text.slice(0, maxInput - 100).toWellFormed() }
}

/** One line of a text, without secrets; nothing where there is none. */
export const line = (text: string | null | undefined): string | null =>
  text === null || text === undefined || text === "" ? null : redactLine(text, maxLine)

export const name = (text: string): string => redactLine(text, maxName)

/** What something is about, without secrets. */
export const entity = (target: string | null): string | null => target === null ? null : redactLine(target, maxTarget)

const targetOf = (facts: ToolFacts | undefined, parameters: unknown): string | null => {
  try {
    return entity(facts?.target(parameters) ?? null)
  } catch {
    // The model's parameters need not fit the tool.
    return null
  }
}

/** What the row of an event says beside whose it is and when it was. */
export interface Said {
  readonly action: string
  readonly tool_name: string
  readonly success?: boolean
  readonly principal?: string
  readonly call_id?: string
  readonly duration_ms?: number
  readonly cost_usd?: string
  readonly target_entity?: string | null
  readonly input_params?: Json
  readonly output_summary?: string | null
  readonly error_message?: string | null
  readonly execution?: Execution
}

/** What an execution adds to its row; where its content is in the run's log follows from both. Times are milliseconds since 1970. */
export interface Execution {
  readonly turn: number
  readonly started: number
  readonly completed: number | null
  readonly retries: number
}

/** What the row of an event is made of: of the states before and after it, no more than that. */
export interface Note {
  readonly logged: Logged
  readonly started: RunState["started"]
  readonly turns: number
  /** The call that the event is about. */
  readonly part: Transcript.ToolCallPart | undefined
  /** The JSON text of the parameters that a person has put in the place of the call's. */
  readonly edited: string | null
  /** The budgets that were nearly used up when the attempt that has ended was admitted. */
  readonly warnings: ReadonlyArray<BudgetWarning>
}

const none: ReadonlyArray<BudgetWarning> = []

const callOf = (before: RunState | undefined, event: RunEvent) => {
  const call = "call" in event ? event.call : undefined
  return call === undefined ? undefined : before?.open?.calls.find(({ part }) => part.id === call)
}

/** What the row of an event is made of; nothing for the events that say what is about to be done. */
export const noteOf = ({ after, before, logged }: Step): Note | undefined => {
  const { event } = logged
  if (event._tag === "TurnStarted" || event._tag === "ToolStarted") return undefined
  const call = callOf(before, event)
  const ended = event._tag === "TurnCompleted" || event._tag === "AttemptFailed" || event._tag === "ContextCompacted" ? before?.attempt : undefined
  return {
    logged,
    started: after.started,
    turns: after.turns,
    part: call?.part,
    edited: call?.approval?.parameters ?? null,
    warnings: ended?.warnings ?? none
  }
}

const sensitiveOf = (lookup: Lookup, { part, started }: Note) => part === undefined ? [] : lookup(started.agent, part.name)?.sensitive

/** A call's result without the secrets of the parameters that it repeats. */
const resultOf = (lookup: Lookup, note: Note, result: string): string =>
  note.edited === null
    ? result
    : result.replaceAll(note.edited, () => JSON.stringify(inputOf(parse(note.edited ?? ""), sensitiveOf(lookup, note))))

const parametersOf = (lookup: Lookup, { part, started }: Note) => {
  if (part === undefined) return {}
  const facts = lookup(started.agent, part.name)
  const parameters = parse(part.arguments)
  return { target_entity: targetOf(facts, parameters), input_params: inputOf(parameters, facts?.sensitive) }
}

const execution = ({ logged, turns }: Note, durationMs: number, completed: boolean, retries = 0): Execution =>
  ({ turn: turns, started: logged.at - durationMs, completed: completed ? logged.at : null, retries })

const attempt = (event: { readonly bill: Bill }, output: string): Said => ({
  action: "model_attempt",
  tool_name: event.bill.model,
  duration_ms: event.bill.latencyMs,
  cost_usd: Money.format(event.bill.cost),
  output_summary: `${output}; ${event.bill.usage.uncached + event.bill.usage.cacheRead + event.bill.usage.cacheWrite +
    event.bill.usage.cacheWriteHour} tokens in, ${event.bill.usage.output} out; ${event.bill.source}`
})

const toolSaid = (lookup: Lookup, note: Note, event: RunEvent): Said | undefined => {
  switch (event._tag) {
    case "ToolCompleted": {
      const success = event.outcome === "success"
      return {
        action: "tool_call",
        tool_name: name(event.name),
        call_id: event.call,
        success,
        duration_ms: event.durationMs,
        output_summary: success ? line(resultOf(lookup, note, event.result)) : event.outcome,
        error_message: success ? null : line(event.fatal ?? resultOf(lookup, note, event.result)),
        execution: execution(note, event.durationMs, true, (event.attempts ?? 1) - 1),
        ...parametersOf(lookup, note)
      }
    }
    case "ToolUnknown":
      return {
        action: "tool_call",
        tool_name: name(event.name),
        call_id: event.call,
        success: false,
        error_message: line(event.reason),
        execution: execution(note, 0, false),
        ...parametersOf(lookup, note)
      }
    case "ToolResolved":
      return {
        action: "tool_call",
        tool_name: name(note.part?.name ?? event.call),
        call_id: event.call,
        principal: event.by,
        success: event.resolution !== "did-not-happen",
        output_summary: line([event.resolution, event.comment, event.result].filter((text) => text !== null).join(": ")),
        ...(event.resolution === "run-again" ? {} : { execution: execution(note, 0, true) }),
        ...parametersOf(lookup, note)
      }
    case "ApprovalRequested":
      return { action: "approval", tool_name: name(event.name), call_id: event.call, ...parametersOf(lookup, note) }
    case "ApprovalDecided": {
      const asked = parametersOf(lookup, note)
      return {
        action: "approval",
        tool_name: name(note.part?.name ?? event.call),
        call_id: event.call,
        principal: event.by,
        success: event.decision === "approved",
        output_summary: line(event.comment === null ? event.decision : `${event.decision}: ${event.comment}`),
        ...asked,
        ...(event.parameters === null ? {} : { input_params: inputOf(parse(event.parameters), sensitiveOf(lookup, note)) })
      }
    }
    default:
      return undefined
  }
}

const runSaid = ({ started }: Note, event: RunEvent): Said | undefined => {
  const run: Said = { action: "run", tool_name: started.agent }
  switch (event._tag) {
    case "TurnCompleted":
      return { ...attempt(event, event.finish), call_id: event.attemptId }
    case "AttemptFailed":
      return { ...attempt(event, event.error.reason), call_id: event.attemptId, success: false, error_message: line(event.error.message) }
    case "ContextCompacted":
      return { ...attempt(event, `compacted up to message ${event.through}`), ...(event.attemptId === undefined ? {} : { call_id: event.attemptId }) }
    case "ContextShortened":
      return { ...run, output_summary: `shortened up to message ${event.through}${event.because === undefined ? "" : ` (${event.because})`}` }
    case "MessageReceived":
      return { action: "command", tool_name: "message", principal: event.by, call_id: event.message, output_summary: event.mode ?? null }
    case "CommandRefused":
      return {
        action: "command",
        tool_name: event.kind,
        principal: event.by,
        call_id: event.command,
        success: false,
        error_message: line(event.problem)
      }
    case "DefinitionKept":
      return { ...run, input_params: { definition: event.definition, registered: event.registered } }
    case "CancelRequested":
      return { action: "command", tool_name: "cancel", principal: event.by, output_summary: line(event.reason) }
    case "RunStarted":
      return { ...run, input_params: { model: event.model, definition: event.definition, after: event.after } }
    case "RunClaimed":
      return { ...run, output_summary: event.runner }
    case "RunRetried":
      return { ...run, principal: event.by }
    case "RunParked":
      return { ...run, output_summary: event.reason }
    case "RunFailed":
      return { ...run, success: false, output_summary: event.error._tag, error_message: line(event.error.message) }
    case "RunCancelled":
      return { ...run, principal: event.by, output_summary: line(event.reason) }
    case "DefinitionMigrated":
      return { ...run, input_params: { from: event.from, to: event.to } }
    case "ChildStarted":
    case "ChildEnded":
      return { ...run, call_id: event.call, output_summary: event.child }
    case "RunCompleted":
      return run
    default:
      return undefined
  }
}

/** What the row of an event says; nothing for one that has none. */
export const saidOf = (lookup: Lookup, note: Note): Said | undefined =>
  toolSaid(lookup, note, note.logged.event) ?? runSaid(note, note.logged.event)
