import { type AddressInfo, createServer, type ListenOptions, type Server } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as HttpServer from "effect/http/HttpServer"
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

const listening = (server: Server, options: ListenOptions): Effect.Effect<number, ServeError> =>
  Effect.callback((resume) => {
    const failed = (cause: Error) => resume(Effect.fail(new ServeError({ cause })))
    server.once("error", failed)
    server.listen(options, () => {
      server.off("error", failed)
      // It listens on TCP, so that it has an address.
      resume(Effect.succeed((server.address() as AddressInfo).port))
    })
  })

const closed = (server: Server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))

/** How to listen on a port that nobody else has: sockets that share one would let another server in unnoticed. */
export const claim = Effect.fnUntraced(function*(host: string, port: number): Effect.fn.Return<ListenOptions, ServeError> {
  if (!canShare) return { host, port, backlog }
  const probe = createServer()
  const claimed = yield* listening(probe, { host, port })
  yield* closed(probe)
  return { host, port: claimed, backlog, reusePort: true }
})

/** Takes connections for a server on further sockets of its port, as long as the scope lasts. */
export const share = Effect.fnUntraced(function*(server: Server, options: ListenOptions): Effect.fn.Return<
  void,
  never,
  HttpServer.HttpServer | Scope.Scope
> {
  // It listens by now.
  yield* HttpServer.HttpServer
  if (options.reusePort !== true) return
  for (let count = 1; count < sockets; count++) {
    const another = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => server.emit("connection", socket))
    yield* Effect.acquireRelease(
      // The server listens without it too.
      Effect.ignore(listening(another, options)),
      () => Effect.sync(() => another.close())
    )
  }
})
