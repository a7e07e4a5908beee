import * as Effect from "effect/Effect"
import { loadDealers } from "./demo/Dealers.ts"
import { dealerDistances, DealerDistances } from "./demo/Distances.ts"
import { question, script } from "./demo/Script.ts"
import { Agent, Plugin, SqlQuery } from "../index.ts"

export { DealersNotLoaded } from "./demo/Dealers.ts"

const query = SqlQuery.make({ relations: ["leads", "lead_pipeline"] })

/** The tools of the demonstration: SQL over the organisation's leads, and the distances between them. */
export const dealersPlugin = Plugin.make("dealers", {
  tools: [query.tool, DealerDistances],
  handlers: Effect.all({ sql_query: query.handler, dealer_distances: dealerDistances })
})

/** An agent that answers questions about dealers, with the given model (`anthropic:claude-sonnet-5-5`). */
export const dealersAgent = (model: string) =>
  Agent.make("dealers", {
    instructions: "You answer questions about the dealers in the table leads. Look everything up with your tools, and never guess " +
      "a number. Where you need several things that do not depend on each other, call the tools for them at once. Answer in " +
      "two sentences at most, in plain words.",
    model,
    plugins: [dealersPlugin],
    // Short answers, so that several attempts may be lost with their processes, which are charged the most that they can have cost.
    limits: { cost: "0.50 USD", turns: 8, time: "2 minutes", outputTokens: 4_000 }
  })

/**
 * The demonstration: some 200 invented dealers, an agent, a question about them, and a script that answers it where there
 * is no key for a model. `load` puts the dealers into an organisation's `leads` and may be run again.
 */
export const demo = {
  agent: dealersAgent("scripted:demo"),
  agentOf: dealersAgent,
  question,
  script,
  load: loadDealers
}
