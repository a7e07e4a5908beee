import { Server } from "node:http"
import { type AddressInfo, createServer, type ListenOptions, type Server as Listener } from "node:net"
import * as Effect from "effect/Effect"
import { ServeError } from "effect/http/HttpServerError"

/**
 * Connections that the system holds until they are taken, as far as it lets us (`net.core.somaxconn`). Of Node's 511 the rest of a
 * thousand that come at once is turned away, and tries again after a second or three.
 */
const backlog = 4_096

/**
 * Sockets that listen on the one port. Of each, Node takes one connection each time around its loop: with one socket, a thousand readers
 * who come back at once wait for a thousand rounds, and so does whoever asks after the server's health.
 */
const sockets = 64

/** Whether the system spreads connections over sockets of one port: Linux does. */
const canShare = process.platform === "linux"

const listening = (server: Listener, options: ListenOptions): Effect.Effect<number, ServeError> =>
  Effect.callback((resume) => {
    const failed = (cause: Error) => resume(Effect.fail(new ServeError({ cause })))
    server.once("error", failed)
    server.listen(options, () => {
      server.off("error", failed)
      // It listens on TCP, so that it has an address.
      resume(Effect.succeed((server.address() as AddressInfo).port))
    })
  })

const closed = (server: Listener) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))

/** How to listen on a port that nobody else has: sockets that share one would let another server in unnoticed. */
export const claim = Effect.fnUntraced(function*(host: string, port: number): Effect.fn.Return<ListenOptions, ServeError> {
  if (!canShare) return { host, port, backlog }
  const probe = createServer()
  const claimed = yield* listening(probe, { host, port })
  yield* closed(probe)
  return { host, port: claimed, backlog, reusePort: true }
})

/** A server that takes its connections on several sockets, and is closed when all of them are. */
export class SharedServer extends Server {
  readonly #others: Array<Listener> = []

  /** Takes connections on further sockets of its port, until it is closed. */
  share(options: ListenOptions): Effect.Effect<void> {
    if (options.reusePort !== true) return Effect.void
    return Effect.forEach(Array.from({ length: sockets - 1 }), () => {
      const other = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.emit("connection", socket))
      return Effect.matchEffect(listening(other, options), {
        // It listens without this one too.
        onFailure: () => Effect.void,
        onSuccess: () => Effect.sync(() => this.#others.push(other))
      })
    }, { discard: true })
  }

  override close(done?: (error?: Error) => void): this {
    const others = this.#others.splice(0)
    let open = others.length + 1
    const one = (error?: Error) => {
      if (--open === 0) done?.(error)
    }
    for (const other of others) other.close(() => one())
    return super.close(one)
  }
}
