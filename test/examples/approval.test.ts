import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { approveHalf, clerk, paid } from "./approval.ts"

const asked = (dollars: number) => ({ toolCalls: [{ name: "refund", params: { order: "A-1", dollars } }] })

/** Refunds what the question says, and then says what came of it. */
const model = testing.script((request) => {
  const [first] = request.messages
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map(({ result }) => result).join("\n")
  return asked(Number(/\d+/.exec(first?.role === "user" ? first.text : "")?.[0]))
})

layer(testing.layer({ agents: [clerk], model }))("an agent whose refunds over 100 USD need approval", (it) => {
  it.effect("gives a little back at once", () =>
    Effect.gen(function*() {
      const { output } = yield* Conductor.run(clerk, "Give 20 USD back.")
      assert.strictEqual(output, `{"refunded":20}`)
      assert.deepStrictEqual(paid.splice(0), [20])
    }))

  it.effect("waits with more for a person, who may change what is done", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(clerk, "Give 500 USD back.")
      const waiting = yield* Effect.flip(Conductor.result(run))
      assert.strictEqual(waiting._tag, "RunWaiting")
      assert.include(waiting.message, `conductor approve ${run}.1.1`)
      assert.deepStrictEqual(paid, [])
      yield* approveHalf(run)
      const { output } = yield* Conductor.result(run)
      assert.strictEqual(output, `{"parametersChangedBy":"user:ann","parameters":{"order":"A-1","dollars":250},"result":{"refunded":250}}`)
      assert.deepStrictEqual(paid.splice(0), [250])
      yield* testing.check(run)
    }))

  it.effect("tells the model of a denial", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(clerk, "Give 300 USD back.")
      yield* Effect.flip(Conductor.result(run))
      const [request] = yield* Conductor.approvals()
      yield* Conductor.decide(request?.id ?? "", { decision: "denied", comment: "it was delivered" })
      assert.strictEqual((yield* Conductor.result(run)).output, "This call was denied by local: it was delivered")
      assert.deepStrictEqual(paid, [])
    }))
})
