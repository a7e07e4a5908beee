import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import * as Sse from "effect/encoding/Sse"
import * as Reason from "../Reason.ts"

export type Part = Response.StreamPartEncoded

/** Turns the values of one answer into parts. */
export interface Decoder {
  /** Whether the answer is complete, so that nothing more is awaited. */
  readonly finished: boolean
  /** Adds the parts of a value; gives the failure that the value reports, if it does. */
  readonly decode: (value: unknown, out: Array<Part>) => AiError.AiError | undefined
  /**
   * Adds what is left once there are no more values, and is `finished` then if the answer was complete. `marked` tells
   * that the end was announced (`[DONE]`) and is not merely the end of the bytes.
   */
  readonly end: (out: Array<Part>, marked: boolean) => void
  /**
   * Adds what was billed for an answer that has failed, as a `finish` of reason `error`, and tells whether that is known; it may
   * be in a value after the failure. Absent where a provider says nothing more.
   */
  readonly bill?: (out: Array<Part>) => boolean
}

const longestBody = 32 * 1024 * 1024

/**
 * Reads text as an event stream, or as one JSON document where it begins like one, which is how errors and answers of
 * gateways without streaming come. Failures are kept until the parts before them are read; of what comes after one, only the
 * bill is taken.
 */
export const reading = (decoder: Decoder, failures: Reason.Failures) => {
  let out: Array<Part> = []
  let failure: AiError.AiError | undefined
  let billed = false
  let over = false
  let announced = false
  let document: Array<string> | undefined
  let length = 0
  let begun = false

  const isSettled = () => failure !== undefined && (billed || announced)
  const fail = (error: AiError.AiError) => {
    if (failure !== undefined) return
    failure = error
    billed = decoder.bill === undefined || decoder.bill(out)
  }
  const take = (value: unknown) => {
    if (decoder.finished || isSettled()) return
    if (failure === undefined) {
      const error = decoder.decode(value, out)
      if (error !== undefined) fail(error)
    } else {
      decoder.decode(value, [])
      billed = decoder.bill?.(out) === true
    }
  }
  const parse = (text: string): unknown => {
    try {
      return JSON.parse(text)
    } catch (error) {
      // Text that the end of the bytes cut is no fault of the provider's, but an answer that is not over.
      if (!over) fail(failures.malformed(`the answer held an event that is not JSON: ${Reason.sentence(error)}`))
      return undefined
    }
  }
  const finish = (marked: boolean): void => {
    if (failure === undefined) decoder.end(out, marked)
    announced ||= marked
  }
  const parser = Sse.makeParser((event) => {
    // A wish about reconnecting is nothing to an answer that cannot be resumed.
    if (event._tag !== "Event" || isSettled() || decoder.finished) return
    const data = event.data.trim()
    // Some gateways keep a connection alive with empty data.
    if (data === "") return
    if (data === "[DONE]") return finish(true)
    const value = parse(data)
    if (value !== undefined) take(value)
  })

  return {
    /** Takes the parts that have been read. */
    take: (): Array<Part> => {
      const taken = out
      out = []
      return taken
    },
    failure: () => failure,
    /** Whether nothing more is awaited after a failure. */
    isSettled: () => isSettled() || over,
    over: () => over,
    feed: (text: string): void => {
      if (!begun) {
        const first = text.trimStart()
        if (first === "") return
        begun = true
        if (first.startsWith("{") || first.startsWith("[")) document = []
      }
      if (document !== undefined) {
        length += text.length
        document.push(text)
        if (length > longestBody) fail(failures.malformed("the answer is longer than 32 MiB"))
      } else if (parser.feed(text) !== undefined) {
        fail(failures.malformed("the answer held an event of more than 10 MiB"))
      }
    },
    end: (): void => {
      over = true
      if (document === undefined) parser.feed("\n\n")
      else {
        const value = parse(document.join(""))
        for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) take(one)
      }
      if (!decoder.finished) finish(false)
    }
  }
}
