import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { unhandled } from "effect/Types"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { Api, BadRequest, MethodNotAllowed, NotFound, UnsupportedMediaType } from "../Api.ts"
import { answering, answerOf } from "./Answer.ts"
import { makeCors, Origins } from "./Cors.ts"
import { CurrentRequest, type Request } from "./Request.ts"

/** The paths of the contract, and the methods of each. */
const paths = (() => {
  const methods = new Map<string, Array<string>>()
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      methods.set(endpoint.path, [...methods.get(endpoint.path) ?? [], endpoint.method])
    }
  })
  return [...methods].map(([path, allowed]) => ({ pattern: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}/?$`), allowed }))
})()

const pathOf = (url: string): string => url.split(/[?#]/, 1)[0] ?? url

const methodsOf = (path: string) => paths.find(({ pattern }) => pattern.test(path))?.allowed

/** What there is to say where no endpoint takes a request. */
const missing = (request: HttpServerRequest.HttpServerRequest) => {
  const allowed = methodsOf(pathOf(request.url))
  return answerOf(allowed === undefined ? new NotFound({ what: "such path" }) : new MethodNotAllowed({ allowed }))
}

/** What there is to say to a path or a query with a character that nothing can store. */
const unstorable = answerOf(new BadRequest({ problems: [{ path: ["url"], message: "it has a NUL character in it" }] }))

const isWord = /^[\w.:-]{1,64}$/

/** Bodies of the framework's own that say nothing of ours. */
const inOurWords = (response: HttpServerResponse.HttpServerResponse) =>
  response.status === 415 ? answerOf(new UnsupportedMediaType()) : response

/** What a response says of itself: nobody on the way keeps it, or takes it for something else. */
const careful = { "cache-control": "no-store", "x-content-type-options": "nosniff" }

/**
 * What every request goes through: it has an id, which its sender may give; whatever comes of it is answered in one shape; and it is
 * one line in the log.
 */
export const makeDoor = Effect.gen(function*() {
  const random = yield* SecureRandom.SecureRandom
  const cors = makeCors(yield* Origins)
  // It leaves no error; the router wants a middleware's type to say that it passes them on.
  return (handled: Effect.Effect<HttpServerResponse.HttpServerResponse, unhandled>): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    unhandled,
    HttpServerRequest.HttpServerRequest
  > =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const given = request.headers["x-request-id"]
      const id = given !== undefined && isWord.test(given) ? given : yield* random.uuidV7()
      const path = pathOf(request.url)
      const about: Request["about"] = {}
      const before = yield* Clock.currentTimeMillis
      const early = /%00/.test(request.url) ? unstorable : cors.preflight(request, methodsOf(path) ?? [])
      const response = early ?? (yield* handled.pipe(
        Effect.catchIf(
          (error) => HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound",
          () => Effect.succeed(missing(request))
        ),
        answering,
        Effect.map(inOurWords),
        Effect.provideService(CurrentRequest, { id, about }),
        Effect.annotateLogs({ request: id })
      ))
      const ms = (yield* Clock.currentTimeMillis) - before
      yield* Effect.annotateLogs(Effect.logInfo("Answered"), { request: id, ...about, method: request.method, path, status: response.status, ms })
      return HttpServerResponse.setHeaders(response, { ...careful, ...response.headers, ...cors.headers(request), "x-request-id": id })
    })
})
