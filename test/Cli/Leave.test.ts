import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Ref } from "effect"
import { leaving } from "../../src/Cli/Leave.ts"
import { Output, paintOf } from "../../src/Cli/Output.ts"
import { Conductor } from "../../src/Conductor.ts"
import { fold, type RunEvent, StorageFailed } from "../../src/Run.ts"
import { makeRun } from "../support/runs.ts"

const stateAfter = (...events: ReadonlyArray<RunEvent>) => {
  const run = makeRun()
  const { steps } = run.append(run.started(), ...events)
  return steps.map((step) => step.logged).reduce(fold, undefined as never)
}

/** What is said when a program is interrupted that performs this run. */
const said = Effect.fnUntraced(function*(state: ReturnType<typeof stateAfter>, problem?: StorageFailed) {
  const out = yield* Ref.make("")
  const started = yield* Deferred.make<void>()
  const isParked = state.status === "parked"
  const services = Layer.mergeAll(
    Layer.mock(Conductor, {
      agents: [],
      drain: () => Effect.succeed(isParked ? { finished: [], parked: [state.run] } : { finished: [state.run], parked: [] }),
      state: () => problem === undefined ? Effect.succeed(state) : Effect.fail(problem)
    }),
    Layer.succeed(Output, Output.of({ write: () => Effect.void, line: () => Effect.void, note: (text) => Ref.update(out, (all) => all + text), paint: paintOf(false) }))
  )
  const fiber = yield* Deferred.succeed(started, undefined).pipe(Effect.andThen(Effect.never), leaving, Effect.provide(services), Effect.forkChild)
  yield* Deferred.await(started)
  yield* Fiber.interrupt(fiber)
  assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
  return (yield* Ref.get(out)).replaceAll(state.run, "R")
})

describe("leaving", () => {
  it.effect("says how to go on with what was performed, as it stands then", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* said(stateAfter({ _tag: "RunParked", v: 1, reason: "shutdown" })), "Run R is parked because its process ended: go on with it with conductor retry R.")
      assert.strictEqual(yield* said(stateAfter({ _tag: "RunCancelled", v: 1, by: "me", reason: null, left: [] })), "Run R is cancelled: see it with conductor show R.")
      assert.match(yield* said(stateAfter()), /^Run R could not be parked in time: go on with it with conductor retry R, /)
      const gone = new StorageFailed({ operation: "read", problem: "it is gone" })
      assert.match(yield* said(stateAfter(), gone), /^Run R is left as it is, because the database does not answer/)
    }))

  it.effect("says nothing where nothing is interrupted", () =>
    Effect.gen(function*() {
      const services = Layer.mergeAll(Layer.mock(Conductor, { agents: [] }), Layer.mock(Output, { paint: paintOf(false) }))
      assert.strictEqual(yield* leaving(Effect.succeed(1)).pipe(Effect.provide(services)), 1)
    }))
})
