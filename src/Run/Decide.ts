import {
  FirstTokenTimedOut, LimitExceeded, ModelFailed, ModelRefused, OutputTruncated, StreamStalled, ToolFailed, ToolTimedOut, TurnTimedOut
} from "./Failure.ts"
import { isRetryable, mayAnotherDoBetter, modelsAfter, pauseAfter } from "./Chain.ts"
import type { RunEvent } from "./Event.ts"
import type { ModelRef } from "./Ids.ts"
import { answerOf, type Call, isOver, type OpenAttempt, type RunState } from "./State.ts"
import { sizeOf, windowOf } from "./Window.ts"

/** What a run does next. */
export type Next =
  /** Ask this model, after a pause if an attempt at it has failed. */
  | { readonly _tag: "CallModel"; readonly model: ModelRef; readonly attempt: number; readonly delayMs: number }
  /** Make the conversation shorter; ask this model, after a pause, where it takes a summary. */
  | { readonly _tag: "Compact"; readonly model: ModelRef; readonly attempt: number; readonly delayMs: number }
  /** Make the conversation shorter without a model, for that reason. */
  | { readonly _tag: "CompactByRule"; readonly because: string | undefined }
  /** Write down that nobody saw this attempt end. */
  | { readonly _tag: "SettleAttempt"; readonly attempt: OpenAttempt }
  | { readonly _tag: "RunTools"; readonly calls: ReadonlyArray<Call> }
  /** Write down that these calls may or may not have happened. */
  | { readonly _tag: "DoubtTools"; readonly calls: ReadonlyArray<Call> }
  /** Give every call that is not done the result that it was cancelled. */
  | { readonly _tag: "CancelTools"; readonly calls: ReadonlyArray<Call> }
  | { readonly _tag: "Park"; readonly reason: "approval" | "unknown-tool-outcome" }
  | { readonly _tag: "Finish"; readonly event: Extract<RunEvent, { _tag: "RunCompleted" | "RunFailed" | "RunCancelled" }> }
  | { readonly _tag: "Ended" }

/** Provider pauses in a row that are followed before the run gives up. */
const maxPauses = 5

const failed = (error: Extract<RunEvent, { _tag: "RunFailed" }>["error"]): Next => ({
  _tag: "Finish",
  event: { _tag: "RunFailed", v: 1, error }
})

const compact = ({ limits, model }: RunState): Next =>
  limits.context?.summaries === "rule"
    ? { _tag: "CompactByRule", because: undefined }
    : { _tag: "Compact", model, attempt: 1, delayMs: 0 }

const ask = (state: RunState): Next => {
  const { limits, model, turns, turnsBefore } = state
  if (turns - turnsBefore >= limits.turns) return failed(new LimitExceeded({ limit: "turns", value: limits.turns }))
  return sizeOf(state) > windowOf(state, model) ? compact(state) : { _tag: "CallModel", model, attempt: 1, delayMs: 0 }
}

const decideCalls = (state: RunState, calls: ReadonlyArray<Call>): Next => {
  const left = calls.filter((call) => call.status !== "done")
  if (state.cancel !== null) return { _tag: "CancelTools", calls: left }
  const doubtful = left.filter((call) => call.status === "started" && call.effect === "unsafe")
  if (doubtful.length > 0) return { _tag: "DoubtTools", calls: doubtful }
  const ready = left.filter((call) => call.status !== "unknown" && call.status !== "waiting")
  if (ready.length > 0) return { _tag: "RunTools", calls: ready }
  return { _tag: "Park", reason: left.some((call) => call.status === "waiting") ? "approval" : "unknown-tool-outcome" }
}

/** The failure of a run whose models have all failed, or whose last one cannot be asked now, which `last` tells. */
export const modelsFailed = (state: RunState, last?: { readonly model: ModelRef; readonly problem: string }): ModelFailed => {
  const asked = state.asked.flatMap(({ attempts, error, model }) =>
    error === null ? [] : [{ model, reason: error.reason, problem: error.message, attempts }])
  if (last !== undefined) asked.push({ ...last, reason: "ProviderUnavailable", attempts: 0 })
  const end = asked.at(-1) ?? { model: state.model, reason: state.error?.reason ?? "", problem: state.error?.message ?? "", attempts: state.attempts }
  return new ModelFailed(asked.length <= 1 ? end : { ...end, attempts: state.attempts, asked })
}

const failureOf = (state: RunState, reason: string) => {
  const { asked, limits, model } = state
  if (reason === "TurnTimedOut") return new TurnTimedOut({ model, limitMs: limits.turnMs ?? 0 })
  if (asked.length <= 1 && reason === "FirstTokenTimedOut") return new FirstTokenTimedOut({ model, limitMs: limits.firstTokenMs ?? 0 })
  if (asked.length <= 1 && reason === "StreamStalled") return new StreamStalled({ model, limitMs: limits.idleMs ?? 0 })
  return modelsFailed(state)
}

/** Attempts of one turn that may end with their process before the run is taken for what ends it. */
const maxLost = 10

/** Failures of a summary that are of what is to be summarised: a conversation goes on without one. */
const unsummarised = new Set(["ContentPolicyError", "InvalidRequestError", "InvalidUserInputError", "InvalidOutputError"])

/** The same model again as long as that makes sense, then the next one at once where it may do better. */
const decideAfterFailure = (state: RunState, error: NonNullable<RunState["error"]>): Next => {
  const { attempts, lost, model } = state.asked.at(-1) ?? state
  const attempt = state.attempts + 1
  const _tag = state.compacting === null ? "CallModel" : "Compact"
  if (error.tooLong === true && state.compacting === null) return compact(state)
  if (isRetryable(error) && attempts - lost < state.limits.attempts && state.lost < maxLost) {
    return { _tag, model, attempt, delayMs: pauseAfter(attempts, error.retryAfterMs) }
  }
  const [next] = mayAnotherDoBetter(error.reason) ? modelsAfter(state.models, model) : []
  if (next !== undefined) return { _tag, model: next, attempt, delayMs: 0 }
  return state.compacting !== null && unsummarised.has(error.reason)
    ? { _tag: "CompactByRule", because: error.reason }
    : failed(failureOf(state, error.reason))
}

const fatalOf = ({ call, failure, outcome, tool }: NonNullable<RunState["fatal"]>) =>
  outcome === "timeout"
    ? new ToolTimedOut({ tool, call, limitMs: Number.parseInt(failure, 10) || 0 })
    : new ToolFailed({ tool, call, failure })

const decideAfterAnswer = (state: RunState): Next => {
  const last = state.messages.at(-1)
  switch (state.finish) {
    case "content-filter":
      return failed(new ModelRefused({ model: state.model, explanation: state.note }))
    case "pause":
      return state.pauses <= maxPauses ? ask(state) : failed(new LimitExceeded({ limit: "pauses", value: maxPauses }))
    case "length":
      if (last?.role === "assistant" || last === undefined) {
        return failed(new OutputTruncated({ model: state.model, maxOutput: state.maxOutput }))
      }
  }
  if (last?.role !== "assistant") return ask(state)
  return answerOf(state) === "" && state.finish !== "stop"
    ? failed(
      new ModelFailed({ model: state.model, reason: "InvalidOutputError", problem: "it ended without an answer", attempts: 1 })
    )
    : { _tag: "Finish", event: { _tag: "RunCompleted", v: 1 } }
}

/** Decides what a run does next from what its log says; pure. To resume a run is to fold its log and go on from here. */
export const decide = (state: RunState): Next => {
  if (isOver(state.status)) return { _tag: "Ended" }
  if (state.attempt !== null) return { _tag: "SettleAttempt", attempt: state.attempt }
  if (state.open !== null) return decideCalls(state, state.open.calls)
  if (state.cancel !== null) {
    return { _tag: "Finish", event: { _tag: "RunCancelled", v: 1, by: state.cancel.by, reason: state.cancel.reason, left: [] } }
  }
  if (state.fatal !== null) return failed(fatalOf(state.fatal))
  if (state.error !== null) return decideAfterFailure(state, state.error)
  return state.finish === null ? ask(state) : decideAfterAnswer(state)
}
