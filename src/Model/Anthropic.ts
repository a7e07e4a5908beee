import type { Anthropic as Client } from "@anthropic-ai/sdk/client"
import type { Middleware } from "@anthropic-ai/sdk"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
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

/** Keeps the headers to those that are ours to send. */
const middleware: Array<Middleware> = [(request, next) => {
  for (const name of Array.from(request.headers.keys(), String)) if (!sent.test(name)) request.headers.delete(name)
  return next(request)
}]

// response

const decoder = (headers: Headers) => new Decoder(headers.get("request-id"))

// stream

/** One exchange, opened by the SDK and read as those of the other providers are: the SDK itself reads an event at a time, slowly. */
const exchange = Effect.fnUntraced(function*(client: Client, catalog: Catalog["Service"], request: Request) {
  const url = `${client.baseURL}/v1/messages`
  const watch = yield* Idle.watch
  const sent = body(request, catalog.find(ModelRef.make(`anthropic:${request.model}`)))
  const response = yield* Effect.tryPromise({
    try: () => watch.waitFor(() => client.messages.create(sent, { signal: watch.signal, middleware }).asResponse()),
    catch: (error) => watch.expired() ? failures.silent(url, watch.timeoutMs) : classify(error, url)
  })
  return Wire.parts(response, watch, { url, failures, decoder: decoder(response.headers) })
})

/** The tokens of a request, which asks nothing of the model and costs nothing. */
const count = Effect.fnUntraced(function*(client: Client, catalog: Catalog["Service"], request: Request) {
  const url = `${client.baseURL}/v1/messages/count_tokens`
  const watch = yield* Idle.watch
  const sent = countBody(request, catalog.find(ModelRef.make(`anthropic:${request.model}`)))
  const { input_tokens } = yield* Effect.tryPromise({
    try: () => watch.waitFor(() => client.messages.countTokens(sent, { signal: watch.signal, middleware })),
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
