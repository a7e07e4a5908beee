/** The parent's server for processes of `fleet.ts`: it answers model requests and handlers when the test says so, and remembers both. */
import { Effect } from "effect"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import type { Said } from "./fleet.ts"

/** A request to the model. */
export interface Asked {
  /** The process that asked. */
  readonly name: string
  /** What the users said, the run's input first. */
  readonly users: ReadonlyArray<string>
  readonly turn: number
}

/** An execution of a handler. */
export interface Executed {
  readonly name: string
  readonly tool: string
  readonly run: string
  readonly id: string
  readonly key: string
}

/** How a test leads the agents. */
export interface Direction {
  readonly model: (asked: Asked) => Said
  /** Resolves when the handler may end. */
  readonly call: (executed: Executed) => Promise<unknown>
}

/** What has reached the server. */
export interface Director {
  readonly url: string
  readonly asked: ReadonlyArray<Asked>
  readonly executed: ReadonlyArray<Executed>
  /** Waits until so many handlers have asked: a call that has begun in the log need not have come that far. */
  readonly arrived: (count: number) => Effect.Effect<void>
}

/** Starts the server; it ends with the scope. */
export const direct = (direction: Direction) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const asked: Array<Asked> = []
      const executed: Array<Executed> = []
      const server = http.createServer((request, response) => {
        void (async () => {
          const chunks: Array<Buffer> = []
          for await (const chunk of request) chunks.push(chunk as Buffer) // a request gives buffers
          const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"))
          if (request.url === "/model") asked.push(body as Asked) // the model's own
          else executed.push(body as Executed) // the handlers' own
          const said = request.url === "/model" ? direction.model(body as Asked) : await direction.call(body as Executed)
          response.end(JSON.stringify(said ?? null))
        })().catch(() => response.destroy())
      })
      server.keepAliveTimeout = 600_000
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const { port } = server.address() as AddressInfo // it listens on a port
      const director: Director = {
        url: `http://127.0.0.1:${port}`,
        asked,
        executed,
        arrived: (count) => Effect.suspend(() => executed.length >= count ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), director.arrived(count)))
      }
      return { director, server }
    }),
    ({ server }) =>
      Effect.promise(() =>
        new Promise<void>((resolve) => {
          server.close(() => resolve())
          server.closeAllConnections()
        })
      )
  ).pipe(Effect.map(({ director }) => director))
