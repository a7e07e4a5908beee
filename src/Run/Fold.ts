import * as Money from "../Money.ts"
import { askedAgain, failedLast, unasked } from "./Chain.ts"
import type { Logged, RunEvent, Usage } from "./Event.ts"
import { said, summarised, withShorterResults, written } from "./Shorter.ts"
import { type Call, noUsage, promptTokens, type RunState, type RunStatus } from "./State.ts"
import { type AssistantMessage, toolCallsOf } from "./Transcript.ts"

const plus = (a: Usage, b: Usage): Usage => ({
  uncached: a.uncached + b.uncached,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  cacheWriteHour: a.cacheWriteHour + b.cacheWriteHour,
  output: a.output + b.output,
  reasoning: a.reasoning + b.reasoning,
  ...(a.webSearches === undefined && b.webSearches === undefined ? {} : { webSearches: (a.webSearches ?? 0) + (b.webSearches ?? 0) })
})

const begin = (logged: Logged, event: Extract<RunEvent, { _tag: "RunStarted" }>): RunState => ({
  run: logged.run,
  seq: logged.seq,
  epoch: logged.epoch,
  at: logged.at,
  status: "running",
  started: event,
  org: event.org,
  session: event.session,
  agent: event.agent,
  definition: event.definition,
  model: event.model,
  models: event.fallback === undefined ? [event.model] : [event.model, ...event.fallback],
  limits: event.limits,
  since: logged.at,
  turnsBefore: 0,
  messages: [...(event.history ?? []), { role: "user", text: event.prompt ?? JSON.parse(event.input) }],
  moved: 0,
  earlier: { kept: null, summary: null, results: null, tokens: event.context?.tokens ?? 0 },
  open: null,
  queued: [],
  later: [],
  turns: 0,
  pauses: 0,
  attempt: null,
  attempts: 0,
  lost: 0,
  asked: [],
  compacting: null,
  turnSince: logged.at,
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
const release = (state: RunState): RunState => {
  if (state.open !== null || state.attempt !== null) return state
  if (state.queued.length > 0) return { ...state, messages: [...state.messages, ...state.queued.map(said)], queued: [] }
  const [next, ...later] = state.later
  const isAnswered = state.messages.at(-1)?.role === "assistant" && state.finish !== "pause"
  return next === undefined || !isAnswered ? state : { ...state, messages: [...state.messages, said(next)], later }
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

const undecided = { decision: null, parameters: null, by: null, comment: null } as const

/** Why attempts are broken off on purpose; it is no failure of theirs. */
const wanted = new Set(["Interrupted", "Shutdown"])

const over = (state: RunState, status: RunStatus, at: number): RunState => ({ ...state, status, endedAt: at })

const apply = (state: RunState, event: RunEvent, at: number): RunState => {
  switch (event._tag) {
    case "RunStarted":
    case "ChildStarted":
    case "CommandRefused":
    case "DefinitionKept":
      return state
    case "RunClaimed": {
      // Time in which it was parked or nobody performed it is not the run's.
      const lost = at - state.at
      return { ...state, status: "running", parked: null, since: state.since + lost, turnSince: state.turnSince + lost }
    }
    case "ApprovalRequested":
      return withCall(state, event.call, (call) => ({
        ...call,
        status: "waiting",
        approval: { id: event.approval, digest: event.digest, expiresAt: event.expiresAt, ...undecided }
      }))
    case "ApprovalDecided":
      return withCall(state, event.call, (call) =>
        call.approval?.id !== event.approval ? call : {
          ...call,
          status: "requested",
          approval: { ...call.approval, decision: event.decision, parameters: event.parameters, by: event.by, comment: event.comment }
        })
    case "TurnStarted":
      return {
        ...state,
        model: event.model,
        // Another model counts tokens in its own way.
        measured: event.model === state.model ? state.measured : null,
        asked: askedAgain(event.purpose !== undefined && state.compacting === null ? unasked : state.asked, event.model),
        compacting: event.purpose === undefined ? null : { forced: state.compacting?.forced === true || state.error?.tooLong === true },
        attempt: {
          id: event.attemptId,
          number: event.attempt,
          model: event.model,
          reserved: event.reserved,
          scopes: event.scopes,
          prices: event.prices,
          maxOutput: event.maxOutput,
          ...(event.warnings === undefined ? {} : { warnings: event.warnings }),
          at
        },
        attempts: event.attempt,
        turnSince: event.attempt === 1 ? at - (event.waitedMs ?? 0) : state.turnSince,
        maxOutput: event.maxOutput,
        error: null
      }
    case "AttemptFailed":
      return release(
        wanted.has(event.error.reason)
          ? { ...state, ...bill(state, event), attempt: null, attempts: 0, lost: 0, asked: state.asked.slice(0, -1), compacting: null }
          : {
            ...state,
            ...bill(state, event),
            attempt: null,
            error: event.error,
            asked: failedLast(state.asked, event.error),
            lost: event.error.reason === "Lost" ? state.lost + 1 : state.lost
          }
      )
    case "TurnCompleted": {
      const calls = toolCallsOf(event.parts)
      const prompt = promptTokens(event.bill.usage)
      const message: AssistantMessage = { role: "assistant", model: event.bill.model, parts: event.parts }
      const next: RunState = {
        ...state,
        ...bill(state, event),
        attempt: null,
        attempts: 0,
        lost: 0,
        asked: unasked,
        error: null,
        turns: state.turns + 1,
        pauses: event.finish === "pause" ? state.pauses + 1 : 0,
        finish: event.finish,
        note: event.note,
        measured: prompt === 0 ? null : { messages: state.messages.length + 1, tokens: prompt + event.bill.usage.output }
      }
      if (calls.length > 0) {
        const open = calls.map((part): Call => ({ part, status: "requested", effect: null, approval: null, result: null }))
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
        : { ...next, fatal: { tool: event.name, call: event.call, outcome: event.outcome, failure: event.fatal } }
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
      return release(
        event.mode === "queue" ? { ...state, later: [...state.later, event.text] } : { ...state, queued: [...state.queued, event.text] }
      )
    case "CancelRequested":
      return { ...state, cancel: { by: event.by, reason: event.reason } }
    case "ContextCompacted":
      return release(summarised({ ...state, ...bill(state, event), attempt: null }, event, event.summary))
    case "ContextShortened":
      return event.summary === undefined ? withShorterResults(state, event) : summarised(state, event, event.summary)
    case "ChildEnded":
      return { ...state, cost: Money.add(state.cost, event.cost) }
    case "DefinitionMigrated":
      return release({
        ...state,
        definition: event.to,
        moved: written(state),
        // It was measured with the instructions and tools of before.
        measured: null,
        queued: event.note === undefined ? state.queued : [...state.queued, event.note]
      })
    case "RunParked":
      return { ...state, status: "parked", parked: event.reason }
    case "RunRetried":
      return {
        ...state,
        status: "running",
        // It begins with the first of its models again.
        model: state.models[0] ?? state.model,
        messages: state.messages.at(-1)?.role === "assistant" ? state.messages.slice(0, -1) : state.messages,
        limits: event.limits,
        since: at,
        turnsBefore: state.turns,
        attempts: 0,
        lost: 0,
        asked: unasked,
        compacting: null,
        pauses: 0,
        error: null,
        finish: null,
        measured: null,
        cancel: null,
        fatal: null,
        failure: null,
        endedAt: null,
        // Requests for approval ended with the run, so they are made again.
        open: state.open === null ? null : {
          ...state.open,
          calls: state.open.calls.map((call) => call.status === "waiting" ? { ...call, status: "requested", approval: null } : call)
        }
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
  const next = apply(state, logged.event, logged.at)
  // What was made for this event is nobody else's yet, and need not be copied once more.
  return Object.assign(next === state ? { ...state } : next, { seq: logged.seq, epoch: logged.epoch, at: logged.at })
}
