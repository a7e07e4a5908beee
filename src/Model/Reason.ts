import * as Duration from "effect/Duration"
import * as AiError from "effect/ai/AiError"

/** What the failures of one provider name. */
export interface Names {
  /** The provider's name in references, under which metadata is kept. */
  readonly provider: string
  /** The module that an `AiError` names. */
  readonly module: string
  /** The variables of the key; the first that is set counts. */
  readonly keys: readonly [string, ...Array<string>]
  /** The variable of the address. */
  readonly baseUrl: string
  /** What to do without a key, after its variable: "to a key from … to use …". */
  readonly remedy: string
  /** How the answer should have ended, after "the answer ended before". */
  readonly ending: string
}

/** What is known of a request that was refused, or that failed within its answer. */
export interface Facts {
  /** The answer's status, or that which an error within an answer stands for. */
  readonly status: number
  readonly message: string
  /** Where the status does not say it: no money, too fast, not allowed to be said, more than the model reads. */
  readonly kind?: "spent" | "limited" | "policy" | "too long" | undefined
  readonly retryAfter?: Duration.Duration | undefined
  readonly requestId?: string | undefined
  readonly errorType?: string | undefined
  readonly errorCode?: string | undefined
}

/** The failures of one provider, as reasons of `effect/ai`, which say whether a request may be tried again. */
export interface Failures {
  readonly names: Names
  readonly make: (reason: AiError.AiErrorReason) => AiError.AiError
  /** What the provider itself said. */
  readonly refused: (facts: Facts) => AiError.AiError
  /** What went wrong on the way, with the sentence at the bottom of its causes. */
  readonly network: (url: string, error: unknown) => AiError.AiError
  /** The connection ended before the answer did. */
  readonly cutOff: (url: string) => AiError.AiError
  /** Nothing came for too long. */
  readonly silent: (url: string, timeoutMs: number) => AiError.AiError
  /** The answer is not what the provider's format allows. */
  readonly malformed: (problem: string, requestId?: string) => AiError.AiError
  readonly missingKey: AiError.AiError
  readonly unusableKey: (variable: string) => AiError.AiError
  readonly unusableUrl: (url: string) => AiError.AiError
  /** The address answers with another one, to which the key is not sent. */
  readonly redirected: (url: string, to: string | null) => AiError.AiError
  /** The configured address is OpenAI's. */
  readonly forbiddenUrl: (url: string) => AiError.AiError
}

/** The longest wait that a provider may ask for; a longer one is cut to it. */
export const longestRetryAfter = Duration.seconds(60)

/** A wait in milliseconds, not below nothing and at most a minute; none where it is no number. */
export const waitOf = (milliseconds: number): Duration.Duration | undefined =>
  milliseconds >= 0 ? Duration.min(Duration.millis(milliseconds), longestRetryAfter) : undefined

/** The wait that the headers of an answer ask for, in milliseconds or seconds; the form with a date is not read. */
export const retryAfter = (headers: Headers | undefined): Duration.Duration | undefined =>
  waitOf(Number.parseFloat(headers?.get("retry-after-ms") ?? "")) ??
    waitOf(Number.parseFloat(headers?.get("retry-after") ?? "") * 1000)

/** An error's sentence with that of the error at the bottom of its causes, which says what a failed connection lacked. */
export const sentence = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  let deepest: Error = error
  while (deepest.cause instanceof Error) deepest = deepest.cause
  return deepest === error || deepest.message === "" ? error.message : `${error.message} ${deepest.message}`
}

const ended = (message: string): string => /[.!?]\s*$/.test(message) ? message.trim() : `${message.trim()}.`

const tooLong = "The conversation is too long for the model: start a new session, or choose a model with a longer context"

/** The failures of the provider with these names. */
export const failures = (names: Names): Failures => {
  const [key] = names.keys
  const make = (reason: AiError.AiErrorReason): AiError.AiError =>
    AiError.make({ module: names.module, method: "stream", reason })

  const reasonOf = (facts: Facts): AiError.AiErrorReason => {
    const { errorCode, errorType, kind, message, requestId, status } = facts
    const known = {
      ...(requestId === undefined ? {} : { requestId }),
      ...(errorType === undefined ? {} : { errorType }),
      ...(errorCode === undefined ? {} : { errorCode })
    }
    const metadata = { [names.provider]: known }
    // Reasons without a description of their own carry it here.
    const described = { [names.provider]: { ...known, description: message } }
    const wait = facts.retryAfter
    // An overloaded provider says when to come back too, and its reason has no field for it.
    const later = wait === undefined
      ? metadata
      : { [names.provider]: { ...known, retryAfterMs: String(Math.ceil(Duration.toMillis(wait))) } }
    switch (kind ?? status) {
      case "spent":
      case 402:
        return new AiError.QuotaExhaustedError({ metadata: described })
      case "limited":
      case 429:
        return new AiError.RateLimitError({ ...(wait === undefined ? {} : { retryAfter: wait }), metadata: described })
      case "policy":
        return new AiError.ContentPolicyError({ description: message, metadata })
      case "too long":
      case 413:
        return new AiError.InvalidRequestError({ parameter: "messages", description: `${ended(message)} ${tooLong}`, metadata })
      case 401:
        return new AiError.AuthenticationError({ kind: "InvalidKey", description: `${ended(message)} Check ${names.keys.join(" or ")}`, metadata })
      case 403:
        return new AiError.AuthenticationError({ kind: "InsufficientPermissions", description: message, metadata })
      case 408:
      case 409:
      case 425:
        return new AiError.InternalProviderError({ description: message, metadata: later })
    }
    return status >= 500
      ? new AiError.InternalProviderError({ description: message, metadata: later })
      : new AiError.InvalidRequestError({ description: message, metadata })
  }

  const network = (url: string, description: string, cause?: unknown): AiError.AiError =>
    make(new AiError.NetworkError({ reason: "TransportError", method: "POST", url, description, cause }))

  return {
    names,
    make,
    refused: (facts) => make(reasonOf(facts)),
    network: (url, error) => network(url, sentence(error), error),
    cutOff: (url) => network(url, `the answer ended before ${names.ending}`),
    silent: (url, timeoutMs) => network(url, `nothing came for ${timeoutMs} ms`),
    malformed: (problem, requestId) =>
      make(new AiError.InternalProviderError({
        description: problem,
        metadata: { [names.provider]: requestId === undefined ? {} : { requestId } }
      })),
    missingKey: make(new AiError.AuthenticationError({ kind: "MissingKey", description: `Set ${key} ${names.remedy}` })),
    unusableKey: (variable) =>
      make(new AiError.AuthenticationError({
        kind: "InvalidKey",
        description: `${variable} holds characters that no key has: set it ${names.remedy}`
      })),
    unusableUrl: (url) =>
      make(new AiError.InvalidRequestError({
        parameter: names.baseUrl,
        description: `${url} is no address: write it as https://host/path, or unset ${names.baseUrl}`
      })),
    redirected: (url, to) =>
      make(new AiError.InvalidRequestError({
        parameter: names.baseUrl,
        description: `${url} answers with another address (${to ?? "which it does not name"}), to which no key is sent: set ${names.baseUrl} to the one that answers itself`
      })),
    forbiddenUrl: (url) =>
      make(new AiError.InvalidRequestError({
        parameter: names.baseUrl,
        description: `${url} is an address of OpenAI, which Conductor never uses: unset ${names.baseUrl}`
      }))
  }
}
