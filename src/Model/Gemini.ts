import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ModelRef } from "../Run.ts"
import { Catalog } from "./Catalog.ts"
import { failures, refused } from "./Gemini/Failure.ts"
import { body } from "./Gemini/Request.ts"
import { Count, Decoder } from "./Gemini/Response.ts"
import type { Provider, Request } from "./Provider.ts"
import * as Wire from "./Wire.ts"

// request

const post = (access: Wire.Access, request: Request, method: string, sent: object): Omit<Wire.Exchange, "decoder"> => ({
  url: `${access.baseURL}/models/${encodeURIComponent(request.model)}:${method}`,
  headers: { "x-goog-api-key": Redacted.value(access.key) },
  body: sent,
  failures,
  refused: ({ headers, status, text }) => refused(text, { status, headers, bytes: () => bytesOf(sent) })
})

const bytesOf = (sent: object): number => Buffer.byteLength(JSON.stringify(sent), "utf8")

// response

const answer = (sent: object) => (): Wire.Decoder => new Decoder(() => bytesOf(sent))

// stream

const ask = (access: Wire.Access, catalog: Catalog["Service"], request: Request) => {
  const sent = body(request, catalog.find(ModelRef.make(`google:${request.model}`)))
  return Wire.stream(access, { ...post(access, request, "streamGenerateContent?alt=sse", sent), decoder: answer(sent) })
}

/** The tokens of a request, which asks nothing of the model and costs nothing. */
const count = Effect.fnUntraced(function*(access: Wire.Access, catalog: Catalog["Service"], request: Request) {
  const sent = body(request, catalog.find(ModelRef.make(`google:${request.model}`)))
  const counted = new Count()
  const exchange = post(access, request, "countTokens", { generateContentRequest: { model: `models/${request.model}`, ...sent } })
  yield* Stream.runDrain(Wire.stream(access, { ...exchange, decoder: () => counted }))
  return counted.tokens
})

// layer

/**
 * Gemini, over Google's own API. Reads `GEMINI_API_KEY`, or else `GOOGLE_API_KEY`, and `GEMINI_BASE_URL`; without a key
 * every request fails with an `AuthenticationError` that says so. Requests are never repeated here: that is the run's to
 * decide. The version is v1beta, which the documentation and the recorded exchanges are of.
 */
export const provider = Effect.gen(function*(): Effect.fn.Return<Provider, Config.ConfigError, Catalog> {
  const catalog = yield* Catalog
  const read = yield* Wire.access(failures, "https://generativelanguage.googleapis.com/v1beta")
  if (Result.isFailure(read)) return Wire.unavailable(read.failure)
  const access = read.success
  return Object.assign((request: Request) => ask(access, catalog, request), {
    count: (request: Request) => count(access, catalog, request)
  })
})
