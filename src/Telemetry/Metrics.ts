import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { promptTokens, type RunEvent } from "../Run.ts"
import type { Append } from "../RunLog.ts"
import { dollars, modelOf, providerOf } from "./Attributes.ts"

/** The boundaries that the conventions recommend, in tokens. */
const tokenBoundaries = Array.from({ length: 14 }, (_, index) => 4 ** index)

/** The boundaries that the conventions recommend, in seconds. */
const secondBoundaries = Array.from({ length: 14 }, (_, index) => 0.01 * 2 ** index)

type Labels = Readonly<Record<string, string>>

/** One metric for each combination of labels, made when it is first needed: what does not change is not put together each time. */
const family = <M>(make: (labels: Labels) => M) => {
  const members = new Map<string, M>()
  return (key: string, labels: () => Labels): M => {
    const known = members.get(key)
    if (known !== undefined) return known
    const member = make(labels())
    members.set(key, member)
    return member
  }
}

const histogram = (name: string, description: string, unit: string, boundaries: ReadonlyArray<number>) =>
  family((labels) => Metric.histogram(name, { description, boundaries, attributes: { ...labels, unit } }))
const counter = (name: string, description: string) =>
  family((attributes) => Metric.counter(name, { description, incremental: true, attributes }))

const tokens = histogram("gen_ai.client.token.usage", "Tokens of one attempt; input includes what came out of a cache", "{token}", tokenBoundaries)
const durations = histogram("gen_ai.client.operation.duration", "Seconds of one attempt", "s", secondBoundaries)
const firstChunks = histogram("gen_ai.client.operation.time_to_first_chunk", "Seconds until the first piece of an answer", "s", secondBoundaries)
const costs = counter("conductor_cost_usd_total", "Dollars that attempts were charged, by where the figure is from; the exact sums are the ledger's")
const attempts = counter("conductor_model_attempts_total", "Attempts that ended, by how")
const runs = counter("conductor_runs_total", "Runs that ended, by how")
const toolCalls = counter("conductor_tool_calls_total", "Tool calls that ended, by how")
const refusals = counter("conductor_budget_refusals_total", "Runs that ended because a budget did not allow a request")
const warnings = counter("conductor_budget_warnings_total", "Budgets of which most was spent or set aside")
const active = Metric.gauge("conductor_runs_active", { description: "Runs that this process performs" })

type Charged = Extract<RunEvent, { readonly _tag: "TurnCompleted" | "AttemptFailed" | "ContextCompacted" }>

const charged = (event: Charged, context: Context.Context<never>): void => {
  const { bill } = event
  const outcome = event._tag === "AttemptFailed" ? event.error.reason : "success"
  const { model, source } = bill
  const labels = (): Labels => ({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": providerOf(model),
    "gen_ai.request.model": modelOf(model)
  })
  const ours = (): Labels => ({ provider: providerOf(model), model: modelOf(model) })
  tokens(`${model} input`, () => ({ ...labels(), "gen_ai.token.type": "input" })).updateUnsafe(promptTokens(bill.usage), context)
  tokens(`${model} output`, () => ({ ...labels(), "gen_ai.token.type": "output" })).updateUnsafe(bill.usage.output, context)
  durations(`${model} ${outcome}`, () => outcome === "success" ? labels() : { ...labels(), "error.type": outcome })
    .updateUnsafe(bill.latencyMs / 1_000, context)
  if (bill.firstTokenMs !== null) firstChunks(model, labels).updateUnsafe(bill.firstTokenMs / 1_000, context)
  costs(`${model} ${source}`, () => ({ ...ours(), source })).updateUnsafe(dollars(bill.cost), context)
  attempts(`${model} ${outcome}`, () => ({ ...ours(), outcome })).updateUnsafe(1, context)
}

const ended = (status: string, context: Context.Context<never>): void =>
  runs(status, () => ({ status })).updateUnsafe(1, context)

/** Counts what an append says, once it is written. */
export const count = (context: Context.Context<never>) => ({ steps }: Append): void => {
  for (const { logged: { event } } of steps) {
    switch (event._tag) {
      case "TurnStarted":
        for (const { scope } of event.warnings ?? []) {
          const kind = scope.slice(0, scope.indexOf(":"))
          warnings(kind, () => ({ scope: kind })).updateUnsafe(1, context)
        }
        break
      case "TurnCompleted":
      case "AttemptFailed":
      case "ContextCompacted":
        charged(event, context)
        break
      case "ToolCompleted": {
        // A model may make up names without end.
        const tool = event.outcome === "unknown-tool" ? "_unknown" : event.name
        toolCalls(`${event.outcome} ${tool}`, () => ({ outcome: event.outcome, tool })).updateUnsafe(1, context)
        break
      }
      case "RunCompleted":
        ended("completed", context)
        break
      case "RunCancelled":
        ended("cancelled", context)
        break
      case "RunFailed": {
        ended("failed", context)
        const { error } = event
        if (error._tag !== "BudgetExceeded" && error._tag !== "UnpricedModel") break
        const scope = error._tag === "BudgetExceeded" ? error.scope.slice(0, error.scope.indexOf(":")) : "none"
        refusals(`${error._tag} ${scope}`, () => ({ reason: error._tag, scope })).updateUnsafe(1, context)
        break
      }
    }
  }
}

/** Those who perform runs, by the registry that their metrics are in: one process may have several. */
const performers = new WeakMap<object, Set<() => number>>()

/** Shows how many runs somebody performs, until what this returns is called. */
export const showActive = (context: Context.Context<never>, performed: () => number): () => void => {
  const registry = Context.get(context, Metric.MetricRegistry)
  const all = performers.get(registry) ?? new Set()
  performers.set(registry, all)
  all.add(performed)
  const sum = () => [...all].reduce((total, one) => total + one(), 0)
  const registration = Metric.registerUnsafe(active, context, { get: () => ({ value: sum() }), update: () => {}, modify: () => {} })
  return () => {
    all.delete(performed)
    if (all.size === 0) registration.remove()
  }
}
