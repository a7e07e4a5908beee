import type { AttemptError } from "./Event.ts"
import type { ModelRef } from "./Ids.ts"

/** What came of one of a turn's models: its requests, those whose end nobody saw among them, and its last failure. */
export interface Asked {
  readonly model: ModelRef
  readonly attempts: number
  readonly lost: number
  readonly error: AttemptError | null
}

/** Before any model of a turn was asked. */
export const unasked: ReadonlyArray<Asked> = []

/** With one more request to a model, which is the last that was asked or comes after it. */
export const askedAgain = (asked: ReadonlyArray<Asked>, model: ModelRef): ReadonlyArray<Asked> => {
  const last = asked.at(-1)
  return last?.model === model
    ? [...asked.slice(0, -1), { ...last, attempts: last.attempts + 1 }]
    : [...asked, { model, attempts: 1, lost: 0, error: null }]
}

/** With the failure of the request that is the last. */
export const failedLast = (asked: ReadonlyArray<Asked>, error: AttemptError): ReadonlyArray<Asked> => {
  const last = asked.at(-1)
  return last === undefined ? asked : [...asked.slice(0, -1), { ...last, lost: last.lost + (error.reason === "Lost" ? 1 : 0), error }]
}

/** Failures that no repetition mends, whatever their adapter says of them. */
const hopeless = new Set(["AuthenticationError", "QuotaExhaustedError", "ContentPolicyError", "InvalidRequestError", "TurnTimedOut"])

/** Whether the same model may answer when it is asked again. */
export const isRetryable = (error: Pick<AttemptError, "reason" | "retryable">): boolean => error.retryable && !hopeless.has(error.reason)

/** Failures that are not the model's: of the input, of the time that the whole turn has, and of the process. */
const common = new Set(["ContentPolicyError", "InvalidUserInputError", "TurnTimedOut", "Lost"])

/** Whether another model may answer where this failure ended the attempts at one. */
export const mayAnotherDoBetter = (reason: string): boolean => !common.has(reason)

/** The models that come after one in a chain. */
export const modelsAfter = (models: ReadonlyArray<ModelRef>, model: ModelRef): ReadonlyArray<ModelRef> => {
  const index = models.indexOf(model)
  return index === -1 ? [] : models.slice(index + 1)
}

/** The longest pause that a provider may ask for, in milliseconds. */
const longestAsked = 60_000

/** Milliseconds before a model is asked again, after so many attempts: what its provider asked for, up to a minute, else doubling from half a second up to 30 s. */
export const pauseAfter = (attempts: number, askedMs: number | null): number =>
  askedMs === null ? Math.min(30_000, 500 * 2 ** (attempts - 1)) : Math.min(longestAsked, askedMs)

/** The variables that hold the keys of the providers that Conductor brings. */
const keys: Readonly<Record<string, string>> = {
  anthropic: "ANTHROPIC_API_KEY",
  google: "GEMINI_API_KEY",
  openrouter: "OPENROUTER_API_KEY"
}

/** What a person can do about a failure of a model. */
export const remedyOf = (model: string, reason: string): string => {
  const provider = model.slice(0, Math.max(0, model.indexOf(":")))
  const key = Object.hasOwn(keys, provider) ? keys[provider] : undefined
  switch (reason) {
    case "AuthenticationError":
      return key === undefined ? `give the provider "${provider}" a valid key.` : `set ${key} to a valid key.`
    case "QuotaExhaustedError":
      return `raise the spend limit of the account with the provider "${provider}", or add credit to it.`
    case "RateLimitError":
      return `try again later, raise the rate limit of the account with the provider "${provider}", or name more models with Model.fallback.`
    case "NetworkError":
    case "InternalProviderError":
    case "InvalidResponseError":
    case "ProviderUnavailable":
      return "try again later, or name more models with Model.fallback."
    case "FirstTokenTimedOut":
      return "raise limits.firstToken of the agent, or name a faster model."
    case "StreamStalled":
      return "raise limits.streamIdle of the agent, or try again."
    case "ContentPolicyError":
      return "change what the model is asked or told."
    case "ForbiddenModel":
      return "name another model."
    case "InvalidRequestError":
      return "change the request as the provider says (a shorter conversation, another tool or schema), or name another model."
    default:
      return "try again, or name another model."
  }
}
