import * as http from "node:http"
import { Effect, type Scope } from "effect"
import { onLoopback } from "./loopback.ts"

/** One exchange as it is played back: bytes, and where they are cut, held up or broken off. */
export interface Script {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  /** Ends of the pieces in bytes; the whole body in one piece when left out. */
  readonly cuts?: ReadonlyArray<number>
  /** Sends pieces of that many bytes instead. */
  readonly pieces?: number
  /** Milliseconds of real time between pieces; pieces otherwise follow each other at once. */
  readonly gap?: number
  /** What happens after the bytes: the end (default), a reset of the connection, or nothing any more. */
  readonly then?: "end" | "reset" | "hang"
}

/** A request as it came in. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** A loopback server that plays scripts back, one a request, the last again and again. */
export interface Replay {
  readonly url: string
  readonly received: ReadonlyArray<Received>
  /** How many connections there have been. */
  readonly connections: () => number
  /** Completes when the client has closed a connection whose answer was not over. */
  readonly closed: Effect.Effect<void>
  /** Completes when every byte of an answer has been written. */
  readonly written: Effect.Effect<void>
  readonly play: (...scripts: ReadonlyArray<Script>) => void
}

const piecesOf = (script: Script): ReadonlyArray<Uint8Array> => {
  const bytes = typeof script.body === "string" ? Buffer.from(script.body, "utf8") : script.body
  const ends = script.pieces === undefined
    ? [...(script.cuts ?? []), bytes.length]
    : Array.from({ length: Math.ceil(bytes.length / script.pieces) }, (_, index) => Math.min(bytes.length, (index + 1) * (script.pieces ?? 1)))
  let start = 0
  return ends.map((end) => {
    const piece = bytes.subarray(start, end)
    start = end
    return piece
  }).filter((piece) => piece.length > 0)
}

const latch = () => {
  let open: () => void = () => {}
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, wait: Effect.promise(() => promise) }
}

/** Starts a replayer on a free port of 127.0.0.1; it ends with the scope. */
export const replay = (...first: ReadonlyArray<Script>): Effect.Effect<Replay, never, Scope.Scope> =>
  Effect.gen(function*() {
    let scripts = [...first]
    const received: Array<Received> = []
    const closed = latch()
    const written = latch()
    const server = http.createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        received.push({
          method: request.method ?? "",
          path: request.url ?? "",
          headers: request.headers,
          body: Buffer.concat(chunks).toString("utf8")
        })
        const script = scripts.length > 1 ? scripts.shift() : scripts[0]
        if (script === undefined) {
          response.writeHead(500).end()
          return
        }
        response.on("close", () => {
          if (!response.writableFinished) closed.open()
        })
        response.socket?.setNoDelay(true)
        response.writeHead(script.status ?? 200, { "content-type": "text/event-stream; charset=utf-8", ...script.headers })
        const pieces = piecesOf(script)
        const finish = () => {
          written.open()
          if (script.then === "reset") response.socket?.resetAndDestroy()
          else if (script.then !== "hang") response.end()
        }
        const write = (index: number): void => {
          if (response.destroyed) return
          const piece = pieces[index]
          if (piece === undefined) return finish()
          response.write(piece, () => {
            if (script.gap === undefined) setImmediate(() => write(index + 1))
            else setTimeout(() => write(index + 1), script.gap)
          })
        }
        if (pieces.length === 0) response.flushHeaders()
        write(0)
      })
    })
    let connections = 0
    server.on("connection", () => connections++)
    const url = yield* onLoopback(server)
    return {
      url,
      received,
      connections: () => connections,
      closed: closed.wait,
      written: written.wait,
      play: (...next) => {
        scripts = [...next]
      }
    }
  })
