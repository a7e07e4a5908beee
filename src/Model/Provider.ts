import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type { ModelRef, Transcript } from "../Run.ts"
import type { Entry } from "./Catalog.ts"

/** A tool as a model is told about it. Its JSON Schema is built once, when the agent is registered. */
export interface ToolSpec {
  readonly name: string
  readonly description: string
  readonly parameters: object
}

/** How hard a model thinks before it answers; providers without that choice ignore it. */
export type Effort = "low" | "medium" | "high" | "xhigh" | "max"

/** One request for one answer of a model. */
export interface Request {
  /** The provider's own id of the model, without the provider's name. */
  readonly model: string
  readonly system: string
  readonly messages: ReadonlyArray<Transcript.Message>
  readonly tools: ReadonlyArray<ToolSpec>
  /** Output tokens at most. */
  readonly maxOutput: number
  /** Asks for JSON of this schema instead of prose. */
  readonly output?: { readonly name: string; readonly schema: object }
  /** Sent where the model has such a choice; without it the provider's default holds. */
  readonly effort?: Effort
}

/**
 * Streams one answer of a model, in the vocabulary of `effect/ai`: start, deltas and end of each text and reasoning part
 * (opaque data in the metadata of a delta or end, by provider name), start, deltas and end of each tool call's arguments
 * followed by the call, `response-metadata` with the request id and the model that answered, and exactly one `finish`.
 * A stream that ends without `finish` has failed; one that fails may end with a `finish` of reason `error`, where the provider
 * counted what it came to. Interruption closes the connection.
 *
 * Under the provider's name the metadata of `response-metadata` and `finish` may carry `requestId`, `note` (what the
 * provider said about a refusal or an odd ending), `cost` (dollars, a decimal string), `cacheWriteHour` (tokens, part
 * of the usage's `cacheWrite`), `webSearches` (how many it made), `host` (who computed the answer, where the provider passes
 * requests on) and `nativeFinish` (the provider's own word for why the answer ended). A tool call's `params` are parsed JSON, or the raw text where it is not JSON.
 */
export interface Provider {
  (request: Request): Stream.Stream<Response.StreamPartEncoded, AiError.AiError>
  /** The input tokens of a request as the provider itself counts them; absent where it has no such endpoint. */
  readonly count?: (request: Request) => Effect.Effect<number, AiError.AiError>
  /** False where it cannot be asked because its key is missing; a choice of models leaves it out. */
  readonly ready?: boolean
}

/** A model that can be asked, with what is known of it. */
export interface Resolved {
  readonly ref: ModelRef
  readonly stream: Provider
  readonly id: string
  /** What the catalogue says of it; a model without an entry can be asked and has no price. */
  readonly entry: Option.Option<Entry>
  /** Names the price list that `entry` is from, or is null where the model has no price. */
  readonly prices: string | null
}
