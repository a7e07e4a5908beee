import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Conductor, Run } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { freshPostgres } from "../support/databases.ts"
import { onlooker } from "./campaign.ts"
import { direct } from "./director.ts"
import { started } from "./processes.ts"

/** Sends a signal to a process that this test has started. */
const signal = (pid: number | undefined, name: "SIGSTOP" | "SIGCONT") => Effect.sync(() => process.kill(pid ?? Number.NaN, name))

describe("ten processes and one run", () => {
  it.live("one takes it over when its owner stands still past its lease, and the owner's writes are refused", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const at = { url: Redacted.value(url) }
      let letOwnerGo: (value: unknown) => void = () => {}
      const held = new Promise((resolve) => {
        letOwnerGo = resolve
      })
      const director = yield* direct({
        model: ({ turn }) => turn === 1 ? { calls: [{ id: "a", name: "idempotent" }] } : { text: "Done." },
        call: ({ name }) => name === "owner" ? held : Promise.resolve(name)
      })
      const owner = yield* started({ name: "owner", at, server: director.url, lease: 1_000 })
      const racers = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, index) => `racer${index}`),
        // The winner's own lease is not what is tried here.
        (name) => started({ name, at, server: director.url, lease: 20_000 }),
        { concurrency: 10 }
      )
      owner.order({ start: "raced", input: "Go." })
      yield* owner.saw("event raced ToolStarted a")
      const run = Run.RunId.make((yield* owner.saw("started raced ")).split(" ")[2] ?? "")
      yield* director.arrived(1)
      yield* signal(owner.child.pid, "SIGSTOP")
      for (const racer of racers) racer.order({ join: "raced" })
      for (const racer of racers) yield* racer.saw("ended raced completed")

      // The answer that the owner waits for is there when it wakes up, so it goes on as if nothing had been.
      letOwnerGo("owner")
      owner.order({ write: "raced" })
      yield* signal(owner.child.pid, "SIGCONT")
      assert.include(yield* owner.saw("wrote raced "), "Fenced")
      // Who waits at the owner for the run gets the winner's answer.
      yield* owner.saw("ended raced completed")

      yield* Effect.gen(function*() {
        const events = yield* testing.events(run)
        yield* testing.check(run)
        assert.deepStrictEqual(events.map(({ event }) => event._tag), [
          "RunStarted", "RunClaimed", "TurnStarted", "TurnCompleted", "ToolStarted", "RunClaimed", "ToolStarted", "ToolCompleted",
          "TurnStarted", "TurnCompleted", "RunCompleted"
        ])
        assert.deepStrictEqual(events.map(({ epoch }) => epoch), [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
        assert.strictEqual((yield* (yield* Conductor).find(run)).epoch, 2)
      }).pipe(Effect.provide(onlooker(at)))
      const winners = director.executed.filter(({ name }) => name !== "owner").map(({ name }) => name)
      assert.strictEqual(winners.length, 1)
      assert.deepStrictEqual(director.asked.map(({ name, turn }) => [name, turn]), [["owner", 1], [winners[0], 2]])
    }), 240_000)

  it.live("goes on at once in another process when its own is told to end", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const at = { url: Redacted.value(url) }
      const director = yield* direct({
        model: ({ turn }) => turn === 1 ? { calls: [{ id: "a", name: "idempotent" }] } : { text: "Done." },
        call: ({ name }) => name === "owner" ? new Promise(() => {}) : Promise.resolve(name)
      })
      // The lease is much longer than the test waits.
      const owner = yield* started({ name: "owner", at, server: director.url, lease: 60_000 })
      const next = yield* started({ name: "next", at, server: director.url, lease: 60_000 })
      owner.order({ start: "handed", input: "Go." })
      yield* owner.saw("event handed ToolStarted a")
      const run = Run.RunId.make((yield* owner.saw("started handed ")).split(" ")[2] ?? "")
      yield* director.arrived(1)
      owner.child.kill("SIGTERM")
      yield* owner.saw("event handed RunParked")
      next.order({ join: "handed" })
      yield* owner.saw("disposed")
      yield* next.saw("ended handed completed")
      yield* Effect.gen(function*() {
        const events = yield* testing.events(run)
        assert.deepStrictEqual(events.flatMap(({ event }) => event._tag === "RunParked" ? [event.reason] : []), ["shutdown"])
        yield* testing.check(run)
      }).pipe(Effect.provide(onlooker(at)))
      assert.deepStrictEqual(director.executed.map(({ name }) => name), ["owner", "next"])
      assert.strictEqual(new Set(director.executed.map(({ key }) => key)).size, 1)
    }), 240_000)
})
