import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as http from "node:http"
import * as net from "node:net"
import { Agent } from "../../src/index.ts"
import * as Server from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, served } from "../support/api.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })
const runtime = testing.layer({ agents: [agent], model: testing.script(() => "Hello.") })

/** Times around the event loop until a server has taken so many connections that come at once. */
const rounds = (url: string, count: number) =>
  Effect.promise(async () => {
    const { hostname, port } = new URL(url)
    const taken: Array<unknown> = []
    // Every connection that a server of this process takes goes through here.
    const { emit } = http.Server.prototype
    http.Server.prototype.emit = function(this: http.Server, event: string | symbol, ...args: Array<unknown>) {
      if (event === "connection") taken.push(args[0])
      return Reflect.apply(emit, this, [event, ...args])
    }
    const clients = Array.from({ length: count }, () => net.connect(Number(port), hostname))
    // The system makes the connections meanwhile; nobody takes one.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    let turns = 0
    for (; taken.length < count && turns < 10_000; turns++) await new Promise((resolve) => setImmediate(resolve))
    http.Server.prototype.emit = emit
    for (const client of clients) client.destroy()
    return turns
  })

layer(served(runtime), { excludeTestServices: true })("A server to which many come at once", (it) => {
  it.effect.skipIf(process.platform !== "linux")("takes many connections each time around its loop, and answers on each", () =>
    Effect.gen(function*() {
      const { url } = yield* Address
      assert.isBelow(yield* rounds(url, 300), 100)
      const answers = yield* Effect.forEach(Array.from({ length: 100 }), () => ask("/health", { headers: { connection: "close" } }), { concurrency: "unbounded" })
      assert.isTrue(answers.every(({ status }) => status === 200))
    }))

  it.effect("lets no other server have its port", () =>
    Effect.gen(function*() {
      const port = Number(new URL((yield* Address).url).port)
      const error = yield* Effect.flip(Effect.scoped(Effect.provide(Effect.void, Server.layer({ port }))))
      assert.strictEqual(error._tag, "ServeError")
      assert.include(String(error.cause), "EADDRINUSE")
    }))
})
