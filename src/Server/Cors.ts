import * as Context from "effect/Context"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

/**
 * Origins whose pages may use the server, written with their scheme and port; none by default. Only keys let anybody in, so that no page is
 * ever given what a browser adds by itself.
 */
export const Origins = Context.Reference<ReadonlyArray<string>>("conductor-ai/Server/Origins", { defaultValue: () => [] })

/** What is wrong with an origin as somebody wrote it, if anything. */
export const originProblem = (text: string): string | undefined => {
  if (text === "*") return "every origin at once is not allowed: name each one"
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) return "it is not like https://example.com"
  return url.origin === text ? undefined : `an origin has no path and no default port: write ${url.origin}`
}

/** Headers of ours that a page may send, and those that it may read. */
const sent = "authorization, content-type, idempotency-key, last-event-id, x-request-id"
const read = "retry-after, x-request-id"

/** Seconds for which a browser need not ask again. */
const remembered = 600

/** How the server answers pages of other origins. */
export const makeCors = (origins: ReadonlyArray<string>) => {
  const isAllowed = (request: HttpServerRequest.HttpServerRequest) => origins.includes(request.headers["origin"] ?? "")
  return {
    /** The answer to a browser that asks whether a page may make a request; nothing where it is another request, or the page may not. */
    preflight: (request: HttpServerRequest.HttpServerRequest, methods: ReadonlyArray<string>) =>
      request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined && isAllowed(request)
        ? HttpServerResponse.empty({
          status: 204,
          headers: {
            "access-control-allow-methods": methods.join(", "),
            "access-control-allow-headers": sent,
            "access-control-max-age": String(remembered)
          }
        })
        : undefined,
    /** What a response says to the page that made the request. */
    headers: (request: HttpServerRequest.HttpServerRequest): Readonly<Record<string, string>> => {
      if (origins.length === 0) return {}
      return isAllowed(request)
        ? { vary: "Origin", "access-control-allow-origin": request.headers["origin"] ?? "", "access-control-expose-headers": read }
        : { vary: "Origin" }
    }
  }
}
