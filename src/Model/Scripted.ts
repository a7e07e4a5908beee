import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type { FinishReason, Usage } from "../Run.ts"
import type { Provider, Request } from "./Provider.ts"

type Part = Response.StreamPartEncoded

/** A tool call that a scripted model makes. */
export interface Call {
  readonly name: string
  readonly params?: unknown
  /** The argument text itself, for JSON that is cut or wrong; stands in for `params`. */
  readonly arguments?: string
  /** `call_<turn>_<number>`, both counted from 1, where it is left out. */
  readonly id?: string
}

/** One answer of a scripted model; a text alone is an answer of that text. */
export interface Turn {
  /** What must hold of the request: a text that its last message contains, or a function that gives `true` or says what it expected. */
  readonly expect?: string | ((request: Request) => true | string)
  readonly reasoning?: string
  /** The signature of the reasoning, under the provider's name `scripted`. */
  readonly signature?: string
  readonly text?: string
  readonly toolCalls?: ReadonlyArray<Call>
  /** `tool-calls` with tool calls, otherwise `stop`, where it is left out. */
  readonly finish?: FinishReason
  /** The note of the finish, as a refusal has it. */
  readonly note?: string
  /** What else the provider says of its answer, as `cost`, `host` and `nativeFinish` are; see {@link Provider}. */
  readonly metadata?: Readonly<Record<string, string | number>>
  /** The provider's id of the model that answers. */
  readonly servedModel?: string
  /** 10 uncached and 5 output tokens where it is left out. */
  readonly usage?: Partial<Usage>
  /** Waits before the first part. */
  readonly delay?: Duration.Input
  /** Waits before each further part. */
  readonly pace?: Duration.Input
  /** Fails, after `failAfter` parts or at once. */
  readonly fail?: AiError.AiError
  readonly failAfter?: number
  /** Ends without `finish`, as a lost connection does. */
  readonly cut?: true
  /** Sends everything but `finish`, and then nothing any more. */
  readonly hang?: true
}

type Said = string | Turn

/** An answer, or what makes one out of the request. */
export type Step = Said | ((request: Request) => Said | Effect.Effect<Said, AiError.AiError>)

/** How a script is played. */
export interface Options {
  /** Characters of each delta; everything in one where it is left out. */
  readonly pieces?: number
  /**
   * Counts requests instead of the assistant messages in the request. Only for one run at a time: without it any number
   * of runs can play the same script, and an attempt made again gets the same turn again.
   */
  readonly sequential?: boolean
}

const pieces = (text: string, size: number): ReadonlyArray<string> => {
  if (text.length <= size) return text === "" ? [] : [text]
  const out: Array<string> = []
  for (let at = 0; at < text.length; at += size) out.push(text.slice(at, at + size))
  return out
}

const plainUsage: Response.FinishPartEncoded["usage"] = {
  inputTokens: { uncached: 10, cacheRead: 0, cacheWrite: 0, total: 10 },
  outputTokens: { total: 5, reasoning: 0, text: 5 }
}

const usageOf = (usage: Partial<Usage>): Response.FinishPartEncoded["usage"] => {
  const { cacheRead = 0, cacheWrite = 0, cacheWriteHour = 0, output = 5, reasoning = 0, uncached = 10 } = usage
  const written = cacheWrite + cacheWriteHour
  return {
    inputTokens: { uncached, cacheRead, cacheWrite: written, total: uncached + cacheRead + written },
    outputTokens: { total: output, reasoning, text: Math.max(0, output - reasoning) }
  }
}

/** Everything that a turn streams, made once. */
const partsOf = (turn: Turn, number: number, size: number): ReadonlyArray<Part> => {
  const out: Array<Part> = [{
    type: "response-metadata",
    id: `scripted_${number}`,
    ...(turn.servedModel === undefined ? {} : { modelId: turn.servedModel })
  }]
  if (turn.reasoning !== undefined) {
    out.push({ type: "reasoning-start", id: "r" })
    for (const delta of pieces(turn.reasoning, size)) out.push({ type: "reasoning-delta", id: "r", delta })
    const metadata = turn.signature === undefined ? {} : { metadata: { scripted: { signature: turn.signature } } }
    out.push({ type: "reasoning-end", id: "r", ...metadata })
  }
  if (turn.text !== undefined) {
    out.push({ type: "text-start", id: "t" })
    for (const delta of pieces(turn.text, size)) out.push({ type: "text-delta", id: "t", delta })
    out.push({ type: "text-end", id: "t" })
  }
  for (const [index, call] of (turn.toolCalls ?? []).entries()) {
    const id = call.id ?? `call_${number}_${index + 1}`
    out.push({ type: "tool-params-start", id, name: call.name })
    for (const delta of pieces(call.arguments ?? JSON.stringify(call.params ?? {}), size)) {
      out.push({ type: "tool-params-delta", id, delta })
    }
    out.push({ type: "tool-params-end", id }, { type: "tool-call", id, name: call.name, params: call.arguments ?? call.params ?? {} })
  }
  if (turn.cut !== true && turn.hang !== true) {
    const usage = turn.usage === undefined ? plainUsage : usageOf(turn.usage)
    const about = {
      ...(turn.usage?.cacheWriteHour === undefined ? {} : { cacheWriteHour: turn.usage.cacheWriteHour }),
      ...(turn.usage?.webSearches === undefined ? {} : { webSearches: turn.usage.webSearches }),
      ...(turn.note === undefined ? {} : { note: turn.note }),
      ...turn.metadata
    }
    out.push({
      type: "finish",
      reason: turn.finish ?? (turn.toolCalls !== undefined && turn.toolCalls.length > 0 ? "tool-calls" : "stop"),
      usage,
      ...(Object.keys(about).length === 0 ? {} : { metadata: { scripted: about } })
    })
  }
  return out
}

const disagree = (problem: string): AiError.AiError =>
  AiError.make({
    module: "Scripted",
    method: "stream",
    reason: new AiError.InvalidRequestError({ description: problem })
  })

const lastMessage = (request: Request): string => {
  const message = request.messages.at(-1)
  if (message === undefined) return "no message"
  const text = message.role === "user"
    ? message.text
    : message.role === "tool"
    ? message.results.map((result) => result.result).join(" | ")
    : JSON.stringify(message.parts)
  return `${message.role}: ${text}`
}

const mismatch = (turn: Turn, number: number, request: Request): AiError.AiError | undefined => {
  if (turn.expect === undefined) return undefined
  const last = lastMessage(request)
  const held = typeof turn.expect === "string"
    ? last.includes(turn.expect) || `the last message to contain "${turn.expect}"`
    : turn.expect(request)
  return held === true
    ? undefined
    : disagree(`Turn ${number} of the script expected ${held}, but there came ${last.slice(0, 500)}: make script and agent agree`)
}

const streamOf = (turn: Turn, parts: ReadonlyArray<Part>): Stream.Stream<Part, AiError.AiError> => {
  const { delay, fail, hang, pace } = turn
  const sent = fail === undefined ? parts : parts.slice(0, turn.failAfter ?? 0)
  let stream: Stream.Stream<Part, AiError.AiError> = Stream.fromArray(sent)
  if (pace !== undefined) {
    stream = Stream.fromIterable(sent, { chunkSize: 1 }).pipe(
      Stream.mapEffect((part, index) => index === 0 ? Effect.succeed(part) : Effect.delay(Effect.succeed(part), pace))
    )
  }
  if (fail !== undefined) stream = Stream.concat(stream, Stream.fail(fail))
  if (hang === true) stream = Stream.concat(stream, Stream.never)
  return delay === undefined ? stream : Stream.unwrap(Effect.as(Effect.sleep(delay), stream))
}

const answered = (request: Request): number => {
  let count = 0
  for (const message of request.messages) if (message.role === "assistant") count++
  return count
}

/**
 * A model that says what a script says: a list of turns, or one function for all of them. For demonstrations, tests and
 * benchmarks, without a key and without a network. Where script and run disagree (the script is over, or an `expect`
 * does not hold) the stream fails with an `InvalidRequestError` that says which turn, what was expected and what came.
 */
export const make = (script: ReadonlyArray<Step> | Exclude<Step, Said>, options?: Options): Provider => {
  const size = options?.pieces ?? Infinity
  /** The parts of the turns that are values, by their place. */
  const made: Array<ReadonlyArray<Part> | undefined> = []
  let requests = 0

  const play = (said: Said, index: number, request: Request, fixed: boolean): Stream.Stream<Part, AiError.AiError> => {
    const turn = typeof said === "string" ? { text: said } : said
    const wrong = mismatch(turn, index + 1, request)
    if (wrong !== undefined) return Stream.fail(wrong)
    const parts = (fixed ? made[index] : undefined) ?? partsOf(turn, index + 1, size)
    if (fixed) made[index] = parts
    return streamOf(turn, parts)
  }

  return (request) => {
    const index = options?.sequential === true ? requests++ : answered(request)
    const step = typeof script === "function" ? script : script[index]
    if (step === undefined) {
      const length = typeof script === "function" ? 0 : script.length
      return Stream.fail(disagree(
        `The script is over: it has ${length} turn${length === 1 ? "" : "s"}, and turn ${index + 1} was asked for after ${lastMessage(request).slice(0, 500)}. Add a turn`
      ))
    }
    if (typeof step !== "function") return play(step, index, request, true)
    const said = step(request)
    return Effect.isEffect(said)
      ? Stream.unwrap(Effect.map(said, (said) => play(said, index, request, false)))
      : play(said, index, request, false)
  }
}
