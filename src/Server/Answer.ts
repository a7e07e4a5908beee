import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { ApiError, BadRequest, PayloadTooLarge, ServerError, statuses } from "../Api.ts"
import { StorageFailed } from "../Run.ts"
import { Limits } from "./Limits.ts"
import { CurrentRequest } from "./Request.ts"

const isApiError = Schema.is(ApiError)
const encode = Schema.encodeUnknownSync(Schema.toCodecJson(ApiError))

/** The error as the outside may know it: nothing of the database. */
const outward = (error: ApiError): ApiError =>
  error._tag === "StorageFailed" ? new StorageFailed({ operation: error.operation, problem: "it does not answer now; try again." }) : error

/** Seconds after which the same request may do better. */
const retryAfter = (error: ApiError): number | undefined => {
  switch (error._tag) {
    case "RateLimited":
      return Math.max(1, Math.ceil(error.retryAfterMs / 1000))
    case "ShuttingDown":
      return 5
    case "StorageFailed":
    case "Fenced":
      return 1
    default:
      return undefined
  }
}

/** An error as the body of a response, with its status. */
export const encoded = (error: ApiError): { readonly status: number; readonly body: string } => {
  // Every member encodes to an object.
  const body = { ...encode(error) as object, message: error.message }
  return { status: statuses[error._tag], body: JSON.stringify(body) }
}

/** The response that says an error. */
export const answerOf = (error: ApiError): HttpServerResponse.HttpServerResponse => {
  const told = outward(error)
  const seconds = retryAfter(told)
  const headers: Record<string, string> = seconds === undefined ? {} : { "retry-after": String(seconds) }
  if (told._tag === "KeyMissing" || told._tag === "KeyRefused") headers["www-authenticate"] = "Bearer"
  // What is left of it may come at any time.
  if (told._tag === "RequestTimeout") headers["connection"] = "close"
  if (told._tag === "MethodNotAllowed") headers["allow"] = told.allowed.join(", ")
  const { body, status } = encoded(told)
  return HttpServerResponse.text(body, { status, headers, contentType: "application/json" })
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const segment = (key: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const name = typeof key === "object" ? key.key : key
  return typeof name === "number" ? name : String(name)
}

/** What is wrong with a value that did not fit its schema, and where; `from` names the part of the request. */
export const problemsOf = (from: ReadonlyArray<string>, { issue }: Schema.SchemaError): BadRequest =>
  new BadRequest({
    problems: format(issue).issues.slice(0, 50).map(({ message, path = [] }) => ({
      path: [...from, ...path.map(segment)].slice(0, 50),
      message: message.slice(0, 500)
    }))
  })

/** The error that a cause comes to; what nobody expected is in the log under the request's id. */
const errorOf = Effect.fnUntraced(function*(cause: Cause.Cause<unknown>) {
  const { bodyBytes } = yield* Limits
  const broken = Effect.gen(function*() {
    const { id } = yield* CurrentRequest
    yield* Effect.logError("A request broke", cause)
    return new ServerError({ request: id })
  })
  for (const reason of cause.reasons) {
    const thrown = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    if (isApiError(thrown)) {
      if (thrown._tag === "StorageFailed") yield* Effect.logWarning("A request failed on the database", cause)
      return thrown
    }
    if (HttpApiSchemaError.is(thrown)) {
      if (thrown.kind === "Body" || thrown.kind === "ResponseHeaders") return yield* broken
      return problemsOf([thrown.kind.toLowerCase()], thrown.cause)
    }
    if (HttpServerError.isHttpServerError(thrown) && thrown.reason._tag === "RequestParseError") {
      return thrown.reason.reason === "BodyTooLarge"
        ? new PayloadTooLarge({ limitBytes: bodyBytes })
        : new BadRequest({ problems: [{ path: ["payload"], message: "it could not be read" }] })
    }
  }
  return yield* broken
})

/** Answers failures and defects with what they come to; interruption goes through. */
export const answering = <E, R>(effect: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.catchCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause as Cause.Cause<never>) // interruption alone has no error
      : Effect.map(errorOf(cause), answerOf))
