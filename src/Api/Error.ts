import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"
import { ApprovalError } from "../Approval/Error.ts"
import { MemoryInvalid, MemoryNotFound } from "../Memory/Error.ts"
import { KeyInvalid, KeyNotFound, KeyRefused, RateLimited } from "../Org/Error.ts"
import { RunError, ShuttingDown, StorageFailed } from "../Run.ts"

/** One thing that is wrong with a request, and where: `["payload", "limits", "turns"]`. */
export const Problem = Schema.Struct({
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  message: Schema.String
})
export type Problem = typeof Problem.Type

const where = ({ message, path }: Problem): string => `${path.join(".")}: ${message}`

/** The request is not of the shape that the endpoint takes. */
export class BadRequest extends Schema.TaggedError<BadRequest>()("BadRequest", { problems: Schema.Array(Problem) }) {
  override get message() {
    return `The request cannot be used: ${this.problems.map(where).join("; ")}`
  }
}

/** The request carries no key. */
export class KeyMissing extends Schema.TaggedError<KeyMissing>()("KeyMissing", {}) {
  override get message() {
    return `This needs an API key: send it as the header "Authorization: Bearer ck_…".`
  }
}

/** The key is good, and not for this. */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", { scope: Schema.String }) {
  override get message() {
    return `The API key lacks the scope "${this.scope}": use one that has it.`
  }
}

const reopen = "run conductor dashboard where the server runs, and open the link that it prints"

const entrances = {
  ticket: "This link was used before, is older than ten minutes, or is not of this server",
  cookie: "This browser is not signed in, or the server was started anew since"
} as const

/** A browser that nobody let in, or not any more. */
export class SignedOut extends Schema.TaggedError<SignedOut>()("SignedOut", { reason: Schema.Literals(["ticket", "cookie"]) }) {
  override get message() {
    return `${entrances[this.reason]}: ${reopen}.`
  }
}

/** A browser sent it for a page that is not the server's own. */
export class ForeignOrigin extends Schema.TaggedError<ForeignOrigin>()("ForeignOrigin", {}) {
  override get message() {
    return "This was sent from another page than the server's own: open /dashboard of this server and do it there."
  }
}

/** There is nothing under that path, or nothing that this key may see. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { what: Schema.String }) {
  override get message() {
    return `There is no ${this.what} here; /openapi.json lists all that there is.`
  }
}

/** The path takes other methods. */
export class MethodNotAllowed extends Schema.TaggedError<MethodNotAllowed>()("MethodNotAllowed", {
  allowed: Schema.Array(Schema.String)
}) {
  override get message() {
    return `This path takes ${this.allowed.join(" or ")} only.`
  }
}

/** The request did not come in time. */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()("RequestTimeout", { limitMs: Schema.Int }) {
  override get message() {
    return `The request did not come within ${this.limitMs} ms: send it faster, or make it smaller.`
  }
}

/** The body is larger than what is taken. */
export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", { limitBytes: Schema.Int }) {
  override get message() {
    return `The body is larger than ${this.limitBytes} bytes: put long material where a tool of the agent can read it.`
  }
}

/** The headers are larger than what is taken. */
export class HeadersTooLarge extends Schema.TaggedError<HeadersTooLarge>()("HeadersTooLarge", {}) {
  override get message() {
    return "The headers are larger than what is taken here: send fewer or shorter ones."
  }
}

/** The body is not of a type that the endpoint takes. */
export class UnsupportedMediaType extends Schema.TaggedError<UnsupportedMediaType>()("UnsupportedMediaType", {}) {
  override get message() {
    return "The body has to be JSON in UTF-8: send it with the header \"Content-Type: application/json\"."
  }
}

/** The key of a request was used for another request before. */
export class IdempotencyKeyReused extends Schema.TaggedError<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  key: Schema.String
}) {
  override get message() {
    return `The idempotency key "${this.key}" was used for another request: each request needs its own.`
  }
}

/** The server broke; its log says more under the id of the request. */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", { request: Schema.String }) {
  override get message() {
    return `The server failed while it answered; its log says why under request ${this.request}.`
  }
}

/** Everything that a request can fail with, closed: the body of every response that is no success. */
export const ApiError = Schema.Union([
  BadRequest, KeyMissing, KeyRefused, SignedOut, Forbidden, ForeignOrigin, NotFound, MethodNotAllowed, RequestTimeout, PayloadTooLarge, HeadersTooLarge,
  UnsupportedMediaType, IdempotencyKeyReused, RateLimited, ServerError, KeyInvalid, KeyNotFound, MemoryInvalid, MemoryNotFound, ...RunError.members,
  ...ApprovalError.members
])
export type ApiError = typeof ApiError.Type

/** The HTTP status of each error. How a run ended is in its body; where it is a request that fails so, it could not be carried out. */
export const statuses: { readonly [Tag in ApiError["_tag"]]: number } = {
  BadRequest: 400,
  KeyMissing: 401,
  KeyRefused: 401,
  SignedOut: 401,
  Forbidden: 403,
  ForeignOrigin: 403,
  NotFound: 404,
  RunNotFound: 404,
  ApprovalNotFound: 404,
  KeyNotFound: 404,
  MemoryNotFound: 404,
  MethodNotAllowed: 405,
  RequestTimeout: 408,
  RunConflict: 409,
  RunWaiting: 409,
  Cancelled: 409,
  ApprovalExpired: 409,
  ApprovalAlreadyDecided: 409,
  ApprovalReplayed: 409,
  ApprovalChanged: 409,
  PayloadTooLarge: 413,
  UnsupportedMediaType: 415,
  AgentNotRegistered: 422,
  InvalidInput: 422,
  ForbiddenModel: 422,
  UnknownModel: 422,
  ApprovalUnfit: 422,
  KeyInvalid: 422,
  MemoryInvalid: 422,
  IdempotencyKeyReused: 422,
  ModelFailed: 422,
  ModelRefused: 422,
  ContextTooLong: 422,
  OutputTruncated: 422,
  InvalidOutput: 422,
  LimitExceeded: 422,
  RunTimedOut: 422,
  TurnTimedOut: 422,
  FirstTokenTimedOut: 422,
  StreamStalled: 422,
  ToolTimedOut: 422,
  BudgetExceeded: 422,
  UnpricedModel: 422,
  ToolFailed: 422,
  DefinitionChanged: 422,
  InternalError: 422,
  RateLimited: 429,
  HeadersTooLarge: 431,
  ServerError: 500,
  ShuttingDown: 503,
  StorageFailed: 503,
  Fenced: 503
}

/** The error as an endpoint declares it, with its status. */
export const told = <S extends Schema.Top & { readonly identifier: string }>(error: S): S["Rebuild"] =>
  error.pipe(HttpApiSchema.status(statuses[error.identifier as ApiError["_tag"]])) // the identifier of a tagged error is its tag

/** What any request with a key, or with the cookie of the dashboard, can fail with, beside what its endpoint says. */
export const common = [
  BadRequest, KeyMissing, KeyRefused, SignedOut, Forbidden, ForeignOrigin, RequestTimeout, PayloadTooLarge, UnsupportedMediaType, RateLimited, ServerError, StorageFailed, ShuttingDown
].map(told)
