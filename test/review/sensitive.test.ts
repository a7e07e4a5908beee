import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, AuditLog, Conductor, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const pay = Tool.make("pay", {
  description: "Pays.",
  parameters: Schema.Struct({ pin: Tool.sensitive(Schema.String.check(Schema.isMaxLength(6))), euros: Schema.Int }),
  success: Schema.String,
  effect: "unsafe",
  approval: true
})
const agent = Agent.make("payer", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", { tools: [pay], handlers: { pay: () => Effect.succeed("ok") } })] })
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map((one) => one.result).join()
  return { toolCalls: [{ name: "pay", params: JSON.parse(last?.role === "user" ? last.text : "{}") }] }
})

layer(testing.layer({ agents: [agent], model: provider }))("A sensitive parameter", (it) => {
  const audit = (run: Run.RunId) => Effect.gen(function*() {
    const rows = yield* (yield* AuditLog).list({ org: (yield* testing.check(run)).org, run, limit: 50 })
    return JSON.stringify(rows, (_, value: unknown) => typeof value === "bigint" ? String(value) : value)
  })
  it.effect("is not in the audit trail where a person changed it", () => Effect.gen(function*() {
    const run = yield* Conductor.start(agent, JSON.stringify({ pin: "111111", euros: 1 }))
    yield* Effect.flip(Conductor.result(run))
    const [request] = yield* Conductor.approvals()
    const bad = yield* Effect.flip(Conductor.decide(request?.id ?? "", { decision: "approved", parameters: { pin: "98765432", euros: 2 } }))
    yield* Conductor.decide(request?.id ?? "", { decision: "approved", parameters: { pin: "987654", euros: 2 } })
    yield* Conductor.result(run)
    const text = yield* audit(run)
    assert.notInclude(text, "987654")
    assert.notInclude(text, "111111")
    assert.notInclude(bad.message, "98765432")
  }))
  it.effect("is not in the audit trail where the model gave it wrong", () => Effect.gen(function*() {
    const result = yield* Conductor.run(agent, JSON.stringify({ pin: "13572468", euros: 1 }))
    const text = yield* audit(result.run)
    assert.notInclude(text, "13572468")
  }))
})
