import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, Conductor, CurrentOrg, Model, Plugin, Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const ship = Tool.make("ship", { description: "Ships.", success: Schema.String, effect: "reconcilable" })
const agent = Agent.make("shipper", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", {
  tools: [ship], handlers: { ship: () => Effect.die(new Error("broken")) }, reconcile: { ship: () => Effect.succeed(Tool.unknown) }
})] })
const provider = Model.Scripted.make((request) => request.messages.at(-1)?.role === "user" ? { toolCalls: [{ name: "ship" }] } : "done")

layer(testing.layer({ agents: [agent], model: provider }))("Another organisation", (it) => {
  const other = Effect.provideService(CurrentOrg, Run.OrgId.make("org:other"))
  it.effect("cannot say what became of a call, nor cancel, nor steer", () => Effect.gen(function*() {
    const run = yield* Conductor.start(agent, "go")
    yield* Effect.flip(Conductor.result(run))
    const call = (yield* testing.toolCalls(run))[0]?.id ?? ""
    const outcomes = [
      (yield* Effect.exit(other(Conductor.send(run, "hello"))))._tag,
      (yield* Effect.exit(other(Conductor.resolve(run, call, { resolution: "happened" }))))._tag,
      (yield* Effect.exit(other(Conductor.cancel(run))))._tag
    ]
    assert.deepStrictEqual(outcomes, ["Failure", "Failure", "Failure"])
  }))
})
