/** A collector on the loopback that takes OTLP over HTTP as JSON, and keeps what it is sent. */
import * as http from "node:http"
import { Effect, type Scope } from "effect"
import { onLoopback } from "./loopback.ts"

/** A value of an attribute, as OTLP/JSON writes it. */
interface Value {
  readonly stringValue?: string
  readonly intValue?: string | number
  readonly doubleValue?: number
  readonly boolValue?: boolean
  readonly arrayValue?: { readonly values: ReadonlyArray<Value> }
}

type Attributes = ReadonlyArray<{ readonly key: string; readonly value: Value }>

/** A span, as it was exported. */
export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly attributes: Attributes
  readonly events: ReadonlyArray<unknown>
  readonly status: { readonly code: number; readonly message?: string }
}

interface Traces {
  readonly resourceSpans: ReadonlyArray<{ readonly resource: { readonly attributes: Attributes }; readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }> }>
}

/** A request that was made to it. */
export interface Sent {
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

const plain = (value: Value): unknown =>
  value.arrayValue === undefined ? value.stringValue ?? value.doubleValue ?? value.boolValue ?? Number(value.intValue) : value.arrayValue.values.map(plain)

/** Attributes by name. */
export const fieldsOf = (attributes: Attributes): Record<string, unknown> => Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]))

/** A collector that answers with a status, or takes what it is sent and says nothing. */
export const collector = (answer: number | "silent" = 200): Effect.Effect<{
  readonly url: string
  readonly sent: ReadonlyArray<Sent>
  readonly spans: () => ReadonlyArray<Span>
  readonly resource: () => Record<string, unknown>
}, never, Scope.Scope> =>
  Effect.gen(function*() {
    const sent: Array<Sent> = []
    const server = http.createServer((request, response) => {
      const pieces: Array<Buffer> = []
      request.on("data", (piece: Buffer) => pieces.push(piece))
      request.on("end", () => {
        sent.push({ path: request.url ?? "", headers: request.headers, body: Buffer.concat(pieces).toString("utf8") })
        if (answer !== "silent") response.writeHead(answer, { "content-type": "application/json" }).end("{}")
      })
    })
    const url = yield* onLoopback(server)
    const traces = () => sent.filter(({ path }) => path === "/v1/traces").map(({ body }) => JSON.parse(body) as Traces)
    return {
      url,
      sent,
      spans: () => traces().flatMap(({ resourceSpans }) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))),
      resource: () => fieldsOf(traces()[0]?.resourceSpans[0]?.resource.attributes ?? [])
    }
  })
