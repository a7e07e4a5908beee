import { assert, it } from "@effect/vitest"
import { Effect, Latch, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import { scripted } from "../support/conductors.ts"

const begun = Latch.makeUnsafe(false)
const wait = Tool.make("wait", { description: "Waits.", success: Schema.String, effect: "idempotent" })
const agent = Agent.make("waiter", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", { tools: [wait], handlers: { wait: () => Effect.andThen(begun.open, Effect.never) } })] })
const provider = Model.Scripted.make((request) => request.messages.at(-1)?.role === "user" ? { toolCalls: [{ name: "wait" }] } : "done")

it.live("A run that was at work when its process ended is not told as finished, where a message waits for it", () =>
  Effect.gen(function*() {
    const run = yield* Conductor.start(agent, "go")
    yield* begun.await
    yield* Conductor.send(run, "hello")
    const drained = yield* Conductor.drain("10 millis")
    assert.deepStrictEqual(drained, { finished: [], parked: [run] })
  }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models: scripted(provider) }))), 60_000)
