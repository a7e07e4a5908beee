import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Ref, Stream } from "effect"
import { TestClock } from "effect/testing"
import { follow } from "../../src/Cli/Follow.ts"
import { Output, paintOf } from "../../src/Cli/Output.ts"
import { makeSignals, Signals } from "../../src/Cli/Signals.ts"
import { Conductor } from "../../src/Conductor.ts"
import { AgentName, DefinitionHash, type Logged, ModelRef, OrgId, RunConflict, type RunEvent, RunId, SessionId } from "../../src/Run.ts"

const run = RunId.make("01a20568-0000-7000-8000-000000000001")
const started: RunEvent = {
  _tag: "RunStarted", v: 1, org: OrgId.make("local"), session: SessionId.make("s"), agent: AgentName.make("assistant"),
  definition: DefinitionHash.make("d"), model: ModelRef.make("scripted:test"), input: `"Hi"`,
  limits: { turns: 5, attempts: 3, cost: null, timeMs: 1_000, toolConcurrency: 2, outputTokens: 100 },
  principal: "me", after: null, sourceProject: null
}
const log = (...events: ReadonlyArray<RunEvent>): ReadonlyArray<Logged> =>
  events.map((event, index) => ({ run, seq: index + 1, epoch: 1, at: index, event }))

/** Follows a run of which these are the events, and gives what was written and how it ended. */
const followed = Effect.fnUntraced(function*(
  events: ReadonlyArray<Logged>,
  options: { readonly json: boolean; readonly after?: number; readonly over?: boolean } = { json: false }
) {
  const out = yield* Ref.make("")
  const signals = makeSignals()
  const write = (text: string) => Ref.update(out, (before) => before + text)
  const watched = Stream.fromIterable(events)
  const services = Layer.mergeAll(
    Layer.mock(Conductor, {
      agents: [],
      watch: () => options.over === false ? Stream.concat(watched, Stream.never) : watched,
      cancel: () => Effect.fail(new RunConflict({ run, problem: "it is over." }))
    }),
    Layer.succeed(Output, Output.of({ write, line: (text) => write(`${text}\n`), note: (text) => write(`[${text}]`), paint: paintOf(false) })),
    Layer.succeed(Signals, signals.service)
  )
  const fiber = yield* follow(run, options).pipe(Effect.provide(services), Effect.flip, Effect.forkChild({ startImmediately: true }))
  return { out: Ref.get(out), signals, fiber }
})

describe("follow", () => {
  it.effect("stops at a run that is parked, and says that it waits", () =>
    Effect.gen(function*() {
      const { fiber, out } = yield* followed(log(started, { _tag: "RunParked", v: 1, reason: "approval" }), { json: false, over: false })
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag, "RunWaiting")
      assert.include(error.message, "is parked (approval)")
      assert.deepInclude(error, { run, reason: "approval", approvals: [], unknown: [] })
      assert.include(yield* out, "‖ parked")
    }))

  it.effect("does not wait for ever for a cancelled run to end", () =>
    Effect.gen(function*() {
      const { fiber, signals } = yield* followed(log(started), { json: true, over: false })
      yield* Effect.yieldNow
      signals.receive("SIGINT", 0)
      yield* Effect.yieldNow
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { _tag: "Ended", code: 130 })
      assert.include(error.message, "has not ended yet; the command to cancel it is kept")
    }))

  it.effect("says that a log is empty, and that a run has stopped without an end", () =>
    Effect.gen(function*() {
      const empty = yield* followed([])
      assert.strictEqual((yield* Fiber.join(empty.fiber)).message, `The log of run ${run} is empty.`)
      const stopped = yield* followed(log(started), { json: true, after: 1 })
      assert.include((yield* Fiber.join(stopped.fiber)).message, "it is not over")
      assert.strictEqual(yield* stopped.out, "")
      const cancelled = yield* followed(log(started, { _tag: "RunCancelled", v: 1, by: "me", reason: null, left: [] }))
      assert.strictEqual((yield* Fiber.join(cancelled.fiber)).message, "")
    }))
})
