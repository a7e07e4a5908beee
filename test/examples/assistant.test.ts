import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { assistant } from "./first-agent.ts"

const model = testing.script([
  { expect: "Lisbon", toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] },
  (request) => {
    const last = request.messages.at(-1)
    return last?.role === "tool" && last.results[0]?.result.includes("rain") === true ? "Yes, it will rain." : "No."
  }
])

layer(testing.layer({ agents: [assistant], model }))("assistant", (it) => {
  it.effect("looks at the weather before it answers", () =>
    Effect.gen(function*() {
      const { output, run } = yield* Conductor.run(assistant, "Will it rain in Lisbon?")
      assert.strictEqual(output, "Yes, it will rain.")
      assert.deepStrictEqual((yield* testing.toolCalls(run)).map((call) => call.arguments), [`{"city":"Lisbon"}`])
      yield* testing.check(run)
    }))
})
