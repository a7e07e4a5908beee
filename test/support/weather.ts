/** A tool that tells the weather of a city: rain. */
import { Effect, Schema } from "effect"
import { Plugin, Tool } from "../../src/index.ts"

const tool = Tool.make("weather", {
  description: "The weather of a city.",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ sky: Schema.String }),
  effect: "pure"
})

export const weather = Plugin.make("weather", { tools: [tool], handlers: { weather: () => Effect.succeed({ sky: "rain" }) } })
