import { assert, it } from "@effect/vitest"
import { Effect, Latch, Layer, Ref, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Tool } from "../../src/index.ts"
import { Tables } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { scripted } from "../support/conductors.ts"

const sent = Effect.runSync(Ref.make(0))
const begun = Latch.makeUnsafe(false)
const agentWith = (policy: string) => {
  const mail = Tool.make("mail", { description: "Mails.", success: Schema.String, effect: "idempotent", approval: { policy } })
  return Agent.make("mailer", { instructions: "x", model: "scripted:test", plugins: [Plugin.make("p", {
    tools: [mail],
    handlers: { mail: () => Effect.gen(function*() {
      yield* Ref.update(sent, (n) => n + 1)
      yield* begun.open
      if ((yield* Ref.get(sent)) === 1) return yield* Effect.never
      return "sent"
    }) }
  })] })
}
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map((one) => one.result).join()
  return { toolCalls: [{ name: "mail" }] }
})

it.live("A call that has begun is not said to have been denied because the rule has changed since", () =>
  Effect.gen(function*() {
    const runtime = (policy: string) => Layer.fresh(Conductor.layerTables({ agents: [agentWith(policy)], models: scripted(provider) }))
    const run = yield* Effect.gen(function*() {
      const run = yield* Conductor.start("mailer", "go")
      yield* Effect.flip(Conductor.result(run))
      const [request] = yield* Conductor.approvals()
      yield* Conductor.decide(request?.id ?? "", { decision: "approved" })
      yield* begun.await
      return run
    }).pipe(Effect.provide(runtime("1")))
    yield* Effect.gen(function*() {
      yield* Effect.exit(Conductor.result(run))
      const events = yield* testing.events(run)
      const outcomes = events.flatMap(({ event }) => event._tag === "ToolCompleted" ? [event.outcome] : [])
      assert.notInclude(outcomes, "denied")
    }).pipe(Effect.provide(runtime("2")))
  }).pipe(Effect.provide(Tables.layer)), 60_000)
