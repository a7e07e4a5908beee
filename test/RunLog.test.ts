import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Stream } from "effect"
import { OrgId, RunId } from "../src/Run.ts"
import { type Append, RunLog, Store } from "../src/RunLog.ts"
import { makeRun, wholeRun } from "./support/runs.ts"
import { stores } from "./support/stores.ts"

/** The same append under another epoch, as a stale owner would send it. */
const under = (append: Append, epoch: number): Append => ({ ...append, epoch })

for (const { layer: store, name } of stores) {
  layer(store, { excludeTestServices: true })(`RunLog (${name})`, (it) => {
    it.effect("gives back what was appended, in order and byte for byte", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun({ input: "naïve “quotes” \\u0041 \t 漢字 🌍" })
        const big = "9007199254740993.10"
        const first = yield* log.append(run.append(run.started()))
        const second = yield* log.append(run.append(...run.turn({ calls: [{ id: "a", name: "t", arguments: `{"n": ${big},  "b":1}` }] })))
        const read = yield* Stream.runCollect(log.read(run.run))
        assert.deepStrictEqual(read, [...first.steps, ...second.steps].map((step) => step.logged))
        assert.deepStrictEqual(yield* Stream.runCollect(log.read(run.run, 2)), read.slice(2))
        assert.deepStrictEqual(yield* log.state(run.run), run.state())
      }))

    it.effect("keeps the run's row true to its log", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = wholeRun()
        yield* log.append(run.written)
        const row = yield* log.find(run.run)
        const state = run.state()
        assert.strictEqual(row.status, "completed")
        assert.strictEqual(row.seq, state?.seq)
        assert.strictEqual(row.turns, 2)
        assert.strictEqual(row.cost, state?.cost)
        assert.strictEqual(row.owner, null)
        assert.strictEqual(row.inputTokens, 240)
        assert.strictEqual(row.outputTokens, 60)
        assert.deepStrictEqual(yield* log.list({ org: run.org, limit: 10 }), [row])
        assert.deepStrictEqual(yield* log.list({ org: run.org, status: "failed", limit: 10 }), [])
        assert.deepStrictEqual(yield* log.list({ org: run.org, session: run.session, agent: row.agent, before: run.run, limit: 1 }), [])
      }))

    it.effect("answers for a run that there is not", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = RunId.make("nobody")
        const error = yield* Effect.flip(log.find(run))
        assert.strictEqual(error._tag, "RunNotFound")
        assert.strictEqual((yield* Effect.flip(log.state(run)))._tag, "RunNotFound")
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(log.watch(run))))._tag, "RunNotFound")
      }))

    it.effect("refuses a stale epoch, an event out of turn, and a run begun twice", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        const started = run.append(run.started())
        yield* log.append(started)
        const turn = run.append(...run.turn())
        const done = run.append(run.completed())
        assert.strictEqual((yield* Effect.flip(log.append(under(turn, 2))))._tag, "Fenced")
        assert.strictEqual((yield* Effect.flip(log.append(done)))._tag, "Fenced", "a gap")
        yield* log.append(turn)
        assert.strictEqual((yield* Effect.flip(log.append(turn)))._tag, "Fenced", "a repetition")
        assert.strictEqual((yield* Effect.flip(log.append(started)))._tag, "Fenced")
        assert.strictEqual((yield* log.find(run.run)).seq, 3)
      }))

    it.effect("refuses the owner that lost the run, after it was claimed", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const store = yield* Store
        const run = makeRun()
        yield* log.append(run.append(run.started()))
        assert.deepStrictEqual(yield* store.claim(run.run), Option.some(2))
        assert.strictEqual((yield* Effect.flip(log.append(run.append(...run.turn()))))._tag, "Fenced")
        assert.deepStrictEqual(yield* store.claim(RunId.make("nobody")), Option.none())
      }))

    it.effect("lets one active run into a session, and the next when it is over", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const store = yield* Store
        const first = makeRun()
        yield* log.append(first.append(first.started()))
        const second = makeRun({ org: first.org, session: first.session })
        const begin = second.append(second.started())
        const conflict = yield* Effect.flip(log.append(begin))
        assert.strictEqual(conflict._tag, "RunConflict")
        yield* log.append(first.append(...first.turn(), first.completed()))
        yield* log.append(begin)
        assert.deepStrictEqual(Option.map(yield* store.latest(first.org, first.session), (row) => row.run), Option.some(second.run))
      }))

    it.effect("fails a poisoned append alone: all others of its batch are written", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const runs = Array.from({ length: 40 }, () => makeRun())
        const busy = makeRun()
        yield* log.append(busy.append(busy.started()))
        const poison = makeRun({ org: busy.org, session: busy.session })
        const all = [...runs.slice(0, 17), poison, ...runs.slice(17)]
        const outcomes = yield* Effect.forEach(all, (run) => Effect.result(log.append(run.append(run.started()))), { concurrency: "unbounded" })
        assert.deepStrictEqual(outcomes.map((outcome) => outcome._tag), all.map((run) => run === poison ? "Failure" : "Success"))
        for (const run of runs) assert.strictEqual((yield* log.find(run.run)).seq, 1)
        assert.strictEqual((yield* Effect.flip(log.find(poison.run)))._tag, "RunNotFound")
      }))

    it.effect("keeps the order of one run's appends when they are sent without waiting", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        const appends = [run.append(run.started()), run.append(...run.turn({ calls: [{ id: "a", name: "t", arguments: "{}" }] })), run.append(...run.tool("a")), run.append(...run.turn(), run.completed())]
        const pending = appends.map((append) => log.submit(append))
        yield* Effect.forEach(pending, Deferred.await)
        assert.deepStrictEqual((yield* Stream.runCollect(log.read(run.run))).map((logged) => logged.seq), [1, 2, 3, 4, 5, 6, 7, 8])
      }))

    it.effect("tells watchers every event once and in order, from any point, and ends with the run", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        yield* log.append(run.append(run.started()))
        const heard = yield* Deferred.make<void>()
        const watched = Stream.tap(log.watch(run.run), (item) => "event" in item ? Effect.void : Deferred.succeed(heard, undefined))
        const watcher = yield* Effect.forkChild(Stream.runCollect(watched))
        const late = yield* Effect.forkChild(Stream.runCollect(log.watch(run.run, 3)))
        const delta = { _tag: "Delta", turn: 1, kind: "text", text: "We" } as const
        log.fly(run.run, () => [delta])
        log.announce(run.run, delta)
        yield* Deferred.await(heard)
        log.fly(run.run, undefined)
        yield* log.append(run.append(...run.turn({ calls: [{ id: "a", name: "t", arguments: "{}" }] })))
        yield* log.append(run.append(...run.tool("a")))
        yield* log.append(run.append(...run.turn(), run.completed()))
        const seen = yield* Fiber.join(watcher)
        assert.deepStrictEqual(seen.flatMap((item) => "event" in item ? [item.seq] : []), [1, 2, 3, 4, 5, 6, 7, 8])
        assert.deepStrictEqual(seen.flatMap((item) => "event" in item ? [] : [item._tag]), ["Delta"])
        assert.deepStrictEqual((yield* Fiber.join(late)).flatMap((item) => "event" in item ? [item.seq] : []), [4, 5, 6, 7, 8])
        assert.deepStrictEqual((yield* Stream.runCollect(log.watch(run.run, 8))), [])
        assert.isFalse(log.isWatched(run.run))
      }))

    it.effect("reads a long log in pages", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        yield* log.append(run.append(run.started(), ...Array.from({ length: 1_200 }, (_, n) => run.message(`message ${n}`))))
        assert.strictEqual((yield* Stream.runCollect(log.read(run.run))).length, 1_201)
      }))

    it.effect("reads no more of a log at a time than fits, but always something", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const store = yield* Store
        const run = makeRun({ org: "pages" })
        const text = "ü".repeat(300_000)
        yield* log.append(run.append(run.started(), run.message(text), run.message("short"), run.message(text), run.message("short")))
        for (const reads of [store, store.as(OrgId.make("pages"))]) {
          const pages = [yield* reads.read(run.run, 0, { events: 100, bytes: 256 * 1024 })]
          while (pages.at(-1)?.isLast === false) {
            pages.push(yield* reads.read(run.run, pages.at(-1)?.events.at(-1)?.seq ?? 0, { events: 100, bytes: 256 * 1024 }))
          }
          assert.deepStrictEqual(pages.map(({ events }) => events.map(({ seq }) => seq)), [[1, 2], [3, 4], [5]])
          const two = yield* reads.read(run.run, 2, { events: 2, bytes: 10_000_000 })
          assert.deepStrictEqual([two.events.length, two.isLast], [2, false])
          assert.deepStrictEqual(yield* reads.read(run.run, 5, { events: 2, bytes: 1 }), { events: [], isLast: true })
        }
      }))

    it.effect("lets go of who waits for more than ever comes", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        yield* log.append(run.append(run.started()))
        const watching = yield* Effect.forkChild(Stream.runCollect(log.watch(run.run, 500)))
        while (!log.isWatched(run.run)) yield* Effect.yieldNow
        yield* log.append(run.append(...run.turn(), run.completed()))
        assert.deepStrictEqual(yield* Fiber.join(watching), [])
        assert.deepStrictEqual(yield* Stream.runCollect(log.watch(run.run, 500)), [])
      }))

    it.effect("keeps a definition once and finds it again", () =>
      Effect.gen(function*() {
        const store = yield* Store
        const run = makeRun()
        const hash = run.started().definition
        yield* store.define(hash, run.started().agent, "first")
        yield* store.define(hash, run.started().agent, "first")
        assert.deepStrictEqual(yield* store.definition(hash), Option.some("first"))
      }))

    it.effect("knows which runs nobody performs", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const store = yield* Store
        const run = makeRun({ agent: `agent-${name}` })
        yield* log.append(run.append(run.started()))
        const { agent } = run.started()
        assert.isTrue(yield* store.renew)
        assert.deepStrictEqual(yield* store.orphans([agent], [], 10), [run.run])
        assert.deepStrictEqual(yield* store.orphans([agent], [run.run], 10), [])
        assert.deepStrictEqual((yield* store.unclaimed).filter((one) => one.agent === agent), [{ agent, runs: 1 }])
        assert.deepStrictEqual(yield* store.orphans([], [], 10), [])
        yield* log.append(run.append(...run.turn(), run.completed()))
        assert.deepStrictEqual(yield* store.orphans([agent], [], 10), [])
      }))
  })
}
