import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { AiError } from "effect/ai"
import { Agent, Conductor, Money, type Run } from "../../src/index.ts"
import { RunLog } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"

const agent = Agent.make("clerk", { instructions: "Answer.", model: "scripted:test", limits: { attempts: 1 } })

const failuresOf = Effect.fnUntraced(function*(run: Run.RunId) {
  const log = yield* RunLog
  const events = yield* Stream.runCollect(log.read(run))
  return events.flatMap(({ event }) => event._tag === "AttemptFailed" ? [event] : [])
})

describe("What a provider says", () => {
  it.effect("An answer of a forbidden model is not taken, though it is paid for", () =>
    Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "Hi")
      const error = yield* Effect.flip(Conductor.result(run))
      assert.deepInclude(error, { _tag: "ModelFailed", reason: "ForbiddenModel", attempts: 1 })
      assert.include(error.message, "gpt-6")
      const [failed] = yield* failuresOf(run)
      assert.deepInclude(failed?.bill, { source: "reported", cost: Money.usd("0.5"), servedModel: "gpt-6" })
    }).pipe(Effect.provide(testing.layer({
      agents: [agent],
      model: testing.script([{ text: "Hello.", servedModel: "gpt-6", metadata: { cost: "0.5" } }])
    }))))

  it.effect("An answer that its provider billed and then broke off is charged what was billed", () => {
    const fail = AiError.make({ module: "Test", method: "stream", reason: new AiError.InternalProviderError({ description: "broke off" }) })
    const limited = Agent.make("clerk", { instructions: "Answer.", model: "scripted:test", limits: { attempts: 1, cost: "1 USD" } })
    return Effect.gen(function*() {
      const run = yield* Conductor.start(limited, "Hi")
      assert.deepInclude(yield* Effect.flip(Conductor.result(run)), { _tag: "ModelFailed", reason: "InternalProviderError" })
      const [failed] = yield* failuresOf(run)
      assert.deepInclude(failed?.bill, { source: "reported", cost: Money.usd("0.0005"), nativeFinish: "error" })
      assert.deepInclude(failed?.bill.usage, { uncached: 70, output: 30 })
      const { cost } = yield* testing.check(run)
      assert.strictEqual(cost, Money.usd("0.0005"))
    }).pipe(Effect.provide(testing.layer({
      agents: [limited],
      model: testing.script([{
        text: "Hel", finish: "error", metadata: { cost: "0.0005", nativeFinish: "error" }, usage: { uncached: 70, output: 30 }, fail, failAfter: 9
      }])
    })))
  })

  it.effect("A key that a provider repeats in its error is not written down", () => {
    const key = `sk-ant-api03-${"a1B2".repeat(12)}`
    const fail = AiError.make({
      module: "Test",
      method: "stream",
      reason: new AiError.InvalidRequestError({ description: `the header "Authorization: Bearer ${key}" is wrong` })
    })
    return Effect.gen(function*() {
      const run = yield* Conductor.start(agent, "Hi")
      const error = yield* Effect.flip(Conductor.result(run))
      const [failed] = yield* failuresOf(run)
      assert.notInclude(`${failed?.error.message} ${error.message}`, key)
      assert.include(failed?.error.message, "is wrong")
    }).pipe(Effect.provide(testing.layer({ agents: [agent], model: testing.script([{ fail }]) })))
  })
})
