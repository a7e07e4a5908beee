import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { inputBound, type Measured } from "./Price.ts"
import type { Request, Resolved } from "./Provider.ts"

/**
 * Whether the input of a request is counted by its provider before money is set aside for it; false by default, because
 * every count takes a round trip before the request itself.
 */
export const CountInput = Context.Reference<boolean>("conductor-ai/Model/CountInput", { defaultValue: () => false })

/** How long a count may take before the bound is used instead. */
const patience = "5 seconds"

/** A count with what it may be short of the bill by: Anthropic calls its own an estimate that may differ by a small amount. */
const withMargin = (counted: number): number => Math.ceil(counted * 1.02) + 64

/**
 * Input tokens that a request has at most: as its provider counts them where that is asked for and possible, else by
 * {@link inputBound}, which is never exceeded. A count that fails or takes too long is no failure of the request.
 */
export const inputTokens = Effect.fnUntraced(function*(resolved: Resolved, request: Request, measured?: Measured) {
  const bound = inputBound(request, measured)
  const { count } = resolved.stream
  if (count === undefined || !(yield* CountInput)) return bound
  const counted = yield* Effect.timeoutOption(count(request), patience).pipe(
    Effect.catch(() => Effect.succeed(Option.none<number>()))
  )
  return Option.match(counted, { onNone: () => bound, onSome: (tokens) => Math.min(bound, withMargin(tokens)) })
})
