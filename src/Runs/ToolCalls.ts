import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AiTool from "effect/ai/Tool"
import type { RegisteredTool } from "../Agent.ts"
import { clean } from "../Run.ts"
import type { Call, RunId, ToolOutcome, Transcript } from "../Run.ts"
import type { AppendError } from "../RunLog.ts"
import type * as Tool from "../Tool.ts"
import type { Journal } from "./Journal.ts"

/** How one call ended: what the model is told, and the failure that ends the run, if it does. */
interface Ending {
  readonly outcome: ToolOutcome
  readonly result: string
  readonly fatal?: string
}

/** The same for every execution of a call, so that the other side can recognise a repetition. */
const keyOf = (run: RunId, turn: number, call: string): string => `${run}:${turn}:${call}`

const sentence = (outcome: ToolOutcome, result: string): Ending => ({ outcome, result: clean(result) })

const unstorable = /\\u(?:0000|d[89a-f][0-9a-f]{2})/i

const json = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "null"
  return unstorable.test(text)
    ? JSON.stringify(value, (_, part: unknown) => typeof part === "string" ? clean(part) : part)
    : text
}

const parse = (text: string): Option.Option<unknown> => {
  if (text.trim() === "") return Option.some({})
  try {
    return Option.some(AiTool.unsafeSecureJsonParse(text))
  } catch {
    return Option.none()
  }
}

const parametersOf = (tool: RegisteredTool, part: Transcript.ToolCallPart): Effect.Effect<unknown, Ending> =>
  Option.match(parse(part.arguments), {
    onNone: () => Effect.fail(sentence("invalid-parameters", "The parameters are not valid JSON. Call the tool again with complete, valid JSON.")),
    onSome: (parameters) =>
      Effect.mapError(tool.decode(parameters), (error) =>
        sentence("invalid-parameters", `The parameters do not fit the tool "${tool.name}": ${error.message}`))
  })

const failureOf = (tool: RegisteredTool, error: unknown): Effect.Effect<Ending> => {
  if (Schema.isSchemaError(error)) {
    return Effect.succeed(sentence("invalid-result", `The tool "${tool.name}" returned something that its definition forbids.`))
  }
  return tool.encodeFailure(error).pipe(
    Effect.map((encoded): Ending => {
      const result = json(said(encoded, error))
      return tool.fatal ? { outcome: "failure", result, fatal: json(encoded) } : { outcome: "failure", result }
    }),
    Effect.orElseSucceed(() => sentence("failure", `The tool "${tool.name}" failed: ${messageOf(error)}`))
  )
}

/** What the model is told of a failure: its data, and its sentence where it has one. */
const said = (encoded: unknown, error: unknown): unknown =>
  error instanceof Error && error.message !== "" && Predicate.isObject(encoded)
    ? { ...encoded, message: error.message }
    : encoded

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** Runs a handler within its time limit; whatever it does becomes a result, except interruption. */
const execute = (journal: Journal, tool: RegisteredTool, parameters: unknown, call: Tool.Call["Service"]): Effect.Effect<Ending> =>
  tool.handle(parameters, call, journal.services).pipe(
    Effect.flatMap((value) =>
      tool.encodeSuccess(value).pipe(
        Effect.match({
          onSuccess: (encoded): Ending => ({ outcome: "success", result: json(encoded) }),
          onFailure: (error) =>
            sentence("invalid-result", `The tool "${tool.name}" returned something that its definition forbids: ${error.message}`)
        })
      )
    ),
    Effect.timeoutOrElse({
      duration: tool.timeout,
      orElse: () => {
        const limit = Duration.format(tool.timeout)
        return Effect.succeed(sentence("timeout", `The tool "${tool.name}" did not finish within ${limit}.`))
      }
    }),
    Effect.catchCause((cause) => {
      const failure = Cause.findErrorOption(cause)
      if (Option.isSome(failure)) return failureOf(tool, failure.value)
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>) // no failure is in it
      return Effect.succeed(sentence("defect", `The tool "${tool.name}" broke: ${messageOf(Cause.squash(cause))}`))
    })
  )

const runCall = Effect.fnUntraced(function*(journal: Journal, call: Call) {
  const { clock, log } = journal
  const { part } = call
  const state = journal.state()
  const turn = state.turns
  const startedAt = clock.currentTimeMillisUnsafe()
  const complete = (ending: Ending) =>
    journal.emit([{
      _tag: "ToolCompleted",
      v: 1,
      turn,
      call: part.id,
      name: part.name,
      durationMs: Math.round(clock.currentTimeMillisUnsafe() - startedAt),
      ...ending
    }])

  const tool = journal.registered.tools.get(part.name)
  if (tool === undefined) {
    const known = [...journal.registered.tools.keys()].join(", ") || "none"
    return yield* complete(sentence("unknown-tool", `There is no tool "${part.name}"; the tools are: ${known}.`))
  }
  const parameters = yield* Effect.exit(parametersOf(tool, part))
  if (Exit.isFailure(parameters)) {
    return yield* complete(Option.getOrElse(Cause.findErrorOption(parameters.cause), () =>
      sentence("invalid-parameters", `The parameters of the tool "${tool.name}" could not be read.`)))
  }
  const key = keyOf(journal.run, turn, part.id)
  const started = { _tag: "ToolStarted", v: 1, turn, call: part.id, name: part.name, effect: tool.effect, key } as const
  // A pure tool may be repeated, so the world cannot get ahead of the log through it.
  yield* tool.effect === "pure" ? journal.emit([started]) : journal.commit([started])
  journal.running.set(part.id, { name: part.name, since: startedAt })
  const ending = yield* execute(journal, tool, parameters.value, {
    id: part.id,
    run: journal.run,
    org: state.org,
    key,
    progress: (message) => Effect.sync(() => log.announce(journal.run, { _tag: "Progress", call: part.id, tool: part.name, message }))
  }).pipe(
    Effect.ensuring(Effect.sync(() => journal.running.delete(part.id))),
    Effect.withSpan(`execute_tool ${part.name}`, {
      attributes: { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": part.name, "gen_ai.tool.call.id": part.id }
    }, { captureStackTrace: false })
  )
  if (ending.outcome === "timeout" && tool.effect === "unsafe") yield* doubt(journal, part, "it did not finish within its time limit")
  yield* complete(ending)
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
    const doubtful = status === "unknown" || (status === "started" && effect !== "pure")
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
