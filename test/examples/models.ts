import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Agent, Budget, Conductor, CurrentOrg, Ledger, Model, Money, Telemetry } from "../../src/index.ts"

export const reviewer = Agent.make("reviewer", {
  instructions: "Review the change.",
  model: Model.fallback(
    Model.select({ task: "coding", budget: "standard", reasoning: true }),
    "google:gemini-3.8-flash",
    "openrouter:deepseek/deepseek-v4-pro-0813"
  )
})

/** At most 20 requests to Anthropic at a time and 300 a minute, and 5 of one organisation; organisations take turns. */
export const routing = Layer.succeed(Model.Routing, {
  accounts: { anthropic: { concurrency: 20, rate: { requests: 300, per: "1 minute" } } },
  perOrganisation: 5
})

export const runtime = Conductor.layer({ agents: [reviewer] }).pipe(
  Layer.provide(routing),
  Layer.provideMerge(Telemetry.layer)
)

/** An allowance of 25 dollars a month, and what was spent of it by model. */
export const month = Effect.gen(function*() {
  const org = yield* CurrentOrg
  const budget = yield* Budget
  yield* budget.set(org, `org:${org}`, Money.usd("25"), { period: "month" })
  const [balance] = yield* budget.list(org)
  const ledger = yield* Ledger.Ledger
  return { left: balance, models: yield* ledger.totals("model", { org }) }
})
