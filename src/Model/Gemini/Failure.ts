import type * as AiError from "effect/ai/AiError"
import { isRecord, isText } from "../Json.ts"
import * as Reason from "../Reason.ts"

/** The failures of Gemini. */
export const failures = Reason.failures({
  provider: "google",
  module: "Gemini",
  keys: ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
  baseUrl: "GEMINI_BASE_URL",
  remedy: "to a key from https://aistudio.google.com/apikey to use Gemini",
  ending: "its finishReason"
})

type Fields = Readonly<Record<string, unknown>>

const fieldsOf = (value: unknown): Fields => isRecord(value) ? value : {}

const listOf = (value: unknown): ReadonlyArray<Fields> => Array.isArray(value) ? value.map(fieldsOf) : []

const text = (value: unknown): string | undefined => isText(value) ? value : undefined

/** The statuses that the names of errors stand for, where a code is missing. */
const statusOfName: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  CANCELLED: 499,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504
}

/** Details of one kind, by the end of their type's name. */
const detailsOf = (error: Fields, type: string): ReadonlyArray<Fields> =>
  listOf(error["details"]).filter((detail) => text(detail["@type"])?.endsWith(`.${type}`) === true)

/** Whether a limit is one of tokens per minute that a request of so many bytes is over by itself; a token is about four. */
const isAlone = (violation: Fields, bytes: number): boolean =>
  /input_token/.test(String(violation["quotaMetric"])) && /PerMinute/.test(String(violation["quotaId"])) &&
  bytes / 4 >= Number.parseInt(String(violation["quotaValue"]), 10)

/**
 * What is wrong where the status does not say it. A limit of a day, or of nothing at all, is one that waiting for the
 * next attempt does not help with; every message about quota speaks of billing, so that the words tell nothing.
 */
const kindOf = (status: number, error: Fields, message: string, bytes: () => number) => {
  if (status === 429) {
    const violations = detailsOf(error, "QuotaFailure").flatMap((detail) => listOf(detail["violations"]))
    if (violations.some((one) => isAlone(one, bytes()))) return "too long"
    return violations.some((one) => /PerDay/.test(String(one["quotaId"])) || one["quotaValue"] === "0") || /credits? (are |is )?(depleted|exhausted)/i.test(message)
      ? "spent"
      : "limited"
  }
  if (status !== 400) return undefined
  if (/token count.*exceeds|exceeds the maximum number of (input )?tokens/i.test(message)) return "too long"
  return error["status"] === "FAILED_PRECONDITION" && /billing/i.test(message) ? "spent" : undefined
}

/** Gemini's answer to a key that it does not know has status 400. */
const isBadKey = (error: Fields, message: string): boolean =>
  detailsOf(error, "ErrorInfo").some((detail) => detail["reason"] === "API_KEY_INVALID") || /API key (not valid|expired)/i.test(message)

const secondsOf = (duration: unknown): number => Number.parseFloat(/^([\d.]+)s$/.exec(String(duration))?.[1] ?? "")

/** What is known of a failed request besides the error itself. */
export interface Around {
  /** The answer's status; 200 where the error came within an answer. */
  readonly status: number
  readonly headers?: Headers
  readonly requestId?: string | undefined
  /** UTF-8 bytes of the request. */
  readonly bytes: () => number
}

/** An error as Google writes it (`{ code, message, status, details }`), classified. */
export const classify = (value: unknown, around: Around): AiError.AiError => {
  const error = fieldsOf(value)
  const name = text(error["status"])
  const code = typeof error["code"] === "number" ? error["code"] : undefined
  const given = around.status === 200 ? code ?? (name === undefined ? undefined : statusOfName[name]) ?? 500 : around.status
  const message = text(error["message"]) ?? `Gemini answered with status ${given}`
  const status = given === 400 && isBadKey(error, message) ? 401 : given
  const [retry] = detailsOf(error, "RetryInfo")
  return failures.refused({
    status,
    message,
    kind: kindOf(status, error, message, around.bytes),
    retryAfter: Reason.waitOf(secondsOf(retry?.["retryDelay"]) * 1000) ?? Reason.retryAfter(around.headers),
    requestId: around.requestId,
    errorType: name
  })
}

/** An answer without success, whatever its body is. */
export const refused = (body: string, around: Around): AiError.AiError => {
  const parsed = (): unknown => {
    try {
      return JSON.parse(body)
    } catch {
      return undefined
    }
  }
  const value = parsed()
  const document = fieldsOf(Array.isArray(value) ? value[0] : value)
  return classify(document["error"] ?? { message: text(body.slice(0, 500)) }, around)
}
