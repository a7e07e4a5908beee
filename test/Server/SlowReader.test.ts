import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as net from "node:net"
import { Agent } from "../../src/index.ts"
import { BetweenStore, type Reads, RunLog } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { Address, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"
import { makeRun } from "../support/runs.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })

/** Characters of each of many long events. */
const long = 400_000
const count = 150

/** What was read of logs, in characters. */
const taken = { characters: 0 }

const counted = (reads: Reads): Reads["read"] => (...args) =>
  Effect.tap(reads.read(...args), ({ events }) => Effect.sync(() => taken.characters += JSON.stringify(events, (_, value) => typeof value === "bigint" ? "" : value).length))

const between = Layer.succeed(BetweenStore, (store) => ({
  ...store,
  as: (org) => ({ ...store.as(org), read: counted(store.as(org)) })
}))

/** A connection on which a request was sent, and of which nothing is read until `rest` reads it to its end. */
const silent = Effect.fnUntraced(function*(path: string) {
  const { key, url } = yield* Address
  const { hostname, port } = new URL(url)
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => net.connect(Number(port), hostname).pause()),
    (socket) => Effect.sync(() => socket.destroy())
  )
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${Redacted.value(key)}\r\n\r\n`)
  const rest = Effect.promise(() =>
    new Promise<string>((resolve) => {
      const chunks: Array<Buffer> = []
      socket.on("data", (chunk) => chunks.push(chunk))
      socket.on("close", () => resolve(Buffer.concat(chunks).toString("utf8")))
      socket.resume()
    }))
  return { rest }
})

/** Waits until something was read and then nothing more. */
const settled = Effect.gen(function*() {
  for (let before = 0; before === 0 || before !== taken.characters;) {
    before = taken.characters
    yield* Effect.sleep("500 millis")
  }
})

for (const { layer: runtime, name } of runtimes([agent], testing.script(() => "Hello."))) {
  layer(served(Layer.provide(runtime, between)), { excludeTestServices: true, timeout: 60_000 })(`A long log and a reader that does not read (${name})`, (it) => {
    it.effect("is read a little of, and whole when it reads", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        // Nobody here performs it.
        const run = makeRun({ org: "local", agent: "elsewhere" })
        const text = "x".repeat(long)
        yield* log.append(run.append(run.started()))
        for (let index = 0; index < count; index++) yield* log.append(run.append(run.message(text)))
        yield* log.append(run.append(...run.turn(), run.completed()))
        taken.characters = 0
        const { rest } = yield* silent(`/v1/runs/${run.run}/events`)
        yield* settled
        // A few pages, and what the system keeps of a connection, of 60 million.
        assert.isBelow(taken.characters, 20_000_000)
        const ids = [...(yield* rest).matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
        assert.deepStrictEqual(ids, Array.from({ length: count + 4 }, (_, index) => index + 1))
        assert.isAbove(taken.characters, count * long)
      }).pipe(Effect.scoped), 60_000)
  })
}
