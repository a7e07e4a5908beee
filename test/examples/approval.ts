import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Agent, Conductor, CurrentPrincipal, Plugin, type Run, Tool } from "../../src/index.ts"

const Refund = Tool.make("refund", {
  description: "Gives the money for an order back.",
  parameters: Schema.Struct({ order: Schema.String, dollars: Schema.Int }),
  success: Schema.Struct({ refunded: Schema.Int }),
  effect: "unsafe",
  approval: {
    when: ({ dollars }) => Effect.succeed(dollars > 100),
    expires: "2 days",
    policy: "refunds over 100 USD"
  }
})

/** The money that was given back, in the order in which it was. */
export const paid: Array<number> = []

const money = Plugin.make("money", {
  tools: [Refund],
  handlers: {
    refund: ({ dollars }) =>
      Effect.sync(() => {
        paid.push(dollars)
        return { refunded: dollars }
      })
  }
})

export const clerk = Agent.make("clerk", {
  instructions: "Serve the customers.",
  model: "anthropic:claude-sonnet-5-5",
  plugins: [money]
})

/** Half of what is asked for, in the name of Ann; the run goes on with that. */
export const approveHalf = Effect.fn("approveHalf")(function*(run: Run.RunId) {
  for (const request of (yield* Conductor.approvals()).filter((one) => one.run === run)) {
    const asked = JSON.parse(request.parameters)
    yield* Conductor.decide(request.id, {
      decision: "approved",
      parameters: { ...asked, dollars: asked.dollars / 2 },
      comment: "half of it was used",
      digest: request.digest
    }).pipe(Effect.provideService(CurrentPrincipal, "user:ann"))
  }
})
