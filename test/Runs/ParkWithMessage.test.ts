import { assert, layer } from "@effect/vitest"
import { Context, Effect, Latch, Ref, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes } from "../support/conductors.ts"
import { eventually } from "../support/eventually.ts"

const ran = Effect.runSync(Ref.make(0))
const fire = Tool.make("fire", { description: "Fires.", success: Schema.String, effect: "unsafe" })
const pay = Tool.make("pay", { description: "Pays.", success: Schema.String, effect: "unsafe", approval: true })
const go = Latch.makeUnsafe(false)

const agent = Agent.make("parker", {
  instructions: "Work.",
  model: "scripted:test",
  plugins: [Plugin.make("tools", {
    tools: [fire, pay],
    handlers: {
      fire: () => Effect.andThen(Ref.update(ran, (n) => n + 1), Effect.as(go.await, "fired")),
      pay: () => Effect.succeed("paid")
    }
  })]
})
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role !== "user") return "done"
  return { toolCalls: last.text.split(" ").map((name) => ({ name })) }
})

for (const { layer: runtime, name } of runtimes([agent], provider).slice(1)) {
  layer(runtime, { excludeTestServices: true })(`A run that parks (${name})`, (it) => {
    it.effect("keeps the results of its tools where a message comes at the moment when it parks", () =>
      Effect.gen(function*() {
        // Both databases' runtimes have it, though their common type does not say so.
        const sql = Context.getUnsafe(yield* Effect.context<never>(), SqlClient.SqlClient)
        go.closeUnsafe()
        yield* Ref.set(ran, 0)
        const run = yield* Conductor.start(agent, "fire fire pay")
        while ((yield* Ref.get(ran)) < 2) yield* Effect.sleep("10 millis")
        yield* Effect.sleep("100 millis")
        // As another process puts it there: this one hears of it a moment later.
        yield* sql`INSERT INTO run_inbox (id, run_id, org_id, kind, payload, dedupe, principal)
          SELECT gen_random_uuid()::text, id, org_id, 'message', '{"_tag":"Message","text":"hello"}', 'x', 'user:1' FROM runs WHERE id = ${run}`
        yield* go.open
        yield* Effect.exit(Conductor.result(run))
        // It is heard of, answered, and the run waits again.
        const tags = yield* eventually(testing.tags(run), (tags) => tags.lastIndexOf("RunParked") > tags.indexOf("MessageReceived") && tags.includes("MessageReceived"))
        assert.include(tags, "MessageReceived")
        assert.strictEqual(tags.at(-1), "RunParked")
        // Both are done, and neither is in doubt.
        assert.strictEqual(yield* Ref.get(ran), 2)
        assert.strictEqual(tags.filter((tag) => tag === "ToolCompleted").length, 2)
        assert.notInclude(tags, "ToolUnknown")
      }))
  })
}
