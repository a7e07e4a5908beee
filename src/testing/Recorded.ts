import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type * as Agent from "../Agent.ts"
import * as Model from "../Model.ts"
import { Compact, type RunEvent, type UnknownModel } from "../Run.ts"
import * as Tool from "../Tool.ts"
import type { Score } from "./Score.ts"

type Event<Tag extends RunEvent["_tag"]> = Extract<RunEvent, { readonly _tag: Tag }>

/** A recorded result, as the handler that stands in for the real one gives it. */
class Result {
  readonly encoded: unknown
  readonly problem: string | undefined
  constructor(encoded: unknown, problem?: string) {
    this.encoded = encoded
    this.problem = problem
  }
}

/** A recorded failure; `message` is its sentence. */
class Failure extends Error {
  readonly encoded: unknown
  constructor(encoded: unknown, message: string) {
    super(message)
    this.encoded = encoded
  }
}

/** An execution that failed and was made again. */
class Again extends Error {}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null

const after = (prefix: string, text: string): string | undefined => text.startsWith(prefix) ? text.slice(prefix.length) : undefined

/** What the handler of a recorded call did. */
const replayed = ({ fatal, name, outcome, result }: Event<"ToolCompleted">, isEdited: boolean): Effect.Effect<unknown, unknown> => {
  const forbidden = `The tool "${name}" returned something that its definition forbids`
  switch (outcome) {
    case "success": {
      const value = parsed(result)
      return Effect.succeed(new Result(isEdited && isRecord(value) ? value["result"] : value))
    }
    case "failure": {
      const encoded = parsed(fatal ?? result)
      if (encoded === undefined) return Effect.fail(new Failure(undefined, after(`The tool "${name}" failed: `, result) ?? result))
      const shown = parsed(result)
      const message = fatal !== undefined && fatal !== result && isRecord(shown) ? shown["message"] : undefined
      return Effect.fail(new Failure(encoded, typeof message === "string" ? message : ""))
    }
    case "invalid-result": {
      const problem = after(`${forbidden}: `, result)
      return problem === undefined ? Schema.decodeUnknownEffect(Schema.Never)(null) : Effect.succeed(new Result(undefined, problem))
    }
    case "defect":
      return Effect.die(new Error(after(`The tool "${name}" broke: `, result) ?? result))
    default:
      // A time-out is the clock's, and an interruption comes from outside.
      return Effect.never
  }
}

/** A tool whose calls end as they are recorded, in the order in which they did. Calls of `runs` are made for real and end in that order too. */
const toolOf = (real: Agent.RegisteredTool, score: Score, runs: boolean): Agent.RegisteredTool => {
  const executions = new Map<string, number>()
  const { approval } = real

  const handle: Agent.RegisteredTool["handle"] = (parameters, call, services, sql) =>
    Effect.gen(function*() {
      const number = (executions.get(call.id) ?? 0) + 1
      const events = score.ahead(call.id)
      const completed = events.find((event): event is Event<"ToolCompleted"> => event._tag === "ToolCompleted")
      if (number < (completed?.attempts ?? 1)) {
        executions.set(call.id, number)
        return yield* Effect.fail(new Again())
      }
      executions.delete(call.id)
      const last = events.find((event) => event._tag === "ToolCompleted" || event._tag === "ToolUnknown")
      if (last === undefined) return yield* Effect.never
      const turn = score.turnOf((event) => event === last)
      if (runs && last._tag === "ToolCompleted" && last.outcome !== "cancelled") {
        const exit = yield* Effect.exit(real.handle(parameters, call, services, sql))
        yield* turn
        return yield* exit
      }
      yield* turn
      if (last._tag === "ToolUnknown") return yield* real.effect === "reconcilable" ? Effect.fail(new Again()) : Effect.never
      const isEdited = score.state()?.open?.calls.some(({ approval, part }) => part.id === call.id && approval?.parameters != null) ?? false
      return yield* replayed(last, isEdited)
    })

  /** What the other side said: by what was done after it was asked. */
  const reconcile: Agent.RegisteredTool["reconcile"] = (_, call) =>
    Effect.suspend((): Effect.Effect<Tool.Reconciliation<unknown>, unknown> => {
      const [event] = score.ahead(call.id).filter((one) => one._tag !== "ToolStarted" || !executions.has(call.id))
      if (executions.has(call.id) || event?._tag === "ToolStarted") return Effect.succeed(Tool.notDone)
      if (event?._tag === "ToolUnknown") {
        const why = after("it was interrupted, and whether it happened is not known: ", event.reason) ?? event.reason
        return Effect.fail(new Error(why))
      }
      if (event?._tag !== "ToolCompleted" || event.outcome !== "success") return Effect.succeed(Tool.notDone)
      return Effect.as(score.turnOf((one) => one === event), Tool.done(new Result(parsed(event.result))))
    })

  return {
    ...real,
    retry: Schedule.while(Schedule.recurs(1_000), ({ input }) => input instanceof Again),
    // Asked before a call begins that has not begun yet: it begins where it is recorded.
    approval: {
      expires: approval?.expires ?? Tool.ApprovalTime.defaultValue(),
      policy: approval?.policy ?? "",
      when: (parameters, call) =>
        score.turnOf((event) => event === score.ahead(call)[0]).pipe(
          Effect.andThen(approval === undefined ? Effect.succeed(false) : approval.when(parameters, call))
        )
    },
    handle,
    reconcile: real.reconcile === undefined ? undefined : reconcile,
    encodeSuccess: (value) => {
      if (!(value instanceof Result)) return real.encodeSuccess(value)
      // Only the sentence of the error is looked at.
      return value.problem === undefined ? Effect.succeed(value.encoded) : Effect.fail({ message: value.problem } as Schema.SchemaError)
    },
    encodeFailure: (error) => {
      if (!(error instanceof Failure)) return real.encodeFailure(error)
      return error.encoded === undefined ? Effect.fail({ message: error.message } as Schema.SchemaError) : Effect.succeed(error.encoded)
    }
  }
}

/** An agent whose tools do what is recorded; with `runs`, its pure handlers are run and their results compared. */
export const recordedAgent = (agent: Agent.Registered, score: Score, runs: boolean): Agent.Registered => ({
  ...agent,
  tools: new Map([...agent.tools].map(([name, tool]) => [name, toolOf(tool, score, runs && tool.effect === "pure")]))
})

/** The stream that a recorded answer came in, as one piece for each part. */
export const answerParts = ({ bill, finish, note, parts }: Pick<Event<"TurnCompleted">, "bill" | "finish" | "note" | "parts">): ReadonlyArray<Response.StreamPartEncoded> => {
  const { usage } = bill
  const written = usage.cacheWrite + usage.cacheWriteHour
  const out: Array<Response.StreamPartEncoded> = []
  for (const [index, part] of parts.entries()) {
    const id = part.type === "tool-call" ? part.id : String(index)
    const metadata = part.opaque === undefined ? {} : { metadata: part.opaque }
    if (part.type === "tool-call") {
      out.push({ type: "tool-params-start", id, name: part.name }, { type: "tool-params-delta", id, delta: part.arguments })
      out.push({ type: "tool-params-end", id }, { type: "tool-call", id, name: part.name, params: part.arguments, ...metadata })
    } else if (part.type === "text") {
      out.push({ type: "text-start", id }, { type: "text-delta", id, delta: part.text }, { type: "text-end", id, ...metadata })
    } else {
      out.push({ type: "reasoning-start", id }, { type: "reasoning-delta", id, delta: part.text }, { type: "reasoning-end", id, ...metadata })
    }
  }
  const about = { ...(note === null ? {} : { note }), ...(usage.cacheWriteHour === 0 ? {} : { cacheWriteHour: usage.cacheWriteHour }) }
  out.push({
    type: "finish",
    reason: finish,
    usage: {
      inputTokens: { uncached: usage.uncached, cacheRead: usage.cacheRead, cacheWrite: written, total: usage.uncached + usage.cacheRead + written },
      outputTokens: { total: usage.output, reasoning: usage.reasoning, text: Math.max(0, usage.output - usage.reasoning) }
    },
    ...(Object.keys(about).length === 0 ? {} : { metadata: { recorded: about } })
  })
  return out
}

/** A recorded failure of an attempt, as `Model.describe` reads it. */
const failure = ({ message, reason, retryable, retryAfterMs, tooLong }: Event<"AttemptFailed">["error"]): AiError.AiError => ({
  isRetryable: retryable,
  reason: { _tag: reason, message, ...(tooLong === true ? { parameter: "messages" } : {}), ...(retryAfterMs === null ? {} : { retryAfter: retryAfterMs }) }
  // It has what is read of such an error; a recorded reason has no class of its own.
}) as never

/** Ends of an attempt that the run's own clock, or somebody else, brings about. */
const fromOutside = new Set(["Cancelled", "Interrupted", "Shutdown", "TimedOut", "Lost", "FirstTokenTimedOut", "StreamStalled", "TurnTimedOut"])

/** A provider that answers what is recorded next. */
export const recordedModel = (score: Score, time: { readonly set: (at: number) => void }): Model.Provider =>
  () =>
    Stream.suspend(() => {
      const recorded = score.next()
      const event = recorded?.event
      if (event?._tag === "TurnCompleted") return Stream.fromIterable(answerParts(event))
      if (event?._tag === "ContextCompacted") {
        const text = Compact.summaryIn(event.summary)?.text ?? event.summary
        return Stream.fromIterable(answerParts({ bill: event.bill, finish: "stop", note: null, parts: [{ type: "text", text }] }))
      }
      if (event?._tag !== "AttemptFailed") return Stream.never
      const { error } = event
      if (!fromOutside.has(error.reason)) {
        // An answer that ended before it was complete is a stream without `finish`.
        return error.reason === "InvalidResponseError" && error.message === "the answer ended before it was complete" && error.retryable
          ? Stream.empty
          : Stream.fail(failure(error))
      }
      if (error.reason === "TurnTimedOut") time.set((recorded?.at ?? 0) - 1)
      const isHeard = error.reason === "StreamStalled" || error.reason === "TurnTimedOut"
      const piece: Response.StreamPartEncoded = { type: "text-delta", id: "0", delta: "…" }
      return isHeard ? Stream.concat(Stream.make(piece), Stream.never) : Stream.never
    })

/** The recorded failure to find a model, where a run failed with it before it asked any. */
export const unresolved = (event: RunEvent | undefined): Option.Option<UnknownModel> =>
  event?._tag === "RunFailed" && (event.error._tag === "UnknownModel" || event.error._tag === "ForbiddenModel")
    // Both are failures of looking a model up.
    ? Option.some(event.error as UnknownModel)
    : Option.none()

/** What a run does while it waits to ask a model, where it does not ask: it is broken off. */
const broken = new Set(["CancelRequested", "MessageReceived", "RunParked"])

/** A router that leads to the model that is recorded next, and keeps who was kept from asking any. */
export const recordedRouter = (score: Score): Model.Router["Service"] => ({
  lead: ({ model }, attempt) =>
    Effect.gen(function*() {
      const event = score.next()?.event
      if (event?._tag === "TurnStarted") {
        if (event.model !== model) return yield* new Model.Unavailable({ model, waitMs: 1, problem: "" })
        return yield* Effect.asVoid(attempt(event.waitedMs ?? 0))
      }
      const error = event?._tag === "RunFailed" ? event.error : undefined
      if (error?._tag === "ModelFailed" && error.reason === "ProviderUnavailable") {
        const { model: last, problem } = error
        return yield* new Model.Unavailable({ model, waitMs: model === last ? 1 : 2, problem })
      }
      const isLate = error?._tag === "TurnTimedOut" || error?._tag === "RunTimedOut"
      return yield* isLate || (event !== undefined && broken.has(event._tag)) ? Effect.never : Effect.asVoid(attempt(0))
    })
})
