import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"

const Weather = Tool.make("weather", {
  description: "The weather of a city today.",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ sky: Schema.String, celsius: Schema.Finite }),
  effect: "pure"
})

const weather = Plugin.make("weather", {
  tools: [Weather],
  handlers: { weather: ({ city }) => Effect.succeed({ sky: city === "Lisbon" ? "rain" : "sun", celsius: 17 }) }
})

export const assistant = Agent.make("assistant", {
  instructions: "Answer in one sentence, with the weather tool where it helps.",
  model: Model.of("anthropic:claude-sonnet-5-5"),
  plugins: [weather],
  limits: { turns: 20, cost: "0.50 USD", time: "5 minutes" }
})

export const program = Conductor.run(assistant, "Will it rain in Lisbon?").pipe(
  Effect.map((result) => result.output),
  Effect.catchTag("BudgetExceeded", (error) => Effect.succeed(`Too expensive: ${error.message}`))
)
