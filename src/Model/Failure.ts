import * as Duration from "effect/Duration"
import type * as AiError from "effect/ai/AiError"

/** A failed attempt as the log keeps it, with the id under which the provider knows it. */
export interface Failure {
  readonly reason: string
  readonly message: string
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  readonly requestId: string | null
  /** True where the request cannot have reached the provider, so that it cost nothing. */
  readonly unsent: boolean
  /** True where the conversation is too long for the model. */
  readonly tooLong?: boolean
}

/** Codes of Node for a connection that was never there. */
const neverConnected = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"])

const isUnsent = (error: unknown): boolean =>
  typeof error === "object" && error !== null &&
  (("code" in error && typeof error.code === "string" && neverConnected.has(error.code)) ||
    ("cause" in error && error.cause !== error && isUnsent(error.cause)) ||
    (error instanceof AggregateError && error.errors.length > 0 && error.errors.every(isUnsent)))

const inMetadata = (reason: AiError.AiErrorReason, key: string): string | null => {
  const metadata = "metadata" in reason ? reason.metadata : {}
  for (const values of Object.values(metadata)) {
    if (typeof values === "object" && values !== null && key in values) {
      const value: unknown = Reflect.get(values, key)
      if (typeof value === "string") return value
    }
  }
  return null
}

/** What a provider's failure means for the attempt: its class, a sentence, and whether and when to try again. */
export const describe = (error: AiError.AiError): Failure => {
  const description = inMetadata(error.reason, "description")
  const sentence = description === null ? error.reason.message : `${error.reason.message} ${description}`
  const wait = error.reason._tag === "RateLimitError" ? error.reason.retryAfter : undefined
  const later = inMetadata(error.reason, "retryAfterMs")
  return {
    reason: error.reason._tag,
    message: sentence.replace(/\s*\n\s*/g, " "),
    retryable: error.isRetryable,
    retryAfterMs: wait !== undefined ? Math.ceil(Duration.toMillis(wait)) : later === null ? null : Number(later),
    requestId: inMetadata(error.reason, "requestId"),
    unsent: error.reason._tag === "NetworkError" && isUnsent(error.reason),
    ...(error.reason._tag === "InvalidRequestError" && error.reason.parameter === "messages" ? { tooLong: true } : {})
  }
}
