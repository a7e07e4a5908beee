import type * as Duration from "effect/Duration"
import type * as AiError from "effect/ai/AiError"
import { isRecord, isText } from "../Json.ts"
import * as Reason from "../Reason.ts"
import type { Refusal } from "../Wire.ts"

/** The failures of OpenRouter. */
export const failures = Reason.failures({
  provider: "openrouter",
  module: "OpenRouter",
  keys: ["OPENROUTER_API_KEY"],
  baseUrl: "OPENROUTER_BASE_URL",
  remedy: "to a key from https://openrouter.ai/settings/keys to use DeepSeek, Qwen, Kimi and others",
  ending: "its finish_reason"
})

/** The statuses that OpenRouter's types of errors stand for where an error within an answer has no code (openrouter.ai/docs, read 2026-11). */
const statusOfType: Readonly<Record<string, number>> = {
  invalid_request: 400,
  context_length_exceeded: 400,
  authentication: 401,
  payment_required: 402,
  permission_denied: 403,
  content_policy_violation: 403,
  refusal: 403,
  not_found: 404,
  timeout: 408,
  payload_too_large: 413,
  rate_limit_exceeded: 429,
  provider_unavailable: 502,
  provider_overloaded: 503
}

const tooLong = /maximum context length|context[ _](length|window)|prompt is too long|input is too long|too many (input )?tokens/i

const longestMessage = 1000

/** An error's own sentence with the one that the model's host said, which OpenRouter passes on beside it. */
const messageOf = (error: Readonly<Record<string, unknown>>, metadata: Readonly<Record<string, unknown>>): string => {
  const message = isText(error["message"]) ? error["message"] : "the request failed without a reason"
  const raw = isText(metadata["raw"]) ? metadata["raw"] : ""
  const host = isText(metadata["provider_name"]) ? `${metadata["provider_name"]}: ` : ""
  return (raw === "" || raw.includes(message) && host === "" ? message : `${message} (${host}${raw})`).slice(0, longestMessage)
}

const field = (value: unknown, key: string): unknown => isRecord(value) ? value[key] : undefined

const codeOf = (value: unknown): number | undefined => {
  const code = typeof value === "string" ? Number(value) : value
  return typeof code === "number" && code >= 400 && code < 600 ? code : undefined
}

/** When to come back: by the header, by the error's own field in seconds, or by the time at which the limit is lifted. */
const waitOf = (error: Readonly<Record<string, unknown>>, refusal: Refusal | undefined): Duration.Duration | undefined => {
  const asked = Reason.retryAfter(refusal?.headers)
  const seconds = field(error["availability"], "retry_after")
  const reset = Number.parseFloat(refusal?.headers.get("x-ratelimit-reset") ?? "")
  return asked ??
    (typeof seconds === "number" ? Reason.waitOf(seconds * 1000) : undefined) ??
    (refusal === undefined ? undefined : Reason.waitOf(reset - refusal.now))
}

/** What the fields of an error mean where its status does not say it. */
const kindOf = (status: number, type: string | undefined, message: string, metadata: Readonly<Record<string, unknown>>, wait: boolean) => {
  if (type === "context_length_exceeded" || ((status === 400 || status === 422) && tooLong.test(message))) return "too long"
  if (type === "content_policy_violation" || type === "refusal") return "policy"
  switch (status) {
    case 402:
      // A purse that is only taken up by requests under way says when to come back.
      return wait ? "limited" : "spent"
    case 403:
      return "reasons" in metadata || "flagged_input" in metadata || /moderation|flagged/i.test(message)
        ? "policy"
        : /(key|spend|credit|total|daily|weekly|monthly) limit|limit exceeded/i.test(message)
        ? "spent"
        : undefined
    case 429:
      return /per[- ]day/i.test(message) ? "spent" : undefined
  }
  return undefined
}

/** An `error` as OpenRouter writes it: in a body without success, or within an answer that has begun. */
export const classify = (error: unknown, requestId: string | undefined, refusal?: Refusal): AiError.AiError => {
  const fields = isRecord(error) ? error : { message: error }
  const metadata = isRecord(fields["metadata"]) ? fields["metadata"] : {}
  const errorType = [metadata["error_type"], fields["type"]].find(isText)
  const errorCode = [metadata["provider_code"], fields["code"]].find(isText)
  const status = refusal?.status ?? codeOf(fields["code"]) ?? statusOfType[errorType ?? ""] ?? statusOfType[errorCode ?? ""] ?? 500
  const retryAfter = waitOf(fields, refusal)
  const told = messageOf(fields, metadata)
  const message = status === 404 ? `${told}. Choose another model, or see https://openrouter.ai/models` : told
  const kind = kindOf(status, errorType ?? errorCode, told, metadata, retryAfter !== undefined)
  return failures.refused({ status, message, kind, retryAfter, requestId, errorType, errorCode })
}

/** An answer without success, whatever its body is. */
export const refused = (refusal: Refusal): AiError.AiError => {
  const requestId = refusal.headers.get("x-generation-id") ?? undefined
  let body: unknown
  try {
    body = JSON.parse(refusal.text)
  } catch {
    body = undefined
  }
  const error = field(body, "error") ?? { message: `status ${refusal.status}: ${refusal.text.slice(0, 200) || "an empty answer"}` }
  return classify(error, requestId, refusal)
}
