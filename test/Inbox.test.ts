import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Option, PubSub } from "effect"
import { Inbox } from "../src/Inbox.ts"
import { OrgId, RunId } from "../src/Run.ts"
import { type Append, RunLog } from "../src/RunLog.ts"
import { makeRun } from "./support/runs.ts"
import { stores } from "./support/stores.ts"

const hello = { _tag: "Message", text: "Hello?" } as const

for (const { layer: store, name } of stores) {
  layer(store, { excludeTestServices: true })(`Inbox (${name})`, (it) => {
    const begin = Effect.gen(function*() {
      const run = makeRun()
      yield* (yield* RunLog).append(run.append(run.started()))
      return run
    })

    it.effect("keeps commands in order until the event that records them", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        const { id: first } = yield* inbox.send({ run: run.run, command: hello, by: "ann" })
        const { id: second } = yield* inbox.send({ run: run.run, command: { _tag: "Cancel", reason: "enough" }, by: "bob" })
        assert.deepStrictEqual(yield* inbox.waiting(run.run), [
          { id: first, run: run.run, command: hello, by: "ann" },
          { id: second, run: run.run, command: { _tag: "Cancel", reason: "enough" }, by: "bob" }
        ])
        assert.include(yield* inbox.addressed, run.run)
        const append: Append = { ...run.append(run.message("Hello?")), consumes: [{ id: first, seq: 2 }] }
        yield* log.append(append)
        assert.deepStrictEqual((yield* inbox.waiting(run.run)).map((letter) => letter.id), [second])
      }))

    it.effect("takes a command of the same key for the same command", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const run = yield* begin
        const sent = yield* Effect.forEach([1, 2, 3], () => inbox.send({ run: run.run, command: hello, by: "ann", dedupe: "one" }), { concurrency: 3 })
        assert.strictEqual(new Set(sent.map(({ id }) => id)).size, 1)
        assert.strictEqual(sent.filter(({ isFirst }) => isFirst).length, 1)
        assert.strictEqual((yield* inbox.waiting(run.run)).length, 1)
      }))

    it.effect("does not take a command back that was consumed", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        const { id } = yield* inbox.send({ run: run.run, command: hello, by: "ann", dedupe: "one" })
        yield* log.append({ ...run.append(run.message("Hello?")), consumes: [{ id, seq: 2 }] })
        assert.deepStrictEqual(yield* inbox.send({ run: run.run, command: hello, by: "ann", dedupe: "one" }), { id, isFirst: false })
        assert.deepStrictEqual(yield* inbox.waiting(run.run), [])
        assert.notInclude(yield* inbox.addressed, run.run)
      }))

    it.effect("knows what was accepted under a key, also when the run is over, and of nobody else", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        const { org, session } = run.started()
        const letter = { run: run.run, command: hello, by: "ann", dedupe: "one" }
        assert.isTrue(Option.isNone(yield* inbox.accepted({ run: run.run }, "one")))
        const { id } = yield* inbox.send(letter)
        yield* log.append({ ...run.append(run.message("Hello?")), consumes: [{ id, seq: 2 }] })
        yield* log.append(run.append(...run.turn(), run.completed()))
        for (const by of [{ run: run.run }, { org, session }]) {
          assert.deepStrictEqual(yield* inbox.accepted(by, "one"), Option.some({ id, run: run.run }))
          assert.isTrue(Option.isNone(yield* inbox.accepted(by, "two")))
        }
        assert.isTrue(Option.isNone(yield* inbox.accepted({ org: OrgId.make("another"), session }, "one")))
        assert.deepStrictEqual(yield* inbox.send(letter), { id, isFirst: false })
        assert.strictEqual((yield* Effect.flip(inbox.send({ ...letter, dedupe: "two" })))._tag, "RunConflict")
        assert.strictEqual((yield* Effect.flip(inbox.send({ ...letter, command: { _tag: "Cancel", reason: null } })))._tag, "RunConflict")
      }))

    it.effect("does not let a run end over a command that nobody has read", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        yield* log.append(run.append(...run.turn()))
        const { id } = yield* inbox.send({ run: run.run, command: hello, by: "ann" })
        const before = run.state()?.seq ?? 0
        const end = run.append(run.completed())
        assert.strictEqual((yield* Effect.flip(log.append(end)))._tag, "CommandsWaiting")
        assert.strictEqual((yield* log.find(run.run)).seq, before)
        yield* log.append({ ...end, consumes: [{ id, seq: before + 1 }] }).pipe(Effect.flip)
        assert.strictEqual((yield* log.find(run.run)).status, "running")
      }))

    it.effect("keeps what a run did where its end, sent along with it, is refused", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        yield* inbox.send({ run: run.run, command: hello, by: "ann" })
        const before = run.state()?.seq ?? 0
        const turn = run.turn()
        const sent = [...turn, run.completed()].map((event) => log.submit(run.append(event)))
        const outcomes = yield* Effect.forEach(sent, (pending) => Effect.result(Deferred.await(pending)))
        assert.deepStrictEqual(outcomes.map((one) => one._tag === "Success" ? "written" : one.failure._tag), [...turn.map(() => "written"), "CommandsWaiting"])
        const found = yield* log.find(run.run)
        assert.deepStrictEqual([found.status, found.seq, found.turns], ["running", before + turn.length, 1])
      }))

    it.effect("refuses commands for a run that is over or was never there", () =>
      Effect.gen(function*() {
        const inbox = yield* Inbox
        const log = yield* RunLog
        const run = yield* begin
        yield* log.append(run.append(...run.turn(), run.completed()))
        const over = yield* Effect.flip(inbox.send({ run: run.run, command: hello, by: "ann" }))
        assert.strictEqual(over._tag, "RunConflict")
        assert.include(over.message, "completed")
        const none = yield* Effect.flip(inbox.send({ run: RunId.make("nobody"), command: hello, by: "ann" }))
        assert.strictEqual(none._tag, "RunNotFound")
      }))

    it.effect("announces arrivals in this process", () =>
      Effect.scoped(Effect.gen(function*() {
        const inbox = yield* Inbox
        const run = yield* begin
        const arrivals = yield* inbox.arrivals
        yield* inbox.send({ run: run.run, command: hello, by: "ann" })
        assert.strictEqual(yield* PubSub.take(arrivals), run.run)
      })))
  })
}
