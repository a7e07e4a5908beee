import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Redacted, Result, Schedule } from "effect"
import { Conductor, Run } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { freshPostgres } from "../support/databases.ts"
import { onlooker } from "./campaign.ts"
import { direct } from "./director.ts"
import { started } from "./processes.ts"

/** The value that so much of a sample does not exceed. */
const percentile = (sample: ReadonlyArray<number>, share: number): number =>
  sample.toSorted((a, b) => a - b)[Math.ceil(sample.length * share) - 1] ?? Number.NaN

const idOf = (report: string) => Run.RunId.make(report.split(" ")[2] ?? "")

describe("commands from another process", () => {
  it.live("cancel runs in a model call and in handlers, fifty times", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const at = { url: Redacted.value(url) }
      const director = yield* direct({
        model: ({ users: [number] }) =>
          Number(number) % 2 === 0 ? { text: "A long ans", hang: true } : { calls: [{ id: "a", name: "idempotent" }, { id: "b", name: "unsafe" }] },
        call: () => new Promise(() => {})
      })
      const owner = yield* started({ name: "owner", at, server: director.url })
      const latencies: Array<number> = []
      const starts: Array<number> = []
      yield* Effect.gen(function*() {
        for (let number = 0; number < 50; number++) {
          const ordered = yield* Clock.currentTimeMillis
          owner.order({ start: `c${number}`, input: String(number) })
          const run = idOf(yield* owner.saw(`started c${number} `))
          starts.push((yield* Clock.currentTimeMillis) - ordered)
          if (number % 2 === 0) yield* owner.saw(`event c${number} TurnStarted`)
          else yield* owner.saw(`event c${number} ToolStarted b`)
          yield* Effect.sleep("20 millis")
          const asked = yield* Clock.currentTimeMillis
          yield* Conductor.cancel(run, "enough")
          // Reported when it is durable.
          yield* owner.saw(`event c${number} RunCancelled`)
          latencies.push((yield* Clock.currentTimeMillis) - asked)
          const end = (yield* testing.events(run)).at(-1)?.event
          assert.isTrue(end?._tag === "RunCancelled" && end.reason === "enough" && end.left.length === 0)
          const state = yield* testing.check(run)
          assert.strictEqual(state.open, null)
        }
      }).pipe(Effect.provide(onlooker(at)))
      const [median, p95, most] = [0.5, 0.95, 1].map((share) => percentile(latencies, share))
      console.log(`From a command to cancel in one process to the durable RunCancelled in another: median ${median} ms, p95 ${p95} ms, most ${most} ms (50 runs)`)
      // Where other processes make even the start of a run slow, a cancel takes no longer than that.
      assert.isAtMost(median ?? Number.NaN, Math.max(250, percentile(starts, 0.5)))
    }), 240_000)

  it.live("are heard by a run in the middle of a turn, in order, and once each", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const at = { url: Redacted.value(url) }
      let letGo: (value: unknown) => void = () => {}
      const held = new Promise((resolve) => {
        letGo = resolve
      })
      const director = yield* direct({
        model: ({ turn }) => turn === 1 ? { calls: [{ id: "a", name: "idempotent" }] } : { text: "Done." },
        call: () => held
      })
      const owner = yield* started({ name: "owner", at, server: director.url })
      owner.order({ start: "told", input: "Go." })
      yield* owner.saw("event told ToolStarted a")
      const run = idOf(yield* owner.saw("started told "))
      yield* Effect.gen(function*() {
        const conductor = yield* Conductor
        for (const text of ["first", "second", "third"]) {
          yield* conductor.send(run, text)
          // A sender who does not know whether it was accepted sends it again.
          yield* conductor.send(run, text, { dedupe: text })
          yield* conductor.send(run, text, { dedupe: text })
        }
        letGo("done")
        yield* owner.saw("ended told completed")
        assert.deepStrictEqual(director.asked.at(-1)?.users, ["Go.", "first", "first", "second", "second", "third", "third"])
        yield* testing.check(run)
      }).pipe(Effect.provide(onlooker(at)))
    }), 240_000)

  it.live("decide about and resolve calls of runs that nobody performs, and somebody goes on with them", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const at = { url: Redacted.value(url) }
      const director = yield* direct({
        model: ({ turn }) =>
          turn > 1 ? { text: "Done." } : { calls: [{ id: "a", name: "guarded" }, { id: "b", name: "unsafe" }, { id: "c", name: "guarded" }] },
        call: ({ id, name }) => name === "first" && id === "b" ? new Promise(() => {}) : Promise.resolve(id)
      })
      const first = yield* started({ name: "first", at, server: director.url, lease: 3_000 })
      first.order({ start: "asked", input: "Go." })
      const run = idOf(yield* first.saw("started asked "))
      yield* first.saw("event asked ToolStarted b")
      yield* first.saw("event asked ApprovalRequested c")
      yield* director.arrived(1)
      yield* Effect.promise(() => first.kill())
      const second = yield* started({ name: "second", at, server: director.url, lease: 3_000 })
      yield* Effect.gen(function*() {
        const conductor = yield* Conductor
        second.order({ join: "asked" })
        assert.include(yield* second.saw("ended asked "), "RunWaiting")
        const [a, c] = yield* conductor.approvals()
        assert.deepStrictEqual([a?.call, c?.call], ["a", "c"])
        const [first, ...others] = yield* Effect.forEach(
          Array.from({ length: 5 }),
          () => Effect.result(conductor.decide(a?.id ?? "", { decision: "approved" })),
          { concurrency: 5 }
        )
        const decided = [first, ...others].filter((one) => one !== undefined && Result.isSuccess(one)).length
        assert.strictEqual(decided, 1, "one decision of five counts")
        yield* conductor.resolve(run, "b", { resolution: "happened", result: "\"it did\"" })
        yield* conductor.decide(c?.id ?? "", { decision: "denied", comment: "Too dear." })
        const end = yield* conductor.result(run).pipe(
          Effect.retry({ while: (error) => error._tag === "RunWaiting", schedule: Schedule.spaced("50 millis") })
        )
        assert.strictEqual(end.text, "Done.")
        const state = yield* testing.check(run)
        const results = state.messages.flatMap((message) => message.role === "tool" ? message.results.map(({ result }) => result) : [])
        assert.deepStrictEqual(results.slice(0, 2), ["\"a\"", "\"it did\""])
        assert.include(results[2], "Too dear.")
      }).pipe(Effect.provide(onlooker(at)))
      assert.deepStrictEqual(director.executed.map(({ id, name }) => `${name} ${id}`), ["first b", "second a"])
    }), 240_000)
})
