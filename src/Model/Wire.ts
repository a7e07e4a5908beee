import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Pull from "effect/Pull"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as AiError from "effect/ai/AiError"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import { isForbiddenUrl } from "./Forbidden.ts"
import * as Idle from "./Idle.ts"
import type { Provider } from "./Provider.ts"
import type * as Reason from "./Reason.ts"
import { type Decoder, type Part, reading } from "./Wire/Reading.ts"

export type { Decoder, Part } from "./Wire/Reading.ts"

// access

/** Where a provider is asked, with which key, and through which `fetch`: the fiber's, when it was read. */
export interface Access {
  readonly key: Redacted.Redacted
  /** Without a slash at its end. */
  readonly baseURL: string
  readonly fetch: typeof globalThis.fetch
}

/** Reads the variables of a provider's key and address, and says what keeps it from being asked. */
export const access = Effect.fnUntraced(
  function*(failures: Reason.Failures, standard: string): Effect.fn.Return<Result.Result<Access, AiError.AiError>, Config.ConfigError> {
    const { baseUrl, keys } = failures.names
    const given = (yield* Config.withDefault(Config.String(baseUrl), "")).trim()
    const baseURL = (given === "" ? standard : given).replace(/\/+$/, "")
    if (isForbiddenUrl(baseURL)) return Result.fail(failures.forbiddenUrl(baseURL))
    if (!/^https?:/i.test(baseURL) || !URL.canParse(baseURL)) return Result.fail(failures.unusableUrl(baseURL))
    for (const variable of keys) {
      const key = Redacted.value(yield* Config.withDefault(Config.Redacted(variable), Redacted.make(""))).trim()
      if (key === "") continue
      // Other characters would fail as a header, with a message that tells the key.
      if (!/^[\x21-\x7e]+$/.test(key)) return Result.fail(failures.unusableKey(variable))
      return Result.succeed({ key: Redacted.make(key), baseURL, fetch: yield* FetchHttpClient.Fetch })
    }
    return Result.fail(failures.missingKey)
  }
)

/** A provider that cannot be asked: every request fails at once. */
export const unavailable = (error: AiError.AiError): Provider => Object.assign(() => Stream.fail(error), { ready: false })

// exchange

/** An answer without success. */
export interface Refusal {
  readonly status: number
  readonly headers: Headers
  /** The body, at most 64 KiB of it. */
  readonly text: string
  /** The time by the clock, for headers that name one; milliseconds. */
  readonly now: number
}

/** One request and how to read what comes of it. */
export interface Exchange {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: object
  readonly failures: Reason.Failures
  readonly refused: (refusal: Refusal) => AiError.AiError
  readonly decoder: (headers: Headers) => Decoder
}

const longestRefusal = 64 * 1024
/** How much is read after a failure, and for how long, because the bill of the answer may come yet. */
const longestBill = { bytes: 64 * 1024, time: "1 second" } as const

/** The text of a refusal as far as it comes; a connection that breaks within it changes nothing about the refusal. */
const textOf = async (response: globalThis.Response, watch: Idle.Watch): Promise<string> => {
  if (response.body === null) return ""
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ""
  try {
    while (text.length < longestRefusal) {
      const { done, value } = await watch.waitFor(() => reader.read())
      if (done) break
      text += decoder.decode(value, { stream: true })
    }
  } catch {
    // What came is enough to classify by.
  }
  return text.slice(0, longestRefusal)
}

type Parts = readonly [Part, ...Array<Part>]

const isParts = (parts: ReadonlyArray<Part>): parts is Parts => parts.length > 0

const drain = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> => {
  while (!(await reader.read()).done);
}

/** Streams the parts of an answer that has begun, those of one piece of bytes together. */
export const parts = (
  response: globalThis.Response,
  watch: Idle.Watch,
  { decoder, failures, url }: { readonly url: string; readonly failures: Reason.Failures; readonly decoder: Decoder }
): Stream.Stream<Part, AiError.AiError> => {
  const reader = response.body?.getReader()
  const bytes = new TextDecoder()
  const reads = reading(decoder, failures)
  const silent = () => watch.expired() ? failures.silent(url, watch.timeoutMs) : undefined

  /** Reads a piece of bytes, or the end; how many bytes that were. */
  const feed = async (): Promise<number> => {
    const piece = reader === undefined ? undefined : await watch.waitFor(() => reader.read())
    if (piece === undefined || piece.done) {
      reads.feed(bytes.decode())
      reads.end()
      return 0
    }
    reads.feed(bytes.decode(piece.value, { stream: true }))
    return piece.value.length
  }
  /** The parts of the next piece that has some; none at the end or before a failure. */
  const next = async (): Promise<ReadonlyArray<Part>> => {
    while (true) {
      const parts = reads.take()
      if (parts.length > 0 || decoder.finished || reads.over() || reads.failure() !== undefined) return parts
      await feed()
    }
  }
  const read = Effect.tryPromise({ try: next, catch: (error) => silent() ?? failures.network(url, error) })
  /** Reads on after a failure for its bill, a connection that breaks or falls silent meanwhile changing nothing about the failure. */
  const readOn = Effect.tryPromise(async () => {
    for (let read = 0; !reads.isSettled() && read < longestBill.bytes;) read += await feed()
  }).pipe(Effect.timeoutOption(longestBill.time), Effect.ignore)
  let isReadOn = false

  const pull: Pull.Pull<Parts, AiError.AiError> = Effect.flatMap(read, (parts): Pull.Pull<Parts, AiError.AiError> => {
    if (isParts(parts)) return Effect.succeed(parts)
    if (reads.failure() !== undefined && !reads.isSettled() && !isReadOn) {
      isReadOn = true
      return Effect.andThen(readOn, pull)
    }
    if (decoder.finished) {
      if (reader !== undefined && !reads.over()) watch.leave(() => drain(reader))
      return Cause.done()
    }
    return Effect.fail(reads.failure() ?? silent() ?? failures.cutOff(url))
  })
  return Stream.fromPull(Effect.succeed(pull))
}

/** Built from a layer that holds nothing, so that it need not be kept. */
const client = Effect.provide(HttpClient.HttpClient, FetchHttpClient.layer)

const open = Effect.fnUntraced(function*(fetch: typeof globalThis.fetch, exchange: Exchange) {
  const { failures, url } = exchange
  const clock = yield* Clock.Clock
  const watch = yield* Idle.watch
  const failed = (error: unknown): AiError.AiError =>
    watch.expired() ? failures.silent(url, watch.timeoutMs) : failures.network(url, error)

  // Redirects would take the key elsewhere.
  const watched: typeof globalThis.fetch = (input, init) =>
    watch.waitFor(() => fetch(input, { ...init, redirect: "manual", signal: watch.signal }))
  const request = HttpClientRequest.post(url, {
    headers: exchange.headers,
    body: HttpBody.text(JSON.stringify(exchange.body), "application/json")
  })
  const answered = yield* Effect.flatMap(client, (client) => client.execute(request)).pipe(
    Effect.provideService(FetchHttpClient.Fetch, watched),
    // The attempt has a span of its own; headers with keys and trace ids are nobody else's.
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
    Effect.mapError((error) => failed(error.cause ?? error))
  )
  // Every response of FetchHttpClient is one of the Web's.
  const response = Option.getOrThrow(HttpClientResponse.toWeb(answered))
  if (response.status >= 300 && response.status < 400) {
    return yield* failures.redirected(url, response.headers.get("location"))
  }
  if (!response.ok) {
    const text = yield* Effect.promise(() => textOf(response, watch))
    return yield* exchange.refused({ status: response.status, headers: response.headers, text, now: clock.currentTimeMillisUnsafe() })
  }

  return parts(response, watch, { url, failures, decoder: exchange.decoder(response.headers) })
})

/**
 * Asks once and streams the parts of the answer, those of one piece of bytes together. The connection is closed when the
 * reader leaves or is interrupted, when the answer is complete, and when nothing has come for `IdleTimeout`.
 */
export const stream = (access: Access, exchange: Exchange): Stream.Stream<Part, AiError.AiError> =>
  Stream.unwrap(open(access.fetch, exchange))
