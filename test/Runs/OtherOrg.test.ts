import { assert, it, layer } from "@effect/vitest"
import { Deferred, Effect, Schema } from "effect"
import { Agent, Conductor, CurrentOrg, Model, Plugin, Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const ship = Tool.make("ship", { description: "Ships.", success: Schema.String, effect: "reconcilable" })
const agent = Agent.make("shipper", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", {
  tools: [ship], handlers: { ship: () => Effect.die(new Error("broken")) }, reconcile: { ship: () => Effect.succeed(Tool.unknown) }
})] })
const waiter = Effect.gen(function*() {
  const done = yield* Deferred.make<void>()
  const wait = Tool.make("wait", { description: "Waits.", success: Schema.Void, effect: "pure" })
  const agent = Agent.make("waiter", {
    instructions: "x",
    model: "scripted:test",
    plugins: [Plugin.make("waits", { tools: [wait], handlers: { wait: () => Deferred.await(done) } })]
  })
  return { agent, done }
})
const provider = Model.Scripted.make((request) => request.messages.at(-1)?.role === "user" ? { toolCalls: [{ name: String(request.tools[0]?.name) }] } : "done")

const other = Effect.provideService(CurrentOrg, Run.OrgId.make("org:other"))

layer(testing.layer({ agents: [agent], model: provider }))("Another organisation", (it) => {
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

it.effect("Another organisation does not hear of a run while it is performed here, whose own hears its end", () =>
  Effect.gen(function*() {
    const { agent, done } = yield* waiter
    yield* Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "go")
      assert.strictEqual((yield* Effect.flip(other(Conductor.result(run))))._tag, "RunNotFound")
      yield* Deferred.succeed(done, undefined)
      assert.strictEqual((yield* Conductor.result(run)).text, "done")
    }).pipe(Effect.provide(testing.layer({ agents: [agent], model: provider })))
  }))
