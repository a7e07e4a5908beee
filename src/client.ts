/**
 * The client of a Conductor server, made from the same contract as the server. It runs in Node and in the browser.
 *
 * ```ts
 * import { ConductorClient } from "conductor-ai/client"
 *
 * const program = Effect.gen(function*() {
 *   const conductor = yield* ConductorClient
 *   const { output } = yield* conductor.run({ agent: "assistant", input: "Say hello." })
 * }).pipe(Effect.provide(ConductorClient.layerFetch({ url: "http://127.0.0.1:8787", key: Redacted.make("ck_…") })))
 * ```
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Sse from "effect/encoding/Sse"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import { Api, ApiError, type Decide, type Message, RunItem, type RunView, type Started, type StartRun, statuses } from "./Api.ts"
import { Cancelled, type InboxId, type RunId, RunWaiting } from "./Run.ts"

export { ApiError, RunItem, RunRow, RunView, Started, StartRun } from "./Api.ts"

/** The server could not be reached, or answered something that is not of its contract. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", { problem: Schema.String }) {
  override get message() {
    return `The server cannot be reached: ${this.problem}`
  }
}

/** Everything that a request can fail with: what the server answers, and that it does not. */
export type ClientError = ApiError | Unreachable

/** Where the server is, and the key for it. */
export interface Options {
  readonly url: string
  readonly key: Redacted.Redacted
  /** How long a server that cannot be reached is waited for by `watch`; 5 minutes by default. */
  readonly patience?: Duration.Input
}

/** A request that is carried out once under its key, which is made where it is left out. */
export interface Once {
  readonly idempotencyKey?: string
}

/** Milliseconds of silence after which a stream counts as cut: the server says something every 15 s. */
const silence = 45_000

const isApiError = Schema.is(ApiError)

const errorOf = (error: unknown): ClientError =>
  isApiError(error) || error instanceof Unreachable
    ? error
    : new Unreachable({ problem: error instanceof Error ? error.message : String(error) })

/** True where the same request may do better. */
const isTransient = (error: ClientError): boolean => error._tag === "Unreachable" || error._tag === "RateLimited" || statuses[error._tag] === 503

const again = { while: isTransient, schedule: Schedule.exponential("200 millis"), times: 5 }

const decodeItem = Schema.decodeUnknownEffect(Schema.fromJsonString(RunItem))
const decodeError = Schema.decodeUnknownEffect(Schema.toCodecJson(ApiError))

const isEnd = (item: RunItem): boolean =>
  "event" in item && (item.event._tag === "RunCompleted" || item.event._tag === "RunFailed" || item.event._tag === "RunCancelled")

/** In place of an item: there will be no more. */
const over = "over"

/** Reads a stream of server-sent events piece by piece; `paused` is told how long the server wants to be left alone. */
const makeReader = (paused: (milliseconds: number) => void) => {
  let said: Array<Sse.Event> = []
  const parser = Sse.makeParser((event) => {
    if (event._tag === "Retry") paused(Duration.toMillis(event.duration))
    else said.push(event)
  }, { maxEventSize: 64 * 1024 * 1024 })
  return (text: string): ReadonlyArray<Sse.Event> => {
    said = []
    parser.feed(text)
    return said
  }
}

/** What came of a run, as its success or its failure. */
const settled = (view: RunView): Effect.Effect<RunView, ClientError> => {
  if (view.status === "completed") return Effect.succeed(view)
  if (view.status === "cancelled") {
    return Effect.fail(new Cancelled({ by: view.cancelled?.by ?? "unknown", reason: view.cancelled?.reason ?? null }))
  }
  if (view.error !== null) return Effect.fail(view.error)
  return Effect.fail(new RunWaiting({ run: view.run, reason: view.waiting?.reason ?? "it is not over" }))
}

const makeApi = ({ key, url }: Options) =>
  HttpApiClient.make(Api, {
    baseUrl: url,
    transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(key))
  })

/** The whole API, group by group, as the contract has it. */
export type Groups = Effect.Success<ReturnType<typeof makeApi>>

const make = Effect.fnUntraced(function*(options: Options) {
  const random = yield* SecureRandom.SecureRandom
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "5 minutes"))
  const api = yield* makeApi(options)

  const start = Effect.fn("ConductorClient.start")(function*({ idempotencyKey, ...payload }: StartRun & Once) {
    const key = idempotencyKey ?? (yield* random.uuidV7())
    return yield* api.runs.start({ payload, headers: { "idempotency-key": key } }).pipe(Effect.mapError(errorOf), Effect.retry(again))
  })

  const get = Effect.fn("ConductorClient.get")((run: RunId) =>
    api.runs.get({ params: { run } }).pipe(Effect.mapError(errorOf), Effect.retry(again))
  )

  /** Why a stream was refused. */
  const refusal = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<never, ClientError> =>
    response.json.pipe(
      Effect.flatMap(decodeError),
      Effect.mapError(() => new Unreachable({ problem: `it answered with status ${response.status}` })),
      Effect.flatMap((error) => Effect.fail(error))
    )

  const watch = (run: RunId, after = 0): Stream.Stream<RunItem, ClientError> =>
    Stream.suspend(() => {
      let cursor = after
      /** Failures in a row, and since when. */
      let failures = 0
      let since = 0
      /** Milliseconds after which the server wants to be asked again. */
      let pause = 0

      const itemOf = (event: Sse.Event) =>
        Effect.map(Effect.option(decodeItem(event.data)), (found): ReadonlyArray<RunItem> => {
          failures = 0
          const item = Option.getOrUndefined(found)
          if (item !== undefined && !("event" in item)) return [item]
          // What a newer server tells is no reason to stop: it is passed over.
          const seq = item?.seq ?? Number(event.id)
          if (!(seq > cursor)) return []
          cursor = seq
          return item === undefined ? [] : [item]
        })
      const connection = Stream.unwrap(Effect.gen(function*(): Effect.fn.Return<Stream.Stream<RunItem | typeof over, unknown>, unknown> {
        const response = yield* api.runs.events({
          params: { run },
          query: {},
          headers: { "last-event-id": cursor },
          responseMode: "response-only"
        })
        if (response.status === 204) return Stream.succeed<typeof over>(over)
        if (response.status !== 200) return yield* refusal(response)
        const feed = makeReader((duration) => {
          pause = duration
        })
        return response.stream.pipe(
          Stream.timeout(silence),
          Stream.decodeText,
          Stream.map(feed),
          Stream.flattenIterable,
          Stream.mapEffect(itemOf),
          Stream.flattenIterable
        )
      }))
      const failed = (error: unknown) => {
        const failure = errorOf(error)
        return Stream.drain(Stream.fromEffect(Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (failures++ === 0) since = now
          return isTransient(failure) && now - since <= patience ? Effect.void : Effect.fail(failure)
        })))
      }
      // 0.1 s, doubled with each failure in a row up to 5 s, unless the server asks for more.
      const waited = Effect.suspend(() => {
        const wait = Math.max(pause, Math.min(5_000, 50 * 2 ** failures))
        pause = 0
        return Effect.sleep(wait)
      })
      return Stream.catch(connection, failed).pipe(
        (stream) => Stream.concat(stream, Stream.drain(Stream.fromEffect(waited))),
        Stream.forever,
        Stream.takeWhile((item): item is RunItem => item !== over),
        Stream.takeUntil(isEnd)
      )
    })

  const waitForCompletion = Effect.fn("ConductorClient.waitForCompletion")(function*(run: RunId) {
    yield* watch(run).pipe(
      Stream.takeUntil((item) => "event" in item && item.event._tag === "RunParked" && item.event.reason !== "shutdown"),
      Stream.runDrain
    )
    return yield* Effect.flatMap(get(run), settled)
  })

  return ConductorClient.of({
    api,
    start,
    get,
    watch,
    waitForCompletion,
    run: Effect.fn("ConductorClient.run")((request) => Effect.flatMap(start(request), ({ run }) => waitForCompletion(run))),
    send: Effect.fn("ConductorClient.send")(function*(run, text, { idempotencyKey, mode } = {}) {
      const key = idempotencyKey ?? (yield* random.uuidV7())
      const { message } = yield* api.runs.send({
        params: { run },
        payload: mode === undefined ? { text } : { text, mode },
        headers: { "idempotency-key": key }
      }).pipe(Effect.mapError(errorOf), Effect.retry(again))
      return message
    }),
    decide: Effect.fn("ConductorClient.decide")((id, decision) =>
      Effect.map(Effect.mapError(api.approvals.decide({ params: { id }, payload: decision }), errorOf), ({ run }) => run)
    ),
    cancel: Effect.fn("ConductorClient.cancel")((run, reason) =>
      api.runs.cancel({ params: { run }, payload: reason === undefined ? {} : { reason } }).pipe(
        Effect.mapError(errorOf),
        Effect.retry(again),
        Effect.asVoid
      )
    )
  })
})

/** A Conductor server, as a program uses it. What can be repeated is repeated where the server does not answer. */
export class ConductorClient extends Context.Service<ConductorClient, {
  /** Starts a run and waits for its answer. */
  readonly run: (request: StartRun & Once) => Effect.Effect<RunView, ClientError>
  /** Starts a run; done as soon as that is durable. The same key starts the same run. */
  readonly start: (request: StartRun & Once) => Effect.Effect<Started, ClientError>
  /** How a run stands. */
  readonly get: (run: RunId) => Effect.Effect<RunView, ClientError>
  /**
   * The events of a run after a sequence number, each once and in order, and what is live between them, until it is over. Where the
   * connection is lost it comes back by itself and goes on where it was.
   */
  readonly watch: (run: RunId, after?: number) => Stream.Stream<RunItem, ClientError>
  /** Waits for the answer of a run. Fails with why it failed, that it was cancelled, or that it waits for a person. */
  readonly waitForCompletion: (run: RunId) => Effect.Effect<RunView, ClientError>
  /** Says something to a run under way. */
  readonly send: (run: RunId, text: string, options?: Once & Pick<typeof Message.Type, "mode">) => Effect.Effect<InboxId, ClientError>
  /** Decides about a tool call that waits for approval; the run that goes on. */
  readonly decide: (approval: string, decision: typeof Decide.Type) => Effect.Effect<RunId, ClientError>
  /** Cancels a run; any number of times. */
  readonly cancel: (run: RunId, reason?: string) => Effect.Effect<void, ClientError>
  /** Everything else that the contract has. */
  readonly api: Groups
}>()("conductor-ai/Client") {
  /** A client over any `HttpClient`. */
  static readonly layer = (options: Options): Layer.Layer<ConductorClient, never, HttpClient.HttpClient> =>
    Layer.provide(Layer.effect(ConductorClient, make(options)), SecureRandom.layerWebCrypto)

  /** A client over `fetch`, as Node and browsers have it. */
  static readonly layerFetch = (options: Options): Layer.Layer<ConductorClient> =>
    Layer.provide(ConductorClient.layer(options), FetchHttpClient.layer)
}
