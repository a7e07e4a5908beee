import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AiTool from "effect/ai/Tool"
import type { RegisteredTool } from "../Agent.ts"
import { clean, type ToolOutcome, type Transcript } from "../Run.ts"
import type * as Tool from "../Tool.ts"

/** How one call ended: what the model is told, and the failure that ends the run, if it does. */
export interface Ending {
  readonly outcome: ToolOutcome
  readonly result: string
  readonly fatal?: string
}

/** An ending that tells the model in a sentence. */
export const sentence = (outcome: ToolOutcome, result: string): Ending => ({ outcome, result: clean(result) })

const unstorable = /\\u(?:0000|d[89a-f][0-9a-f]{2})/i

/** A value as JSON text that can be stored. */
export const json = (value: unknown): string => {
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

/** The parameters of a call as its tool takes them. */
export const parametersOf = (tool: RegisteredTool, part: Transcript.ToolCallPart): Effect.Effect<unknown, Ending> =>
  Option.match(parse(part.arguments), {
    onNone: () => Effect.fail(sentence("invalid-parameters", "The parameters are not valid JSON. Call the tool again with complete, valid JSON.")),
    onSome: (parameters) =>
      Effect.mapError(tool.decode(parameters), (error) =>
        sentence("invalid-parameters", `The parameters do not fit the tool "${tool.name}": ${error.message}`))
  })

const failureOf = (tool: RegisteredTool, error: unknown): Effect.Effect<Ending> => {
  if (error instanceof TookTooLong) {
    const ending = sentence("timeout", `The tool "${tool.name}" did not finish within ${Duration.format(error.limit)}.${
      tool.effect === "unsafe" ? " Whether it happened is unknown: do not repeat it without looking." : ""}`)
    return Effect.succeed(tool.fatal ? { ...ending, fatal: String(Duration.toMillis(error.limit)) } : ending)
  }
  if (error instanceof Unfit) {
    return Effect.succeed(sentence("invalid-result", `The tool "${tool.name}" returned something that its definition forbids: ${error.problem}`))
  }
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

/** A handler did not finish within its limit. */
export class TookTooLong {
  readonly limit: Duration.Duration
  constructor(limit: Duration.Duration) {
    this.limit = limit
  }
}

/** What a handler returned is not what its definition says. */
class Unfit {
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/** Nobody can say whether the call happened. */
export class Doubtful {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/** Runs a handler once, within its time limit; its result as JSON text. */
export const perform = (
  tool: RegisteredTool,
  limit: Duration.Duration,
  handled: Effect.Effect<unknown, unknown>
): Effect.Effect<string, unknown> =>
  handled.pipe(
    Effect.flatMap((value) => Effect.mapError(tool.encodeSuccess(value), (error) => new Unfit(error.message))),
    Effect.map(json),
    Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.fail(new TookTooLong(limit)) })
  )

/** Asks the other side whether a call happened: its result as JSON text, or nothing where it may be made again. */
export const reconcile = (
  tool: RegisteredTool,
  parameters: unknown,
  call: Tool.Call["Service"]
): Effect.Effect<Option.Option<string>, Doubtful> => {
  const asked = Effect.suspend(() => tool.reconcile?.(parameters, call) ?? Effect.fail("there is no check")).pipe(
    Effect.timeoutOrElse({ duration: tool.timeout, orElse: () => Effect.fail(new TookTooLong(tool.timeout)) })
  )
  return (tool.retry === undefined ? asked : Effect.retry(asked, tool.retry)).pipe(
    Effect.flatMap((answer): Effect.Effect<Option.Option<string>, unknown> => {
      switch (answer._tag) {
        case "Done":
          return Effect.map(tool.encodeSuccess(answer.result), (encoded) => Option.some(json(encoded)))
        case "NotDone":
          return Effect.succeedNone
        case "Unknown":
          return Effect.fail("the other side cannot say")
      }
    }),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>) // no failure is in it
      const error = Cause.squash(cause)
      const why = error instanceof TookTooLong ? `the check did not finish within ${Duration.format(error.limit)}` : messageOf(error)
      return Effect.fail(new Doubtful(`it was interrupted, and whether it happened is not known: ${why}`))
    })
  )
}

/** What ended a handler as a result for the model; nothing for interruption, which is not the handler's. */
export const endingOf = (tool: RegisteredTool, cause: Cause.Cause<unknown>): Effect.Effect<Ending> => {
  const failure = Cause.findErrorOption(cause)
  if (Option.isSome(failure)) return failureOf(tool, failure.value)
  if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>) // no failure is in it
  return Effect.succeed(sentence("defect", `The tool "${tool.name}" broke: ${messageOf(Cause.squash(cause))}`))
}
