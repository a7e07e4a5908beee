import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Backend } from "../../src/Database/Backend.ts"
import { EmbeddedDuplex } from "../../src/Database/Duplex.ts"
import { freshDirectory } from "../support/databases.ts"

const message = (type: string, body: Buffer) => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const untyped = (code: number, body = Buffer.alloc(0)) => {
  const head = Buffer.alloc(8)
  head.writeInt32BE(body.length + 8, 0)
  head.writeInt32BE(code, 4)
  return Buffer.concat([head, body])
}

const startup = untyped(196608, Buffer.from("user\0postgres\0database\0postgres\0\0"))
const select = message("Q", Buffer.from("SELECT 'found' AS it\0"))

const opened = Effect.gen(function*() {
  const backend = new Backend({
    where: "test",
    settings: { dataDir: `${yield* freshDirectory}/pgdata`, load: undefined, fsync: false },
    deadline: 20_000,
    cancelGrace: 100
  })
  yield* Effect.addFinalizer(() => Effect.promise(() => backend.close()))
  const duplex = new EmbeddedDuplex(backend)
  // Closing the backend ends an open socket with an error, as a server that shuts down does.
  duplex.on("error", () => {})
  let received = Buffer.alloc(0)
  let wake = () => {}
  duplex.on("data", (bytes: Buffer) => {
    received = Buffer.concat([received, bytes])
    wake()
  })
  /** Waits until the answer holds this text, and begins a new answer. */
  const until = (text: string) => Effect.promise(async () => {
    while (!received.toString("latin1").includes(text)) await new Promise<void>((resolve) => wake = resolve)
    received = Buffer.alloc(0)
  })
  const closed = Effect.promise(() => new Promise<void>((resolve) => duplex.once("close", () => resolve())))
  return { backend, closed, duplex, until }
})

describe("the embedded database's socket", () => {
  it.live("refuses encryption, and takes messages in any pieces", () =>
    Effect.gen(function*() {
      const { closed, duplex, until } = yield* opened
      duplex.write(untyped(80877103))
      yield* until("N")
      duplex.write(untyped(80877104))
      yield* until("N")
      duplex.write(startup.subarray(0, 6))
      duplex.write(startup.subarray(6))
      yield* until("Z\0\0\0\u0005I")
      duplex.write(select.subarray(0, 3))
      duplex.write(select.subarray(3, 12))
      duplex.write(Buffer.concat([select.subarray(12), select]))
      yield* until("found")
      duplex.end(message("X", Buffer.alloc(0)))
      yield* closed
    }))

  it.live("takes a cancel request on a second socket, which then closes", () =>
    Effect.gen(function*() {
      const { backend, duplex, until } = yield* opened
      duplex.write(startup)
      yield* until("Z\0\0\0\u0005I")
      const idle = new EmbeddedDuplex(backend)
      const idleClosed = Effect.promise(() => new Promise<void>((resolve) => idle.once("close", () => resolve())))
      idle.write(untyped(80877102, Buffer.alloc(8)))
      yield* idleClosed
      duplex.write(select)
      yield* until("found")
      assert.strictEqual(backend.generations, 1)
    }))

  it.live("ends with an error when the database cannot be opened", () =>
    Effect.gen(function*() {
      const { backend, duplex } = yield* opened
      yield* Effect.promise(() => backend.close())
      const failed = Effect.promise(() => new Promise<Error>((resolve) => duplex.once("error", resolve)))
      duplex.write(startup)
      assert.include((yield* failed).message, "was closed")
    }))

  it.live("gives up what runs when it is destroyed", () =>
    Effect.gen(function*() {
      const { backend, closed, duplex, until } = yield* opened
      duplex.write(startup)
      yield* until("Z\0\0\0\u0005I")
      duplex.write(message("Q", Buffer.from("SELECT count(*) FROM generate_series(1, 100000000000)\0")))
      yield* Effect.sleep("100 millis")
      duplex.destroy()
      yield* closed
      yield* Effect.sleep("300 millis")
      const another = new EmbeddedDuplex(backend)
      another.on("error", () => {})
      another.write(startup)
      yield* Effect.promise(() => new Promise<void>((resolve) => another.once("data", () => resolve())))
      assert.strictEqual(backend.generations, 2)
    }))
})
