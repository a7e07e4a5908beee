/** An agent with tools that need a person, for tests of the command line; run as a program, it is the command line with that agent. */
import { Effect, Schema } from "effect"
import { Agent, Plugin, Tool } from "../../src/index.ts"
import { agentOfRun, type Known } from "../../src/Cli/Agents.ts"

/** Orders that were refunded. */
export const refunds: Array<{ readonly order: string; readonly dollars: number }> = []

const refund = Tool.make("refund", {
  description: "Gives the money for an order back.",
  parameters: Schema.Struct({
    order: Schema.String,
    dollars: Schema.Int,
    account: Schema.optionalKey(Tool.sensitive(Schema.String)),
    api_key: Schema.optionalKey(Schema.String)
  }),
  success: Schema.Struct({ refunded: Schema.Int }),
  effect: "unsafe",
  approval: { when: ({ dollars }) => Effect.succeed(dollars > 100), expires: "2 hours", policy: "refunds over 100 USD" }
})

const letter = Tool.make("letter", {
  description: "Posts a letter, which takes its time.",
  parameters: Schema.Struct({ to: Schema.String }),
  success: Schema.String,
  effect: "unsafe"
})

const plugin = Plugin.make("clerk", {
  tools: [refund, letter],
  handlers: {
    refund: ({ dollars, order }) =>
      Effect.sync(() => {
        refunds.push({ order, dollars })
        return { refunded: dollars }
      }),
    letter: () => Effect.flatMap(Tool.Call, (call) => Effect.andThen(call.progress("at the post office"), Effect.never))
  }
})

/** The agent, with a model. */
export const clerk = (model: string): Known =>
  Agent.make("clerk", { instructions: "Serve the customers.", model, plugins: [plugin], limits: { toolTime: "5 minutes" } })

/** The agents of the program, and the clerk. */
export const withClerk = (name: string, model: string): Known | undefined => name === "clerk" ? clerk(model) : agentOfRun(name, model)
