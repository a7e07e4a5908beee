import { assert, layer } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../src/index.ts"
import * as Money from "../src/Money.ts"
import { runtimes } from "./support/conductors.ts"

const Weather = Tool.make("weather", {
  description: "The weather of a city.",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ sky: Schema.String }),
  effect: "pure"
})

const weather = Plugin.make("weather", {
  tools: [Weather],
  handlers: { weather: ({ city }) => Effect.succeed({ sky: city === "Lisbon" ? "rain" : "sun" }) }
})

const assistant = Agent.make("assistant", {
  instructions: "Answer in one sentence.",
  model: "scripted:test",
  plugins: [weather],
  limits: { cost: "0.50 USD" }
})

const provider = Model.Scripted.make([
  { toolCalls: [{ name: "weather", params: { city: "Lisbon" } }, { name: "weather", params: { city: "Porto" } }] },
  (request) => {
    const last = request.messages.at(-1)
    return last?.role === "tool" ? last.results.map((result) => result.result).join(" ") : "no results"
  }
], { pieces: 4 })

for (const { layer: runtime, name } of runtimes([assistant], provider)) {
  layer(runtime, { excludeTestServices: true })(`Conductor (${name})`, (it) => {
    it.effect("runs an agent to its answer, with parallel tools and its cost", () =>
      Effect.gen(function*() {
        const result = yield* Conductor.run(assistant, "Weather?")
        assert.strictEqual(result.output, `{"sky":"rain"} {"sky":"sun"}`)
        assert.strictEqual(result.turns, 2)
        assert.strictEqual(Money.format(result.cost), "0.00004")
        const conductor = yield* Conductor
        const row = yield* conductor.find(result.run)
        assert.strictEqual(row.status, "completed")
        const events = yield* Stream.runCollect(Conductor.watch(result.run))
        assert.deepStrictEqual(events.map((item) => "event" in item ? item.event._tag : item._tag), [
          "RunStarted", "RunClaimed", "TurnStarted", "TurnCompleted", "ToolStarted", "ToolCompleted", "ToolStarted",
          "ToolCompleted", "TurnStarted", "TurnCompleted", "RunCompleted"
        ])
      }))
  })
}
void TestClock
void Run
