/** A server on a real socket of the loopback, over a runtime of a test, and what speaks to it. */
import { Context, Effect, Layer, Logger, Option, Redacted } from "effect"
import { HttpServer } from "effect/http"
import type { Conductor } from "../../src/Conductor.ts"
import { ConductorClient } from "../../src/client.ts"
import { Keys, type NewKey, type Scope } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import * as Server from "../../src/Server.ts"

/** Where a server of a test is, and a key that may do everything there. */
export class Address extends Context.Service<Address, { readonly url: string; readonly key: Redacted.Redacted }>()("test/Address") {}

/** A server, its client, and the runtime under it. Nothing is logged, unless a logger is given. */
export const served = <A, E, R>(runtime: Layer.Layer<A | Conductor, E, R>, log?: Layer.Layer<never>) => servedAs({}, runtime, log)

/** The same with options of the server's. */
export const servedAs = <A, E, R>(options: Server.Options, runtime: Layer.Layer<A | Conductor, E, R>, log: Layer.Layer<never> = Logger.layer([])) => {
  const address = Layer.effect(Address, Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const { key } = yield* (yield* Keys).bootstrap(Option.none())
    const made = Option.getOrThrow(key)
    return Address.of({ url: HttpServer.formatAddress(address), key: made.key })
  }))
  const client = Layer.unwrap(Effect.map(Address, ConductorClient.layerFetch))
  return client.pipe(
    Layer.provideMerge(address),
    Layer.provideMerge(Server.layer({ ...options, port: 0 })),
    Layer.provideMerge(runtime),
    Layer.provide(log)
  )
}

/** JSON of which the test says what is in it. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test that reads what is not there fails
export type Loose = any

/** What a server answered. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The body as JSON, or null where it has none. */
  readonly body: Loose
}

/** How a request is made; with the key of {@link Address} unless it says another, or null for none. */
export interface Asked {
  readonly method?: string
  readonly key?: string | null
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, or as it is where it is text or bytes. */
  readonly body?: unknown
}

/** Asks the server and takes whatever it answers. */
export const ask = Effect.fnUntraced(function*(path: string, asked: Asked = {}) {
  const { key, url } = yield* Address
  const bearer = asked.key === undefined ? Redacted.value(key) : asked.key
  const { body } = asked
  return yield* Effect.promise(async (signal): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, {
      method: asked.method ?? (body === undefined ? "GET" : "POST"),
      headers: {
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...asked.headers
      },
      ...(body === undefined ? {} : { body: typeof body === "string" || body instanceof Uint8Array ? body as string : JSON.stringify(body) }),
      signal
    })
    const text = await response.text()
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text === "" ? null : text }
  })
})

/** A key of an organisation, with some scopes. */
export const keyOf = Effect.fnUntraced(function*(scopes: ReadonlyArray<Scope>, more: Partial<NewKey> = {}) {
  const keys = yield* Keys
  const { key } = yield* keys.create({ org: OrgId.make("local"), name: "test", scopes, ...more })
  return Redacted.value(key)
})

/** One server-sent event as it was sent. */
export interface Sent {
  readonly id: number | null
  readonly event: string
  readonly data: Loose
}

/** Reads a stream of events from a place on, and lets go of it once `enough` says so or it ends. */
export const events = Effect.fnUntraced(function*(
  run: string,
  options: { readonly after?: number; readonly enough?: (sent: Sent, all: ReadonlyArray<Sent>) => boolean } = {}
) {
  const { key, url } = yield* Address
  return yield* Effect.promise(async (signal) => {
    const abort = new AbortController()
    signal.addEventListener("abort", () => abort.abort())
    const response = await fetch(`${url}/v1/runs/${run}/events`, {
      headers: {
        authorization: `Bearer ${Redacted.value(key)}`,
        ...(options.after === undefined ? {} : { "last-event-id": String(options.after) })
      },
      signal: abort.signal
    })
    const all: Array<Sent> = []
    let rest = ""
    if (response.body !== null) {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      reading: for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        rest += value
        for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
          const fields = rest.slice(0, end).split("\n").map((line) => /^(\w*): ?(.*)$/s.exec(line))
          rest = rest.slice(end + 2)
          const field = (name: string) => fields.find((match) => match?.[1] === name)?.[2]
          const data = field("data")
          if (data === undefined) continue
          const id = field("id")
          const sent = { id: id === undefined ? null : Number(id), event: field("event") ?? "message", data: JSON.parse(data) }
          all.push(sent)
          if (options.enough?.(sent, all) === true) break reading
        }
      }
      abort.abort()
      await reader.cancel().catch(() => {})
    }
    return { status: response.status, sent: all }
  })
})
