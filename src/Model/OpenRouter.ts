import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { ModelRef } from "../Run.ts"
import { Catalog } from "./Catalog.ts"
import { failures, refused } from "./OpenRouter/Failure.ts"
import { body } from "./OpenRouter/Request.ts"
import { Decoder } from "./OpenRouter/Response.ts"
import type { Provider, Request } from "./Provider.ts"
import * as Wire from "./Wire.ts"

// request

const headers = (access: Wire.Access) => ({
  authorization: `Bearer ${Redacted.value(access.key)}`,
  accept: "text/event-stream"
})

// response

const decoder = (headers: Headers) => new Decoder(headers.get("x-generation-id"))

// stream

/** The exchange of one request. */
const exchange = (access: Wire.Access, catalog: Catalog["Service"], request: Request): Wire.Exchange => ({
  url: `${access.baseURL}/chat/completions`,
  headers: headers(access),
  body: body(request, catalog.find(ModelRef.make(`openrouter:${request.model}`))),
  failures,
  refused,
  decoder
})

// layer

/**
 * DeepSeek, Qwen, Kimi and others, over OpenRouter's chat completions. Reads `OPENROUTER_API_KEY` and
 * `OPENROUTER_BASE_URL`; without a key every request fails with an `AuthenticationError` that says so. Requests are never
 * repeated here, nor sent to another model than the one that was asked for: both are the run's to decide.
 */
export const provider = Effect.gen(function*(): Effect.fn.Return<Provider, Config.ConfigError, Catalog> {
  const catalog = yield* Catalog
  const access = yield* Wire.access(failures, "https://openrouter.ai/api/v1")
  if (Result.isFailure(access)) return Wire.unavailable(access.failure)
  return (request) => Wire.stream(access.success, exchange(access.success, catalog, request))
})
