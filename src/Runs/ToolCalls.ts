import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { isSqlError } from "effect/sql/SqlError"
import type { RegisteredTool } from "../Agent.ts"
import type { Call, RunId, ToolOutcome, Transcript } from "../Run.ts"
import { type AppendError, isAppendError } from "../RunLog.ts"
import { within } from "../Telemetry.ts"
import type * as Tool from "../Tool.ts"
import { admit } from "./Admission.ts"
import { Doubtful, type Ending, endingOf, parametersOf, perform, reconcile, sentence, TookTooLong } from "./Execution.ts"
import type { Events, Journal } from "./Journal.ts"
import { toolSpan } from "./Spans.ts"

/** The same for every execution of a call, so that the other side can recognise a repetition. */
const keyOf = (run: RunId, turn: number, call: string): string => `${run}:${turn}:${call}`

/** One call that may be made: its tool, its parameters, and how it is written down. */
interface Execution {
  readonly tool: RegisteredTool
  readonly call: Call
  readonly parameters: unknown
  readonly about: Tool.Call["Service"]
  readonly limit: Duration.Duration
  /** What the model is told of a result, where a person changed the parameters. */
  readonly told: (result: string, isSuccess: boolean) => string
  /** The event that ends it. */
  readonly completed: (ending: Ending) => Events
  /** Counts how often the handler was run. */
  readonly counter: Counter
}

/** What becomes of an execution while it is under way. */
interface Counter {
  attempts: number
  outcome: ToolOutcome | undefined
}

/** Runs the handler, again as the tool's schedule says; a `reconcilable` tool asks the other side before it does anything twice. */
const attempted = ({ about, parameters, tool }: Execution, once: Effect.Effect<string, unknown>): Effect.Effect<string, unknown> => {
  const asking: Effect.Effect<string, unknown> = tool.effect !== "reconcilable" ? once : Effect.catchCause(once, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause)
      : Effect.flatMap(reconcile(tool, parameters, about), Option.match({
        onSome: Effect.succeed,
        onNone: () => Effect.failCause(cause)
      })))
  return tool.retry === undefined
    ? asking
    : Effect.retry(asking, { schedule: tool.retry, while: (error) => !(error instanceof Doubtful) && !isAppendError(error) })
}

/** Runs the handler of a call and writes down how it ended. */
const execute = Effect.fnUntraced(function*(journal: Journal, execution: Execution): Effect.fn.Return<void, AppendError> {
  const { about, call, completed, limit, parameters, told, tool } = execution
  const transaction = tool.effect === "transactional" ? journal.log.transaction : undefined
  const counted = Effect.suspend(() => {
    execution.counter.attempts++
    return perform(tool, limit, tool.handle(parameters, about, journal.services, transaction?.sql))
  })
  const success = (result: string): Ending => ({ outcome: "success", result: told(result, true) })
  const written: Effect.Effect<unknown, unknown> = transaction === undefined
    ? Effect.flatMap(attempted(execution, counted), (result) => journal.emit(completed(success(result))))
    // What its handler itself fails with of the log's errors is not about this log.
    : attempted(execution, Effect.as(
      journal.transact(transaction, Effect.catchIf(counted, isAppendError, Effect.die), (result) => completed(success(result))),
      ""
    ))
  const exit = yield* Effect.exit(written)
  if (Exit.isSuccess(exit)) return
  const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (transaction !== undefined && isAppendError(failure)) return yield* failure
  if (failure instanceof Doubtful) return yield* doubt(journal, call.part, failure.reason)
  const ending = yield* isSqlError(failure)
    ? Effect.succeed(sentence("defect", `The tool "${tool.name}" broke its transaction, which was rolled back: ${failure.message}`))
    : endingOf(tool, exit.cause)
  if (failure instanceof TookTooLong && tool.effect === "unsafe") {
    yield* doubt(journal, call.part, "it did not finish within its time limit")
  }
  yield* journal.emit(completed({ ...ending, result: told(ending.result, false) }))
})

const runCall = Effect.fnUntraced(function*(journal: Journal, call: Call): Effect.fn.Return<void, AppendError> {
  const { clock, log } = journal
  const { part } = call
  const state = journal.state()
  const turn = state.turns
  const startedAt = clock.currentTimeMillisUnsafe()
  const counter: Counter = { attempts: 0, outcome: undefined }
  const completed = (ending: Ending): Events => {
    counter.outcome = ending.outcome
    return [{
      _tag: "ToolCompleted",
      v: 1,
      turn,
      call: part.id,
      name: part.name,
      durationMs: Math.round(clock.currentTimeMillisUnsafe() - startedAt),
      ...(counter.attempts > 1 ? { attempts: counter.attempts } : {}),
      ...ending
    }]
  }
  const complete = (ending: Ending) => journal.emit(completed(ending))

  const tool = journal.registered.tools.get(part.name)
  if (tool === undefined) {
    const known = [...journal.registered.tools.keys()].join(", ") || "none"
    return yield* complete(sentence("unknown-tool", `There is no tool "${part.name}"; the tools are: ${known}.`))
  }
  const asked = yield* Effect.exit(parametersOf(tool, part))
  if (Exit.isFailure(asked)) {
    return yield* complete(Option.getOrElse(Cause.findErrorOption(asked.cause), () =>
      sentence("invalid-parameters", `The parameters of the tool "${tool.name}" could not be read.`)))
  }
  const admission = tool.approval === undefined && call.approval === null
    ? undefined
    : yield* admit(journal, tool, call, asked.value)
  if (admission?._tag === "Waits") return
  if (admission?._tag === "Refused") return yield* complete(sentence("denied", admission.sentence))

  const key = keyOf(journal.run, turn, part.id)
  const { toolMs } = state.limits
  const execution: Execution = {
    tool,
    call,
    parameters: admission === undefined ? asked.value : admission.parameters,
    about: {
      id: part.id,
      run: journal.run,
      org: state.org,
      agent: state.agent,
      principal: state.started.principal,
      key,
      progress: (message) => Effect.sync(() => log.announce(journal.run, { _tag: "Progress", call: part.id, tool: part.name, message }))
    },
    limit: toolMs === undefined ? tool.timeout : Duration.min(tool.timeout, Duration.millis(toolMs)),
    told: admission?.told ?? ((result) => result),
    completed,
    counter
  }
  if (call.status === "started" && call.effect === "reconcilable") {
    const before = yield* Effect.result(reconcile(tool, execution.parameters, execution.about))
    if (before._tag === "Failure") return yield* doubt(journal, part, before.failure.reason)
    if (Option.isSome(before.success)) return yield* complete({ outcome: "success", result: execution.told(before.success.value, true) })
  }
  const started = { _tag: "ToolStarted", v: 1, turn, call: part.id, name: part.name, effect: tool.effect, key } as const
  // A pure tool may be repeated, so the world cannot get ahead of the log through it.
  yield* tool.effect === "pure" ? journal.emit([started]) : journal.commit([started])
  journal.running.set(part.id, { name: part.name, since: startedAt })
  yield* within(
    toolSpan(state, tool, part.id, () => counter.outcome),
    Effect.ensuring(execute(journal, execution), Effect.sync(() => journal.running.delete(part.id)))
  )
})

/** Writes down that a call may or may not have happened. */
const doubt = (journal: Journal, { id, name }: Transcript.ToolCallPart, reason: string) =>
  journal.emit([{ _tag: "ToolUnknown", v: 1, call: id, name, reason }])

/** Runs the calls of a turn at the same time, as many as the run's limit allows; each ends in exactly one result. */
export const runTools = (journal: Journal, calls: ReadonlyArray<Call>): Effect.Effect<void, AppendError> =>
  calls[0] !== undefined && calls.length === 1 ? runCall(journal, calls[0]) : Effect.forEach(calls, (call) => runCall(journal, call), {
    concurrency: journal.state().limits.toolConcurrency,
    discard: true
  })

/** Writes down that these calls may or may not have happened, because the process that ran them ended. */
export const doubtTools = (journal: Journal, calls: ReadonlyArray<Call>): Effect.Effect<void, AppendError> =>
  Effect.forEach(calls, ({ part }) => doubt(journal, part, "the process ended while the tool was running"), { discard: true })

/**
 * Gives these calls the result that they were cancelled. A call that had begun and is not pure may have happened all the
 * same: that is written down, and the model is told.
 */
export const cancelTools = Effect.fnUntraced(function*(journal: Journal, calls: ReadonlyArray<Call>, why: string) {
  const now = yield* Clock.currentTimeMillis
  for (const { effect, part, status } of calls) {
    // What is transactional did not happen, because it would have its result.
    const doubtful = status === "unknown" || (status === "started" && effect !== "pure" && effect !== "transactional")
    if (status === "started" && doubtful) yield* doubt(journal, part, "it was interrupted")
    const since = journal.running.get(part.id)?.since
    yield* journal.emit([{
      _tag: "ToolCompleted",
      v: 1,
      turn: journal.state().turns,
      call: part.id,
      name: part.name,
      outcome: "cancelled",
      result: doubtful ? `${why} The tool had begun: whether it happened is unknown.` : why,
      durationMs: since === undefined ? 0 : Math.round(now - since)
    }])
  }
})
