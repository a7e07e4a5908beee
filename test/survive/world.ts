/** The other side of the tools' effects: a server on the loopback that counts what reaches it, and sometimes takes its time. */
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout } from "node:timers/promises"
import { between, chance } from "../support/chance.ts"

/** What reached the other side of one tool call. */
export interface Seen {
  /** How often the call was made. */
  requests: number
  /** How often it had its effect. */
  effects: number
  readonly keys: Set<string>
}

/** The other side. */
export interface World {
  readonly url: string
  /** By the name of the call; see {@link callName}. */
  readonly calls: ReadonlyMap<string, Seen>
  readonly stop: () => Promise<void>
}

/** Names a tool call: the run's number, the turn, and the call's place in it. */
export const callName = (call: { readonly n: number; readonly turn: number; readonly index: number }): string => `${call.n}.${call.turn}.${call.index}`

/** What a handler tells the other side. */
export interface Letter {
  readonly call: string
  readonly key: string
}

const bodyOf = async (request: http.IncomingMessage): Promise<Letter> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer) // a request gives buffers
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Letter // the handlers' own
}

/** Starts the other side. */
export const startWorld = async (seed: string): Promise<World> => {
  const calls = new Map<string, Seen>()
  const keys = new Set<string>()
  const seen = (call: string): Seen => {
    const known = calls.get(call) ?? { requests: 0, effects: 0, keys: new Set() }
    calls.set(call, known)
    return known
  }

  const answer = (path: string, { call, key }: Letter): unknown => {
    const one = seen(call)
    switch (path) {
      // Has its effect once for each key.
      case "/idempotent":
      case "/reconcilable":
        one.requests++
        one.keys.add(key)
        // Who can be asked does not need to deduplicate.
        if (path === "/reconcilable" || !keys.has(key)) one.effects++
        keys.add(key)
        return {}
      // Has its effect each time.
      case "/unsafe":
        one.requests++
        one.effects++
        return {}
      case "/reconcile":
        if (chance(seed, "unknown", call) < 0.1) return { state: "unknown" }
        return { state: one.effects > 0 ? "done" : "not-done" }
      // A person looks whether it happened.
      case "/look":
        return { happened: one.effects > 0 }
      default:
        return undefined
    }
  }

  const server = http.createServer((request, response) => {
    void (async () => {
      const letter = await bodyOf(request)
      const said = answer(request.url ?? "", letter)
      // Between the effect and the answer there is time to be killed in.
      await setTimeout(between(0, 12, seed, "world", letter.call))
      response.writeHead(said === undefined ? 404 : 200, { "content-type": "application/json" })
      response.end(JSON.stringify(said ?? {}))
    })().catch(() => response.destroy())
  })
  server.keepAliveTimeout = 600_000
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(0, "127.0.0.1", resolve)
  })
  const { port } = server.address() as AddressInfo // it listens on a port
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
