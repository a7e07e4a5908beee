import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit } from "effect"
import { StorageFailed } from "../../src/Run.ts"
import { type Append, type Pending, RunLog } from "../../src/RunLog.ts"
import { makeJournal } from "../../src/Runs/Journal.ts"
import { makeRun } from "../support/runs.ts"

/** A journal whose appends are settled by the test. */
const scripted = Effect.gen(function*() {
  const run = makeRun()
  run.append(run.started())
  const sent: Array<{ readonly append: Append; readonly pending: Pending }> = []
  const submit = (append: Append): Pending => {
    const pending: Pending = Deferred.makeUnsafe()
    sent.push({ append, pending })
    return pending
  }
  // No agent is asked, and of the log only this.
  const options = { run: run.run, epoch: 1, registered: undefined as never, history: [], state: run.state(), services: Context.empty() }
  const journal = yield* Effect.provideService(makeJournal(options), RunLog, { submit } as unknown as RunLog["Service"])
  const write = (place: number) => Effect.sync(() => sent[place] === undefined ? false : Deferred.doneUnsafe(sent[place].pending, Effect.succeed(sent[place].append)))
  const refuse = (place: number) => Effect.sync(() => sent[place] === undefined ? false : Deferred.doneUnsafe(sent[place].pending, Effect.fail(refused)))
  return { run, journal, write, refuse }
})

const refused = new StorageFailed({ operation: "append", problem: "refused", cause: null })

describe("A commit of a run's journal", () => {
  it.effect("waits for what was emitted before it, and for nothing that was later", () =>
    Effect.gen(function*() {
      const { journal, refuse, run, write } = yield* scripted
      yield* journal.emit([run.message("before")])
      const commit = yield* Effect.forkChild(journal.commit([run.message("own")]), { startImmediately: true })
      yield* journal.emit([run.message("later")])
      yield* write(0)
      assert.isUndefined(commit.pollUnsafe())
      yield* write(1)
      for (let turn = 0; turn < 5; turn++) yield* Effect.yieldNow
      assert.deepStrictEqual(commit.pollUnsafe(), Exit.void)
      yield* refuse(2)
      assert.strictEqual(yield* Effect.flip(journal.flushed), refused)
    }))

  it.effect("fails with what was refused before it, once it is settled itself", () =>
    Effect.gen(function*() {
      const { journal, refuse, run, write } = yield* scripted
      yield* journal.emit([run.message("before")])
      const { seq } = journal.state()
      const commit = yield* Effect.forkChild(Effect.flip(journal.commit([run.message("own")])), { startImmediately: true })
      yield* refuse(0)
      yield* write(1)
      for (let turn = 0; turn < 5; turn++) yield* Effect.yieldNow
      assert.deepStrictEqual(commit.pollUnsafe(), Exit.succeed(refused))
      assert.strictEqual(journal.state().seq, seq)
    }))
})
