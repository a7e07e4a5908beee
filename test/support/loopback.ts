import type * as http from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"

/** Lets a server listen on a free port of 127.0.0.1 until the end of the scope, whoever is still connected; its URL. */
export const onLoopback = (server: http.Server): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () => Effect.promise(() => {
      server.closeAllConnections()
      return new Promise<void>((resolve) => server.close(() => resolve()))
    })
  ).pipe(Effect.map(() => {
    const { port } = server.address() as AddressInfo // a server that listens on a port has such an address
    return `http://127.0.0.1:${port}`
  }))
