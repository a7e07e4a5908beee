import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import * as net from "node:net"
import * as path from "node:path"
import { inject } from "vitest"
import { Address, ask, events, type Loose } from "../support/api.ts"
import { type Chance, makeChance } from "../support/chance.ts"

/** How many; `npm run disconnect` makes ten thousand. */
const count = Number(process.env["CONDUCTOR_DISCONNECTS"] ?? 400)

/** The heap may grow by that much, with every run still in memory. */
const bound = 60_000_000 + count * 20_000

const message = (child: ChildProcess) =>
  Effect.promise(() =>
    new Promise<Loose>((resolve, reject) => {
      child.once("message", resolve)
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)))
    }))

const faultyServer = Effect.acquireRelease(
  Effect.sync(() => fork(path.join(import.meta.dirname, "../support/faultyServer.ts"), [`store ${inject("seed")}`], { execArgv: ["--no-warnings", "--expose-gc"], stdio: ["ignore", "inherit", "inherit", "ipc"] })),
  (child) => Effect.sync(() => child.kill("SIGKILL"))
)

const heapOf = (child: ChildProcess) =>
  Effect.suspend(() => {
    const heap = message(child)
    child.send("heap")
    return Effect.map(heap, (said) => Number(said.heap))
  })

/** Sends a part of a request, or all of it, takes a part of what is answered, and is gone. */
const disconnect = (url: URL, head: string, body: string, chance: Chance) =>
  Effect.promise(() =>
    new Promise<void>((resolve) => {
      const socket = net.connect(Number(url.port), url.hostname)
      const text = `${head}\r\nhost: ${url.host}\r\n${body === "" ? "" : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`}\r\n${body}`
      const sent = chance.is(0.3) ? text.slice(0, chance.below(text.length)) : text
      const enough = chance.below(6_000)
      let received = 0
      const go = () => {
        if (chance.is(0.5)) socket.resetAndDestroy()
        else socket.destroy()
      }
      socket.on("connect", () => socket.write(sent))
      socket.on("data", (chunk) => {
        received += chunk.length
        if (chance.is(0.1)) socket.pause()
        if (received >= enough) go()
      })
      socket.on("error", () => {})
      socket.on("close", () => resolve())
      setTimeout(go, chance.below(250))
    }))

describe("a server whose clients come and go, and whose store fails now and then", () => {
  it.live(`lives through ${count} disconnects: nothing is uncaught, no memory is held, every run ends`, () =>
    Effect.gen(function*() {
      const server = yield* faultyServer
      const { key, url } = yield* message(server)
      const address = Address.of({ url, key: Redacted.make(key) })
      const before = yield* heapOf(server)
      const chance = makeChance(`clients ${inject("seed")}`)
      const started: Array<string> = []
      const bearer = `authorization: Bearer ${key}`
      const start = Effect.gen(function*() {
        const { body, status } = yield* ask("/v1/runs", { body: { input: "Where does it rain?" } })
        if (status === 202) started.push(body.run)
        else assert.strictEqual(status, 503, JSON.stringify(body))
      }).pipe(Effect.provideService(Address, address))
      yield* Effect.forEach(Array.from({ length: count }), (_, index) =>
        Effect.gen(function*() {
          if (index % 10 === 0) yield* start
          const run = chance.of(started) ?? "none"
          const place = chance.is(0.5) ? `\r\nlast-event-id: ${chance.below(14)}` : ""
          const input = `{"input":"Where does it rain?"}`
          const [head, body] = chance.of([
            [`GET /v1/runs/${run}/events HTTP/1.1\r\n${bearer}${place}`, ""],
            [`GET /v1/runs/${run}/events HTTP/1.1\r\n${bearer}${place}`, ""],
            [`GET /v1/runs/${run} HTTP/1.1\r\n${bearer}`, ""],
            [`POST /v1/runs HTTP/1.1\r\n${bearer}`, input],
            [`POST /v1/runs/${run}/messages HTTP/1.1\r\n${bearer}`, `{"text":"And elsewhere?"}`]
          ] as const)
          yield* disconnect(new URL(url), head, body, chance)
        }), { concurrency: 40 })
      for (const run of started) {
        const whole = yield* Effect.gen(function*() {
          const seen: Array<number> = []
          for (let again = 0; again < 200; again++) {
            const { sent, status } = yield* events(run, { after: seen.length })
            if (status === 204) break
            for (const { id } of sent) if (id !== null) seen.push(id)
            if (sent.at(-1)?.event === "RunCompleted") break
          }
          const { body } = yield* ask(`/v1/runs/${run}`).pipe(Effect.repeat({ until: ({ status }) => status === 200 }))
          return { seen, body }
        }).pipe(Effect.provideService(Address, address))
        assert.strictEqual(whole.body.status, "completed", JSON.stringify(whole.body.error))
        assert.deepStrictEqual(whole.seen, whole.seen.map((_, at) => at + 1))
        assert.strictEqual(whole.seen.length, whole.body.seq)
      }
      const after = yield* heapOf(server)
      assert.isBelow(after - before, bound, `${Math.round(before / 1e6)} MB before, ${Math.round(after / 1e6)} MB after`)
      console.log(`${count} disconnects, ${started.length} runs followed, heap ${Math.round(before / 1e6)} → ${Math.round(after / 1e6)} MB`)
      assert.isNull(server.exitCode)
    }).pipe(Effect.scoped), 120_000 + count * 100)
})
