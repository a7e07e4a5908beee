import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { MessageChannel } from "node:worker_threads"
import { wholeMessages } from "../../src/Database/Duplex.ts"
import type { Answer, Request } from "../../src/Database/EmbeddedWorker.ts"
import { serve } from "../../src/Database/EmbeddedWorker.ts"
import { scratchPath } from "../support/databases.ts"

/** The worker's code over a channel, in this thread. */
const served = Effect.fnUntraced(function*(settings: { readonly dataDir?: string; readonly load?: Uint8Array<ArrayBuffer>; readonly fsync?: boolean }) {
  const { port1, port2 } = yield* Effect.acquireRelease(Effect.sync(() => new MessageChannel()), ({ port1 }) => Effect.sync(() => port1.close()))
  const answers: Array<Answer> = []
  let wake = () => {}
  port1.on("message", (answer: Answer) => {
    answers.push(answer)
    wake()
  })
  const next = Effect.promise(async () => {
    while (answers.length === 0) await new Promise<void>((resolve) => wake = resolve)
    return answers.shift()
  })
  const flow = new SharedArrayBuffer(8)
  yield* Effect.promise(() =>
    serve(port2, { "conductor-ai/Database/EmbeddedWorker": true, dataDir: settings.dataDir, load: settings.load, fsync: settings.fsync ?? false, flow, code: undefined })
  )
  const ask = (request: Request) => Effect.suspend(() => {
    port1.postMessage(request)
    return next
  })
  return { ask, flow: new Int32Array(flow), next }
})

const query = (sql: string): Uint8Array<ArrayBuffer> => {
  const text = new TextEncoder().encode(`${sql}\0`)
  const bytes = new Uint8Array(text.length + 5)
  bytes[0] = 0x51
  new DataView(bytes.buffer).setInt32(1, text.length + 4)
  bytes.set(text, 5)
  return bytes
}

describe("the database thread's code", () => {
  it.live("executes, dumps, closes, and loads a dump", () =>
    Effect.gen(function*() {
      const dataDir = scratchPath("worker")
      const first = yield* served({ dataDir, fsync: true })
      assert.strictEqual((yield* first.next)?.tag, "Ready")
      const data = yield* first.ask({ tag: "Exec", bytes: query("CREATE TABLE t AS SELECT 42 AS answer") })
      assert.strictEqual(data?.tag, "Data")
      assert.strictEqual((yield* first.next)?.tag, "Done")
      const dumped = yield* first.ask({ tag: "Dump" })
      assert(dumped?.tag === "Dumped")
      assert.strictEqual((yield* first.ask({ tag: "Close" }))?.tag, "Closed")
      assert.strictEqual((yield* first.ask({ tag: "Dump" }))?.tag, "Failed")
      const second = yield* served({ load: dumped.bytes })
      assert.strictEqual((yield* second.next)?.tag, "Ready")
      const answer = yield* second.ask({ tag: "Exec", bytes: query("SELECT answer, repeat('x', 600000) FROM t") })
      assert(answer?.tag === "Data")
      assert.include(Buffer.from(answer.bytes).toString("latin1"), "42")
      assert.isAbove(Atomics.load(second.flow, 0), 0)
      // A statement that a request cannot execute: the thread says so and goes on.
      yield* second.next
      assert.strictEqual((yield* second.ask({ tag: "Exec", bytes: new Uint8Array(0) }))?.tag, "Done")
    }), 60_000)

  it.live("says why it cannot open", () =>
    Effect.gen(function*() {
      const { next } = yield* served({ dataDir: "/proc/nowhere/at/all" })
      const answer = yield* next
      assert(answer?.tag === "Failed")
      assert.isNotEmpty(answer.message)
    }))

  it("cuts a stream of bytes at the ends of messages", () => {
    const one = query("SELECT 1")
    const two = Buffer.concat([one, query("SELECT 2")])
    assert.strictEqual(wholeMessages(one, true), one.length)
    assert.strictEqual(wholeMessages(two, true), two.length)
    assert.strictEqual(wholeMessages(two.subarray(0, two.length - 1), true), one.length)
    assert.strictEqual(wholeMessages(one.subarray(0, 4), true), 0)
    const startup = new Uint8Array([0, 0, 0, 8, 0, 3, 0, 0])
    assert.strictEqual(wholeMessages(startup, false), 8)
    assert.strictEqual(wholeMessages(startup.subarray(0, 7), false), 0)
    assert.strictEqual(wholeMessages(Buffer.concat([startup, one]), false), 8)
    assert.strictEqual(wholeMessages(new Uint8Array([0x51, 255, 255, 255, 255]), true), 0)
  })
})
