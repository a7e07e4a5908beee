import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { EventEmitter } from "node:events"
import { launch } from "../../src/Cli/Process.ts"
import { makeSignals, type Signal, Signals } from "../../src/Cli/Signals.ts"

describe("Signals", () => {
  it("interrupt the program, and end it at once the second time", () => {
    const reactions = (...signals: ReadonlyArray<Signal>) => {
      const { code, receive } = makeSignals()
      return [...signals.map((signal, index) => receive(signal, index * 1_000)), code()]
    }
    assert.deepStrictEqual(reactions("SIGINT", "SIGINT"), ["interrupt", "exit", 130])
    assert.deepStrictEqual(reactions("SIGTERM", "SIGTERM"), ["interrupt", "exit", 143])
    assert.deepStrictEqual(reactions("EPIPE", "EPIPE"), ["interrupt", "heard", 0])
    assert.deepStrictEqual(reactions("SIGINT", "EPIPE"), ["interrupt", "heard", 130])
    const { receive } = makeSignals()
    assert.deepStrictEqual([0, 5, 290, 400].map((at) => receive("SIGINT", at)), ["interrupt", "heard", "heard", "exit"])
  })

  it.effect("are heard by a command that heeds them, but for a request to end", () =>
    Effect.gen(function*() {
      const { receive, service } = makeSignals()
      const fiber = yield* Effect.forkChild(service.heeding(service.stop), { startImmediately: true })
      assert.strictEqual(receive("SIGINT", 0), "heard")
      assert.strictEqual(yield* Fiber.join(fiber), "SIGINT")
      const other = makeSignals()
      const waiting = yield* Effect.forkChild(other.service.heeding(other.service.stop), { startImmediately: true })
      assert.strictEqual(other.receive("SIGTERM", 0), "interrupt")
      yield* Fiber.interrupt(waiting)
    }))
})

/** A process as the program sees it. */
const host = () => {
  const events = new EventEmitter()
  const codes: Array<number> = []
  let exited: (code: number) => void = () => {}
  const code = new Promise<number>((resolve) => {
    exited = resolve
  })
  const stdout = { on: (_: "error", listener: () => void) => events.on("EPIPE", listener), write: (_: string, done: () => void) => done() }
  const stderr = { on: (_: "error", listener: () => void) => events.on("stderr", listener) }
  return {
    events,
    codes,
    code: Effect.promise(() => code),
    process: {
      on: (signal: "SIGINT" | "SIGTERM", listener: () => void) => events.on(signal, listener),
      exit: (code: number) => {
        codes.push(code)
        exited(code)
      },
      stdout,
      stderr
    }
  }
}

describe("launch", () => {
  it.live("exits with the program's result", () =>
    Effect.gen(function*() {
      const one = host()
      launch(Effect.succeed(3), one.process)
      one.events.emit("stderr")
      assert.strictEqual(yield* one.code, 3)
    }))

  it.live("exits with the code of the signal that interrupted it", () =>
    Effect.gen(function*() {
      for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["EPIPE", 0]] as const) {
        const one = host()
        launch(Effect.never, one.process)
        one.events.emit(signal)
        assert.strictEqual(yield* one.code, code)
      }
    }))

  it.live("exits at once the second time, and leaves the first to a command that heeds it", () =>
    Effect.gen(function*() {
      const one = host()
      launch(Effect.as(Effect.uninterruptible(Effect.sleep("2 seconds")), 0), one.process)
      one.events.emit("SIGINT")
      yield* Effect.sleep("350 millis")
      one.events.emit("SIGINT")
      assert.deepStrictEqual(one.codes, [130])
      const two = host()
      launch(Effect.flatMap(Signals, (signals) => signals.heeding(Effect.as(signals.stop, 7))), two.process)
      yield* Effect.sleep("20 millis")
      two.events.emit("SIGINT")
      assert.strictEqual(yield* two.code, 7)
    }))
})
