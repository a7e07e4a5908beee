import type { Anthropic as Client } from "@anthropic-ai/sdk/client"
import type { Middleware } from "@anthropic-ai/sdk"
import * as Cause from "effect/Cause"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { ModelRef } from "../Run.ts"
import { classify, failures } from "./Anthropic/Failure.ts"
import { body, countBody } from "./Anthropic/Request.ts"
import { Decoder } from "./Anthropic/Response.ts"
import { Catalog } from "./Catalog.ts"
import * as Idle from "./Idle.ts"
import { isCount } from "./Json.ts"
import type { Provider, Request } from "./Provider.ts"
import * as Wire from "./Wire.ts"

// request

const silence = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} }

/** The headers that go out; others could only come from variables that the SDK reads behind our back. */
const sent = /^(authorization|content-type|content-length|accept|user-agent|anthropic-version|x-stainless-.*)$/

/** The SDK, loaded when the first request is made because loading it takes a quarter of a second. */
const connect = async (access: Wire.Access): Promise<Client> => {
  const { Anthropic } = await import("@anthropic-ai/sdk/client")
  return new Anthropic({
    apiKey: Redacted.value(access.key),
    authToken: null,
    webhookKey: null,
    baseURL: access.baseURL,
    fetch: access.fetch,
    maxRetries: 0,
    openTelemetry: false,
    logger: silence,
    logLevel: "off"
  })
}

// response

/** Keeps the headers to those that are ours to send, and sees the bytes that come back. */
const observe = (watch: Idle.Watch): Middleware => async (request, next) => {
  for (const name of Array.from(request.headers.keys(), String)) if (!sent.test(name)) request.headers.delete(name)
  return watch.through(await next(request))
}

// stream

type Parts = readonly [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>]

const isParts = (parts: ReadonlyArray<Response.StreamPartEncoded>): parts is Parts => parts.length > 0

/** One exchange: opened, watched, and closed by abort when the reader leaves or the answer is complete. */
const exchange = Effect.fnUntraced(function*(client: Client, catalog: Catalog["Service"], request: Request) {
  const url = `${client.baseURL}/v1/messages`
  const watch = yield* Idle.watch
  const failure = (error: unknown): AiError.AiError =>
    watch.expired() ? failures.silent(url, watch.timeoutMs) : classify(error, url)
  const entry = catalog.find(ModelRef.make(`anthropic:${request.model}`))
  const { data, request_id } = yield* Effect.tryPromise({
    try: () =>
      watch.waitFor(() =>
        client.messages.create(body(request, entry), { signal: watch.signal, middleware: [observe(watch)] }).withResponse()
      ),
    catch: failure
  })
  const events = data[Symbol.asyncIterator]()
  const decoder = new Decoder(request_id ?? null)

  /** The parts of the next event that has some; nothing at the end of the bytes. */
  const next = async (): Promise<Parts | undefined> => {
    while (true) {
      const event = await watch.waitFor(() => events.next())
      if (event.done === true) return undefined
      const parts = decoder.decode(event.value)
      if (isParts(parts)) return parts
    }
  }
  const read = Effect.tryPromise({ try: next, catch: failure })

  const pull: Pull.Pull<Parts, AiError.AiError> = Effect.gen(function*() {
    if (decoder.finished) return yield* Cause.done()
    const parts = yield* read
    if (parts !== undefined) return parts
    return yield* (watch.expired() ? failures.silent(url, watch.timeoutMs) : failures.cutOff(url))
  })
  return Stream.fromPull(Effect.succeed(pull))
})

/** The tokens of a request, which asks nothing of the model and costs nothing. */
const count = Effect.fnUntraced(function*(client: Client, catalog: Catalog["Service"], request: Request) {
  const url = `${client.baseURL}/v1/messages/count_tokens`
  const watch = yield* Idle.watch
  const sent = countBody(request, catalog.find(ModelRef.make(`anthropic:${request.model}`)))
  const { input_tokens } = yield* Effect.tryPromise({
    try: () => watch.waitFor(() => client.messages.countTokens(sent, { signal: watch.signal, middleware: [observe(watch)] })),
    catch: (error) => watch.expired() ? failures.silent(url, watch.timeoutMs) : classify(error, url)
  })
  return isCount(input_tokens) ? input_tokens : yield* failures.malformed("the count of tokens is no count")
}, Effect.scoped)

// layer

/**
 * Claude, over the Messages API. Reads `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`; without a key every request fails
 * with an `AuthenticationError` that says so. Requests are never repeated here: that is the run's to decide.
 */
export const provider = Effect.gen(function*(): Effect.fn.Return<Provider, Config.ConfigError, Catalog> {
  const catalog = yield* Catalog
  const access = yield* Wire.access(failures, "https://api.anthropic.com")
  if (Result.isFailure(access)) return Wire.unavailable(access.failure)
  let client: Promise<Client> | undefined
  const connected = Effect.promise(() => client ??= connect(access.success))
  return Object.assign(
    (request: Request) => Stream.unwrap(Effect.flatMap(connected, (client) => exchange(client, catalog, request))),
    { count: (request: Request) => Effect.flatMap(connected, (client) => count(client, catalog, request)) }
  )
})
