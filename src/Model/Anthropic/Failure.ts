import type * as AiError from "effect/ai/AiError"
import { isRecord, isText } from "../Json.ts"
import * as Reason from "../Reason.ts"

/** The failures of Anthropic. */
export const failures = Reason.failures({
  provider: "anthropic",
  module: "Anthropic",
  keys: ["ANTHROPIC_API_KEY"],
  baseUrl: "ANTHROPIC_BASE_URL",
  remedy: "to a key from https://platform.claude.com to use Claude",
  ending: "its message_stop event"
})

/** What there is to read of an error of the SDK, whose classes are not loaded for this. */
interface Facts {
  readonly status: number | undefined
  readonly type: string | undefined
  readonly code: string | undefined
  readonly message: string
  readonly headers: Headers | undefined
  readonly requestId: string | undefined
}

const text = (value: unknown): string | undefined => isText(value) ? value : undefined

const facts = (error: unknown): Facts => {
  const fields: Partial<Record<string, unknown>> = typeof error === "object" && error !== null ? { ...error } : {}
  const headers = fields["headers"] instanceof Headers ? fields["headers"] : undefined
  return {
    status: typeof fields["status"] === "number" ? fields["status"] : undefined,
    type: text(fields["type"]),
    code: text(fields["errorCode"]),
    message: text(fields["apiMessage"]) ?? Reason.sentence(error),
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

const spent = /spend_limit|billing|credit/

const refused = ({ code, headers, message, requestId, status: given, type }: Facts): AiError.AiError => {
  const status = given ?? statusOfType[type ?? ""] ?? 500
  const retryAfter = Reason.retryAfter(headers)
  const isSpent = (status >= 400 && status < 500 && spent.test(`${code} ${type}`)) || /credit balance/i.test(message) ||
    // A limit that names no time to come back at is one of spending; within a stream there is no such header.
    (given === 429 && retryAfter === undefined && headers?.get("x-should-retry") !== "true")
  const kind = isSpent ? "spent" : status === 400 && /prompt is too long|context (window|limit)/i.test(message) ? "too long" : undefined
  return failures.refused({ status, message, kind, retryAfter, requestId, errorType: type, errorCode: code })
}

/** What the SDK threw, classified. */
export const classify = (error: unknown, url: string): AiError.AiError => {
  const known = facts(error)
  return known.status === undefined && known.type === undefined ? failures.network(url, error) : refused(known)
}

/** The `error` of an event within an answer. */
export const within = (error: unknown, requestId: string | undefined): AiError.AiError => {
  const fields = isRecord(error) ? error : {}
  const details = isRecord(fields["details"]) ? fields["details"] : {}
  return refused({
    status: undefined,
    type: text(fields["type"]),
    code: text(details["error_code"]),
    message: text(fields["message"]) ?? "the answer failed without a reason",
    headers: undefined,
    requestId
  })
}
