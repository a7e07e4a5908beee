import * as Option from "effect/Option"
import { amountOf, scopesOf } from "../Budget.ts"
import * as Model from "../Model.ts"
import * as Money from "../Money.ts"
import { type Bill, type CostSource, noUsage, promptTokens, type RunState } from "../Run.ts"
import type { Reserve } from "../RunLog.ts"
import type * as Telemetry from "../Telemetry.ts"

/** What is known of an attempt while it is under way. */
export interface Attempt {
  readonly resolved: Model.Resolved
  readonly startedAt: number
  /** True once the request may have reached the provider. */
  sent: boolean
  firstAt: number | null
  /** When the last piece came. */
  lastAt: number
  /** UTF-8 bytes of output received, which bound the tokens received. */
  bytes: number
  readonly inputBound: number
  /** Ends the attempt's span; absent where nobody traces. */
  close?: (end: Telemetry.End) => void
}

/** The fewest output tokens that a request is made for when a budget runs short. */
const leastOutput = 256

/** The reservation that an attempt asks for: its input at the dearest price it may have, and its output. */
export const reserveOf = (resolved: Model.Resolved, request: Model.Request, input: number): Reserve => {
  const least = Math.min(leastOutput, request.maxOutput)
  const price = Option.flatMap(resolved.entry, (entry) => Model.bound(entry, input, 0))
  const rate = Option.flatMap(resolved.entry, (entry) => Model.outputRate(entry, input))
  return {
    input: Option.getOrElse(price, () => Money.zero),
    rate: Option.getOrElse(rate, () => Money.zero),
    max: request.maxOutput,
    min: least,
    priced: Option.isSome(price) && Option.isSome(rate)
  }
}

/** What the attempt is granted if all goes on as before: all that it wants, from the scopes of the last one or else the run's own. */
export const expectedOf = (
  state: RunState,
  reserve: Reserve,
  last: ReadonlyArray<string> | undefined
): { readonly reserved: Money.Money; readonly scopes: ReadonlyArray<string> } => {
  const scopes = last ?? (state.limits.cost === null ? [] : scopesOf(state).slice(-1))
  return scopes.length === 0 || !reserve.priced ? { reserved: Money.zero, scopes: [] } : { reserved: amountOf(reserve, reserve.max), scopes }
}

/** What a bill says that a clock does not. */
export type Charge = Omit<Bill, "model" | "latencyMs" | "firstTokenMs">

/** The bill of an attempt that has ended. */
export const billFor = (state: RunState, attempt: Attempt, now: number, charge: Charge): Bill => ({
  model: state.attempt?.model ?? state.model,
  latencyMs: Math.round(now - attempt.startedAt),
  firstTokenMs: attempt.firstAt === null ? null : Math.round(attempt.firstAt - attempt.startedAt),
  ...charge
})

/** What a finished answer is billed: its usage and cost, and what the provider said of how it came about. */
export const chargeOf = (resolved: Model.Resolved, answer: Model.Answer.Answer): Charge => ({
  usage: answer.usage,
  ...costOf(resolved, answer),
  requestId: answer.requestId,
  ...(answer.host === null ? {} : { host: answer.host }),
  ...(answer.nativeFinish === null ? {} : { nativeFinish: answer.nativeFinish }),
  ...(answer.servedModel === null || answer.servedModel === resolved.id ? {} : { servedModel: answer.servedModel })
})

/**
 * What an answer is billed that ended before its provider counted it, as a stream that is cut at its very end does: what it
 * can have cost. Nothing where it was counted.
 */
export const uncounted = (state: RunState, attempt: Attempt, { reportedCost, usage }: Model.Answer.Answer): Partial<Charge> =>
  promptTokens(usage) > 0 || usage.output > 0 || Option.isSome(reportedCost) ? {} : boundOf(state, attempt, "NetworkError")

/**
 * What a finished answer cost: what the provider reported, else the list price, else unknown. Where hosts at several prices may
 * have given it, and none said what it took, the most that it can have cost.
 */
const costOf = (resolved: Model.Resolved, answer: Model.Answer.Answer): { readonly cost: Money.Money; readonly source: CostSource } => {
  if (Option.isSome(answer.reportedCost)) return { cost: answer.reportedCost.value, source: "reported" }
  const isOneHost = Option.exists(resolved.entry, ({ ceiling }) => ceiling === undefined)
  const priced = Option.flatMap(resolved.entry, (entry) => (isOneHost ? Model.price : Model.priceAtMost)(entry, answer.usage))
  return Option.isSome(priced) ? { cost: priced.value, source: isOneHost ? "priced" : "bound" } : { cost: Money.zero, source: "unpriced" }
}

/**
 * What an attempt that broke off is charged: nothing where it was not sent or the provider refused it, all output that it
 * may have had where nothing was heard of it or the model reasons, because reasoning is billed and need not be seen, and
 * else what its input and the output received can have cost; never more than was reserved for it.
 */
export const boundOf = (state: RunState, attempt: Attempt, reason: string): Pick<Bill, "usage" | "cost" | "source"> => {
  if (!attempt.sent || (attempt.firstAt === null && !unheard.has(reason))) {
    return { usage: noUsage, cost: Money.zero, source: "priced" }
  }
  const most = state.attempt?.maxOutput ?? attempt.bytes
  const isSeen = Option.exists(attempt.resolved.entry, (entry) => entry.thinking === "none")
  const output = attempt.firstAt === null || !isSeen ? most : Math.min(most, attempt.bytes)
  const bound = Option.flatMap(attempt.resolved.entry, (entry) => Model.bound(entry, attempt.inputBound, output))
  const reserved = state.attempt?.reserved ?? Money.zero
  const usage = { ...noUsage, uncached: attempt.inputBound, output }
  return Option.match(bound, {
    onNone: () => ({ usage, cost: Money.zero, source: "unpriced" as const }),
    onSome: (cost) => ({
      usage,
      cost: reserved > 0n ? Money.least(cost, reserved) : cost,
      source: "bound" as const
    })
  })
}

/** Failures after which nobody knows what the provider did. */
const unheard = new Set([
  "NetworkError", "Cancelled", "TimedOut", "Interrupted", "Shutdown", "FirstTokenTimedOut", "TurnTimedOut", "InvalidResponseError"
])

/** The bill of an attempt whose end nobody saw: all that was reserved for it. Without a budget nothing was, and what it cost is unknown. */
export const lostBill = (attempt: NonNullable<RunState["attempt"]>): Bill => ({
  model: attempt.model,
  usage: noUsage,
  cost: attempt.reserved,
  source: attempt.prices === null || attempt.scopes.length === 0 ? "unpriced" : "bound",
  latencyMs: 0,
  firstTokenMs: null,
  requestId: null
})
