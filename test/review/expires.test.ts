import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes } from "../support/conductors.ts"

const a = Tool.make("always", { description: "x", success: Schema.String, effect: "pure", approval: { expires: Duration.infinity } })
const b = Tool.make("third", { description: "x", success: Schema.String, effect: "pure", approval: { expires: Duration.days(1 / 7) } })
const agent = Agent.make("asker", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", { tools: [a, b], handlers: { always: () => Effect.succeed("ok"), third: () => Effect.succeed("ok") } })] })
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  return last?.role === "user" ? { toolCalls: [{ name: last.text }] } : "done"
})
for (const { layer: runtime, name } of runtimes([agent], provider).slice(1, 2)) {
  layer(runtime, { excludeTestServices: true })(`A request for approval (${name})`, (it) => {
    for (const tool of ["always", "third"]) {
      it.effect(`is made whatever its time: ${tool}`, () => Effect.gen(function*() {
        const run = yield* Conductor.start(agent, tool)
        yield* Effect.flip(Conductor.result(run)).pipe(Effect.timeoutOption("5 seconds"))
        assert.include(yield* testing.tags(run), "RunParked")
      }))
    }
  })
}
