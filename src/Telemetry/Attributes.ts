import * as Money from "../Money.ts"
import { type Bill, type FinishReason, type ModelRef, promptTokens, type RunState, type Usage } from "../Run.ts"

/** What a span or a metric tells of its subject, by name. */
export type Attributes = Record<string, unknown>

/** The names that the OpenTelemetry GenAI conventions have for providers; others keep ours. */
const wellKnown: Readonly<Record<string, string>> = { google: "gcp.gemini" }

/** The provider of a model, as the conventions call it. */
export const providerOf = (model: ModelRef): string => {
  const name = model.slice(0, model.indexOf(":"))
  return wellKnown[name] ?? name
}

/** The provider's own id of a model. */
export const modelOf = (model: ModelRef): string => model.slice(model.indexOf(":") + 1)

/** Tokens; all input is in `input_tokens`, and all output in `output_tokens`. */
const usageOf = (usage: Usage): Attributes => ({
  "gen_ai.usage.input_tokens": promptTokens(usage),
  "gen_ai.usage.cache_read.input_tokens": usage.cacheRead,
  "gen_ai.usage.cache_creation.input_tokens": usage.cacheWrite + usage.cacheWriteHour,
  "gen_ai.usage.output_tokens": usage.output,
  "gen_ai.usage.reasoning.output_tokens": usage.reasoning
})

/** Dollars as a number, for what cannot add up decimals; the exact figure is the ledger's. */
export const dollars = (money: Money.Money): number => Number(Money.format(money))

const seconds = (milliseconds: number): number => milliseconds / 1_000

/** What everything within a run has in common. */
const runOf = (state: RunState): Attributes => ({
  "gen_ai.agent.name": state.agent,
  "gen_ai.conversation.id": state.session,
  "conductor.run": state.run,
  "conductor.org": state.org
})

/** A run that is performed, as it begins. */
export const agentOf = (state: RunState): Attributes => ({
  "gen_ai.operation.name": "invoke_agent",
  "gen_ai.provider.name": providerOf(state.model),
  "gen_ai.request.model": modelOf(state.model),
  ...runOf(state),
  "conductor.epoch": state.epoch
})

/** The same run as it ends or is parked: its figures are those of all attempts from its start on. */
export const agentEndOf = (state: RunState): Attributes => ({
  ...usageOf(state.usage),
  "conductor.run.status": state.status,
  "conductor.run.turns": state.turns,
  "conductor.cost_usd": dollars(state.cost),
  ...(state.failure === null ? {} : { "error.type": state.failure._tag })
})

/** What is known of a request to a model before it is made. */
export interface Asked {
  readonly model: ModelRef
  readonly turn: number
  readonly attempt: number
  readonly maxOutput: number
  readonly isStructured: boolean
}

/** An attempt, as it begins. */
export const chatOf = (state: RunState, asked: Asked): Attributes => ({
  "gen_ai.operation.name": "chat",
  "gen_ai.provider.name": providerOf(asked.model),
  "gen_ai.request.model": modelOf(asked.model),
  "gen_ai.request.max_tokens": asked.maxOutput,
  "gen_ai.request.stream": true,
  ...(asked.isStructured ? { "gen_ai.output.type": "json" } : {}),
  ...runOf(state),
  "conductor.turn": asked.turn,
  "conductor.attempt": asked.attempt
})

/** The same attempt once it is billed: with why it ended, or why it failed. */
export const chatEndOf = (bill: Bill, prices: string | null, end: { readonly finish: FinishReason } | { readonly error: string }): Attributes => ({
  ...usageOf(bill.usage),
  "gen_ai.response.model": bill.servedModel ?? modelOf(bill.model),
  ...(bill.requestId === null ? {} : { "gen_ai.response.id": bill.requestId }),
  ...("finish" in end ? { "gen_ai.response.finish_reasons": [bill.nativeFinish ?? end.finish] } : { "error.type": end.error }),
  ...(bill.firstTokenMs === null ? {} : { "gen_ai.response.time_to_first_chunk": seconds(bill.firstTokenMs) }),
  "conductor.cost_usd": dollars(bill.cost),
  "conductor.cost_source": bill.source,
  ...(prices === null ? {} : { "conductor.price_list": prices }),
  ...(bill.host === undefined ? {} : { "conductor.host": bill.host })
})

/** The execution of a tool, as it begins. */
export const toolOf = (state: RunState, tool: { readonly name: string; readonly call: string; readonly effect: string }): Attributes => ({
  "gen_ai.operation.name": "execute_tool",
  "gen_ai.tool.name": tool.name,
  "gen_ai.tool.call.id": tool.call,
  "gen_ai.tool.type": "function",
  ...runOf(state),
  "conductor.tool.effect": tool.effect
})
