import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import { BadRequest, HeadersTooLarge, RequestTimeout } from "../Api.ts"
import { encoded } from "./Answer.ts"
import type { RequestLimits } from "./Limits.ts"
import { SharedServer } from "./Listeners.ts"

/** How long requests under way may take when the server closes. */
const patience = "2 seconds"

/** Milliseconds between two looks at which requests take too long. */
const checking = 1_000

/** Answers what is not even a request, in the shape of every other answer, and closes the connection. */
const refuse = (limits: RequestLimits) => (error: NodeJS.ErrnoException, socket: Duplex) => {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy()
  const problem = error.code === "HPE_HEADER_OVERFLOW"
    ? new HeadersTooLarge()
    : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
    ? new RequestTimeout({ limitMs: limits.headersMs })
    : new BadRequest({ problems: [{ path: [], message: "it is not HTTP" }] })
  const { body, status } = encoded(problem)
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
}

/** Node's server within limits, and how it lets go of connections that are still there some time after it was to close. */
export const makeNodeServer = (limits: RequestLimits) => {
  const server = new SharedServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    // Handlers end slow bodies sooner and in words; this is for those that nobody reads.
    requestTimeout: limits.headersMs + limits.bodyMs + checking,
    connectionsCheckingInterval: checking,
    keepAliveTimeout: 30_000
  })
  server.maxHeadersCount = 100
  server.on("clientError", refuse(limits))
  const close = Effect.asVoid(Effect.forkDetach(Effect.andThen(Effect.sleep(patience), Effect.sync(() => server.closeAllConnections()))))
  return { server, close }
}
