/** Requests made from an OpenAPI document that are wrong in many ways, and what a server may answer to them. */
import * as http from "node:http"
import * as net from "node:net"
import type { Loose } from "../support/api.ts"
import type { Chance } from "../support/chance.ts"

/** A request as it goes over the wire. */
export interface Shot {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
  /** How it is sent: whole, a byte at a time without end, cut off in the middle, or as bytes that are no request. */
  readonly how: "whole" | "slow" | "cut" | "garbage"
}

/** What a server answered; status 0 where it closed the connection without a word. */
export interface Hit {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly ms: number
}

const strange = [
  "", " ", "\u0000", "\uD800", "ü😀", "'; DROP TABLE runs; --", "../../etc/passwd", "null", "true", "-1", "1e999", "${7*7}", "%", "%s%n", "\r\nX: y",
  "__proto__", "constructor", "x".repeat(300), "x".repeat(70_000), "\u202Eevil", "0", "[object Object]", "{}", "00000000-0000-7000-8000-000000000000"
]
const numbers = [0, -1, 1, 1.5, 1e308, -1e308, 2 ** 31, 2 ** 53, Number.MAX_SAFE_INTEGER, 5e-324]

const deep = (depth: number, close: boolean) => `${"{\"a\":[".repeat(depth)}1${close ? "]}".repeat(depth) : ""}`

/** A value of a JSON Schema, mostly. */
const valueOf = (chance: Chance, schema: Loose, document: Loose, depth = 0): unknown => {
  if (depth > 6 || schema === undefined || schema === true) return chance.of<unknown>([1, "text", null, [], {}])
  if (typeof schema.$ref === "string") {
    const at = schema.$ref.split("/").slice(1).reduce((node: Loose, name: string) => node?.[name], document)
    return valueOf(chance, at, document, depth + 1)
  }
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return valueOf(chance, chance.of(options), document, depth + 1)
  if (schema.allOf !== undefined && schema.type === undefined) return valueOf(chance, schema.allOf[0], document, depth + 1)
  if (schema.enum !== undefined) return chance.of(schema.enum)
  if (schema.const !== undefined) return schema.const
  switch (schema.type) {
    case "object": {
      const entries = Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name) || chance.is(0.4))
      return Object.fromEntries(entries.map(([name, part]) => [name, valueOf(chance, part, document, depth + 1)]))
    }
    case "array":
      return Array.from({ length: chance.below(3) }, () => valueOf(chance, schema.items, document, depth + 1))
    case "integer":
    case "number":
      return chance.is(0.5) ? 1 + chance.below(50) : chance.of(numbers)
    case "boolean":
      return chance.is(0.5)
    case "null":
      return null
    default:
      return chance.is(0.5) ? "hello" : chance.of(strange)
  }
}

/** The value with something about it that is wrong. */
const wronged = (chance: Chance, value: unknown): unknown => {
  if (typeof value === "object" && value !== null && !Array.isArray(value) && chance.is(0.8)) {
    const entries = Object.entries(value)
    const at = chance.below(Math.max(1, entries.length))
    if (chance.is(0.2)) return Object.fromEntries(entries.filter((_, index) => index !== at))
    if (chance.is(0.2)) return { ...value, [chance.of(strange)]: chance.of<unknown>(numbers) }
    return Object.fromEntries(entries.map(([name, part], index) => [name, index === at ? wronged(chance, part) : part]))
  }
  return chance.of<unknown>([...strange, ...numbers, null, true, [], {}, [[[]]], Array.from({ length: 5_000 }, () => 1), { a: { b: {} } }])
}

/** Bodies that nothing is wrong with, so that what comes after their decoding is met too. */
const sound: Readonly<Record<string, ReadonlyArray<unknown>>> = {
  "/v1/runs": [{ input: "hello" }, { input: "hello", agent: "nobody" }, { input: "x".repeat(3_000_000) }],
  "/v1/runs/{run}/messages": [{ text: "hello" }],
  "/v1/budgets": [{ scope: "session:known", limit: "100" }],
  "/v1/memories": [{ text: "Herons are grey." }],
  "/v1/memories/forget": [{ text: "grey" }],
  "/v1/keys": [{ name: "a key", scopes: ["runs:read"] }],
  "/v1/approvals/{id}": [{ decision: "approved" }]
}

/** A request in good order, whatever becomes of it. */
const right = (chance: Chance, document: Loose, key: string, known: ReadonlyArray<string>): Shot => {
  const path = chance.of(Object.keys(sound))
  const method = ["post", "put"].find((one) => one in document.paths[path]) ?? "post"
  return {
    method: method.toUpperCase(),
    path: path.replaceAll(/\{\w+\}/g, () => chance.of(known)),
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: Buffer.from(JSON.stringify(chance.of(sound[path] ?? []))),
    how: "whole"
  }
}

const bytesOf = (chance: Chance, value: unknown): Uint8Array => {
  const text = JSON.stringify(value) ?? ""
  switch (chance.below(12)) {
    case 0:
      return Buffer.from(text.slice(0, -1))
    case 1:
      return Buffer.concat([Buffer.from(text.slice(0, 5)), Buffer.from([0xff, 0xfe, 0x80]), Buffer.from(text.slice(5))])
    case 2:
      return Buffer.from(deep(1 + chance.below(20_000), chance.is(0.7)))
    case 3:
      return Buffer.from(`{"input":"${"x".repeat(chance.of([1_000_000, 3_000_000]))}"}`)
    case 4:
      return Buffer.from(chance.of(["", "null", "[]", "\"\"", "1", "{", "\uFEFF{}", "NaN", "{\"a\":1}{\"b\":2}", "{\"input\":\"\\u0000\\ud800\"}"]))
    default:
      return Buffer.from(text)
  }
}

const escaped = (chance: Chance, text: string): string =>
  chance.is(0.1) ? chance.of(["%", "%00", "%ff%fe", "%zz", "a%2Fb", "%C0%AF", "%ED%A0%80"]) : encodeURIComponent(text.toWellFormed()).slice(0, 6_000)

/** A request for some operation of the document, and mostly not as it should be. `known` are ids of things that there are. */
export const shotOf = (chance: Chance, document: Loose, key: string, known: ReadonlyArray<string>): Shot => {
  // So that the rest of the server is met as well, by whatever chance.
  if (chance.is(0.1)) return right(chance, document, key, known)
  const path = chance.of(Object.keys(document.paths))
  const method = chance.of(Object.keys(document.paths[path]))
  const operation = document.paths[path][method]
  const parameters: ReadonlyArray<Loose> = operation.parameters ?? []
  const values = (place: string) => parameters.filter((one) => one.in === place && chance.is(0.6))
  const text = (one: Loose) => chance.is(0.5) ? String(valueOf(chance, one.schema, document)) : chance.of([...strange, ...numbers.map(String)])
  const filled = path.replaceAll(/\{(\w+)\}/g, () => escaped(chance, chance.is(0.6) ? chance.of(known) : chance.of(strange)))
  const query = values("query").flatMap((one) => Array.from({ length: chance.is(0.1) ? 2 : 1 }, () => `${one.name}=${escaped(chance, text(one))}`))
  if (chance.is(0.1)) query.push(`${escaped(chance, chance.of(strange))}=1`)
  const headers: Record<string, string> = {}
  for (const one of values("header")) headers[one.name] = text(one).replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 10_000)
  if (chance.is(0.9)) headers["authorization"] = chance.is(0.9) ? `Bearer ${key}` : chance.of(["Bearer", "Basic eA==", `Bearer ${"x".repeat(5_000)}`, "bearer  "])
  if (chance.is(0.05)) headers["x-much"] = "x".repeat(chance.of([2_000, 20_000]))
  if (chance.is(0.05)) for (let index = 0; index < 120; index++) headers[`x-${index}`] = "1"
  const schema = operation.requestBody?.content?.["application/json"]?.schema
  const hasBody = schema !== undefined ? chance.is(0.95) : chance.is(0.05)
  const value = schema === undefined ? {} : chance.is(0.3) ? chance.of(sound[path] ?? [{}]) : valueOf(chance, schema, document)
  const body = hasBody ? bytesOf(chance, chance.is(0.5) ? value : wronged(chance, value)) : undefined
  if (body !== undefined && chance.is(0.95)) headers["content-type"] = chance.is(0.9) ? "application/json" : chance.of(["text/plain", "application/xml", "multipart/form-data", "x"])
  return {
    method: chance.is(0.9) ? method.toUpperCase() : chance.of(["PATCH", "TRACE", "OPTIONS", "HEAD", "PUT", "DELETE", "POST", "PROPFIND"]),
    path: `${chance.is(0.97) ? filled : chance.of(["//", "/v1", "/v1/runs/..", "/%2e%2e/", "/internal/commands", "/v1/runs//events"])}${query.length === 0 ? "" : `?${query.join("&")}`}`,
    headers,
    body,
    how: body !== undefined && chance.is(0.02) ? chance.of(["slow", "cut"]) : chance.is(0.02) ? "garbage" : "whole"
  }
}

const whole = (url: URL, shot: Shot, agent: http.Agent) =>
  new Promise<Omit<Hit, "ms">>((resolve) => {
    const headers = { ...shot.headers, ...(shot.body === undefined ? {} : { "content-length": String(shot.body.length) }) }
    const request = http.request({ host: url.hostname, port: url.port, method: shot.method, path: shot.path, headers, agent }, (response) => {
      const chunks: Array<Buffer> = []
      const done = () => resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", body: Buffer.concat(chunks).toString("utf8") })
      const isStream = response.headers["content-type"]?.startsWith("text/event-stream") === true
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk)
        // It may have no end.
        if (isStream) {
          done()
          request.destroy()
        }
      })
      response.on("end", done)
      response.on("error", done)
    })
    request.on("error", () => resolve({ status: 0, type: "", body: "" }))
    request.end(shot.body)
  })

const raw = (url: URL, { body = new Uint8Array(), headers, how, method, path }: Shot, chance: Chance) =>
  new Promise<Omit<Hit, "ms">>((resolve) => {
    const socket = net.connect(Number(url.port), url.hostname)
    let received = ""
    const head = `${method} ${path.replaceAll(/[\r\n ]/g, "+")} HTTP/1.1\r\nhost: x\r\n${
      Object.entries(headers).filter(([name]) => name !== "x-much").map(([name, value]) => `${name}: ${value}\r\n`).join("")}content-length: ${body.length + 1_000}\r\n\r\n`
    let dripping: NodeJS.Timeout | undefined
    socket.on("connect", () => {
      if (how === "garbage") {
        socket.write(chance.of(["\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u0016\u0003\u0001", `GET / HTTP/1.1\r\nbad header\r\n\r\n`, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]))
        socket.end()
        return
      }
      socket.write(head)
      if (how === "cut") socket.end(body.subarray(0, Math.ceil(body.length / 2)))
      else dripping = setInterval(() => socket.write("x"), 20)
    })
    socket.on("data", (chunk) => received += chunk.toString("utf8"))
    socket.on("error", () => {})
    socket.on("close", () => {
      clearInterval(dripping)
      const [, status = "0"] = /^HTTP\/1\.1 (\d{3})/.exec(received) ?? []
      resolve({ status: Number(status), type: /content-type: ([^\r]*)/i.exec(received)?.[1] ?? "", body: received.slice(received.indexOf("\r\n\r\n") + 4) })
    })
  })

/** Sends a request and takes whatever comes of it. */
export const shoot = async (url: URL, shot: Shot, agent: http.Agent, chance: Chance): Promise<Hit> => {
  const before = performance.now()
  const hit = await (shot.how === "whole" ? whole(url, shot, agent) : raw(url, shot, chance))
  return { ...hit, ms: performance.now() - before }
}

/** What is wrong with an answer, if anything. */
export const problemOf = ({ body, ms, status, type }: Hit, shot: Shot): string | undefined => {
  if (status >= 500) return `status ${status}`
  if (ms > 10_000) return `it took ${Math.round(ms)} ms`
  if (/\n\s+at |node_modules|\.ts:\d+/.test(body) && !type.startsWith("text/html")) return "a stack trace"
  // Who sends too much may not hear why before the connection is closed, and after a HEAD that was not read nobody knows that it was one.
  const isTooMuch = Object.keys(shot.headers).length > 100 || (shot.body?.length ?? 0) > 1_000_000 || (shot.method === "HEAD" && "x-much" in shot.headers)
  if (status === 0 && shot.how === "whole" && !isTooMuch) return "no answer"
  if (status >= 400 && shot.method !== "HEAD" && shot.how === "whole") {
    if (!type.startsWith("application/json")) return `an error as ${type || "nothing"}`
    const said: unknown = JSON.parse(body)
    if (typeof said !== "object" || said === null || !("_tag" in said) || !("message" in said) || typeof said.message !== "string") return "an error in another shape"
  }
  return undefined
}
