import type * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { RegisteredTool } from "../Agent.ts"
import type { Bill, FinishReason, RunState, ToolOutcome } from "../Run.ts"
import * as Telemetry from "../Telemetry.ts"
import type { Attempt } from "./Bill.ts"
import type { Journal } from "./Journal.ts"

/** The span of a run while this process performs it; all that it does is below it. */
export const agentSpan = (journal: Journal, parent: Tracer.AnySpan | undefined): Telemetry.About => ({
  name: () => `invoke_agent ${journal.state().agent}`,
  attributes: () => Telemetry.agentOf(journal.state()),
  parent,
  end: () => {
    const state = journal.state()
    const attributes = Telemetry.agentEndOf(state)
    return state.failure === null ? { attributes } : { attributes, failure: state.failure._tag }
  }
})

/** The span of a tool's execution. */
export const toolSpan = (
  state: RunState,
  tool: RegisteredTool,
  call: string,
  outcome: () => ToolOutcome | undefined
): Telemetry.About => ({
  name: () => `execute_tool ${tool.name}`,
  attributes: () => Telemetry.toolOf(state, { name: tool.name, call, effect: tool.effect }),
  end: () => {
    const ending = outcome() ?? "unknown"
    return ending === "success" ? { attributes: {} } : { attributes: { "error.type": ending }, failure: ending }
  }
})

/** Makes a request to a model within a span, which {@link closeChat} ends with its bill. */
export const inChat = (state: RunState, attempt: Attempt, asked: Omit<Telemetry.Asked, "model">) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Telemetry.within({
    name: () => `chat ${attempt.resolved.id}`,
    kind: "client",
    attributes: () => Telemetry.chatOf(state, { ...asked, model: attempt.resolved.ref }),
    opened: (close) => attempt.close = close
  }, effect)

/** Ends the span of an attempt, where it has one, once it is billed. */
export const closeChat = (attempt: Attempt, bill: Bill, end: { readonly finish: FinishReason } | { readonly error: string }): void => {
  if (attempt.close === undefined) return
  const attributes = Telemetry.chatEndOf(bill, attempt.resolved.prices, end)
  attempt.close("error" in end ? { attributes, failure: end.error } : { attributes })
}
