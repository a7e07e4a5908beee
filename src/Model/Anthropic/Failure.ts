import * as Duration from "effect/Duration"
import * as AiError from "effect/ai/AiError"

/** The longest wait that a provider may ask for; a longer one is cut to it. */
const longestRetryAfter = Duration.seconds(60)

/** What there is to read of an error of the SDK, whose classes are not loaded for this. */
interface Facts {
  readonly status: number | undefined
  readonly type: string | undefined
  readonly code: string | undefined
  readonly message: string
  readonly headers: Headers | undefined
  readonly requestId: string | undefined
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

/** An error's sentence with that of the error at the bottom of its causes, which says what a failed connection lacked. */
const sentence = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  let deepest: Error = error
  while (deepest.cause instanceof Error) deepest = deepest.cause
  return deepest === error || deepest.message === "" ? error.message : `${error.message} ${deepest.message}`
}

const facts = (error: unknown): Facts => {
  const fields: Partial<Record<string, unknown>> = typeof error === "object" && error !== null ? { ...error } : {}
  const headers = fields["headers"] instanceof Headers ? fields["headers"] : undefined
  return {
    status: typeof fields["status"] === "number" ? fields["status"] : undefined,
    type: text(fields["type"]),
    code: text(fields["errorCode"]),
    message: text(fields["apiMessage"]) ?? sentence(error),
    headers,
    requestId: text(fields["requestID"]) ?? headers?.get("request-id") ?? undefined
  }
}

/** The statuses that the types of in-stream errors stand for; an answer that has begun has status 200. */
const statusOfType: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529
}

/** Milliseconds or seconds as the headers give them, at most a minute; the form with a date is not used by Anthropic. */
const retryAfter = (headers: Headers | undefined): Duration.Duration | undefined => {
  const milliseconds = Number.parseFloat(headers?.get("retry-after-ms") ?? "")
  const seconds = Number.parseFloat(headers?.get("retry-after") ?? "")
  const wait = milliseconds >= 0 ? Duration.millis(milliseconds) : seconds >= 0 ? Duration.seconds(seconds) : undefined
  return wait === undefined ? undefined : Duration.min(wait, longestRetryAfter)
}

const spent = /spend_limit|billing|credit/

/** Every failure of an exchange with Anthropic as a reason of `effect/ai`, which says whether it may be tried again. */
const reasonOf = (error: unknown, url: string): AiError.AiErrorReason => {
  const { code, headers, message, requestId, status: given, type } = facts(error)
  const status = given ?? (type === undefined ? undefined : statusOfType[type] ?? 500)
  const metadata = {
    anthropic: {
      ...(requestId === undefined ? {} : { requestId }),
      ...(type === undefined ? {} : { errorType: type }),
      ...(code === undefined ? {} : { errorCode: code })
    }
  }
  if (status === undefined) {
    return error instanceof SyntaxError
      ? new AiError.InternalProviderError({ description: `the answer held an event that is not JSON: ${message}`, metadata })
      : new AiError.NetworkError({ reason: "TransportError", method: "POST", url, description: message, cause: error })
  }
  if (status === 402 || (status >= 400 && status < 500 && spent.test(`${code} ${type}`)) || /credit balance/i.test(message)) {
    return new AiError.QuotaExhaustedError({ metadata: { anthropic: { ...metadata.anthropic, description: message } } })
  }
  switch (status) {
    case 401:
      return new AiError.AuthenticationError({ kind: "InvalidKey", description: `${message}. Check ANTHROPIC_API_KEY`, metadata })
    case 403:
      return new AiError.AuthenticationError({ kind: "InsufficientPermissions", description: message, metadata })
    case 429: {
      const wait = retryAfter(headers)
      // A limit that names no time to come back at is one of spending; within a stream there is no such header.
      return wait === undefined && given !== undefined && headers?.get("x-should-retry") !== "true"
        ? new AiError.QuotaExhaustedError({ metadata: { anthropic: { ...metadata.anthropic, description: message } } })
        : new AiError.RateLimitError({
          ...(wait === undefined ? {} : { retryAfter: wait }),
          metadata: { anthropic: { ...metadata.anthropic, description: message } }
        })
    }
    case 408:
    case 409:
      return new AiError.InternalProviderError({ description: message, metadata })
    case 413:
      return new AiError.InvalidRequestError({
        parameter: "messages",
        constraint: "must be at most 32 MB",
        description: message,
        metadata
      })
    default:
      return status >= 500
        ? new AiError.InternalProviderError({ description: message, metadata })
        : new AiError.InvalidRequestError({ description: message, metadata })
  }
}

const make = (reason: AiError.AiErrorReason): AiError.AiError => AiError.make({ module: "Anthropic", method: "stream", reason })

/** What the SDK threw, classified. */
export const classify = (error: unknown, url: string): AiError.AiError => make(reasonOf(error, url))

/** The connection ended before the answer did. */
export const cutOff = (url: string): AiError.AiError =>
  make(new AiError.NetworkError({
    reason: "TransportError",
    method: "POST",
    url,
    description: "the answer ended before its message_stop event"
  }))

/** Nothing came for too long. */
export const silent = (url: string, timeoutMs: number): AiError.AiError =>
  make(new AiError.NetworkError({
    reason: "TransportError",
    method: "POST",
    url,
    description: `nothing came for ${timeoutMs} ms`
  }))

/** There is no key. */
export const missingKey: AiError.AiError = make(
  new AiError.AuthenticationError({
    kind: "MissingKey",
    description: "Set ANTHROPIC_API_KEY to a key from https://platform.claude.com to use Claude"
  })
)

/** The configured address is OpenAI's. */
export const forbiddenUrl = (url: string): AiError.AiError =>
  make(new AiError.InvalidRequestError({
    parameter: "ANTHROPIC_BASE_URL",
    description: `${url} is an address of OpenAI, which Conductor never uses: unset ANTHROPIC_BASE_URL`
  }))
