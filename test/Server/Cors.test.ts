import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent } from "../../src/index.ts"
import { originProblem } from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { ask, servedAs } from "../support/api.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })
const runtime = testing.layer({ agents: [agent], model: testing.script(() => "Hello.") })

const preflight = (origin: string, path = "/v1/runs") =>
  ask(path, {
    method: "OPTIONS",
    key: null,
    headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type" }
  })

const named = ["https://example.com", "http://127.0.0.1:5173"]

layer(servedAs({ origins: named }, Layer.fresh(runtime)), { excludeTestServices: true })("A server for pages of named origins", (it) => {
  it.effect("tells a browser that such a page may make a request, and no other page", () =>
    Effect.gen(function*() {
      for (const origin of named) {
        const { body, headers, status } = yield* preflight(origin)
        assert.deepStrictEqual([status, body], [204, null])
        assert.strictEqual(headers.get("access-control-allow-origin"), origin)
        assert.strictEqual(headers.get("vary"), "Origin")
        assert.deepStrictEqual(new Set(headers.get("access-control-allow-methods")?.split(", ")), new Set(["GET", "POST"]))
        assert.include(headers.get("access-control-allow-headers"), "authorization")
        assert.include(headers.get("access-control-allow-headers"), "idempotency-key")
        assert.isNull(headers.get("access-control-allow-credentials"))
      }
      for (const origin of ["https://example.org", "https://example.com.evil.test", "http://example.com", "null", ""]) {
        const { headers, status } = yield* preflight(origin)
        assert.strictEqual(status, 405, origin)
        assert.isNull(headers.get("access-control-allow-origin"))
        assert.strictEqual(headers.get("vary"), "Origin")
      }
      assert.strictEqual((yield* preflight("https://example.com", "/v1/runs/00000000-0000-7000-8000-000000000000")).headers.get("access-control-allow-methods"), "GET")
    }))

  it.effect("lets such a page read what is answered, errors and streams too", () =>
    Effect.gen(function*() {
      const headers = { origin: "https://example.com" }
      const started = yield* ask("/v1/runs", { headers, body: { input: "hello" } })
      assert.strictEqual(started.status, 202)
      const answers = yield* Effect.all([
        ask(started.body.links.events, { headers }), ask("/v1/runs", { headers, key: null }), ask("/nothing", { headers }), ask("/health", { headers, key: null })
      ])
      assert.deepStrictEqual(answers.map(({ status }) => status), [200, 401, 404, 200])
      for (const answer of [started, ...answers]) {
        assert.strictEqual(answer.headers.get("access-control-allow-origin"), "https://example.com")
        assert.include(answer.headers.get("access-control-expose-headers"), "x-request-id")
        assert.isNull(answer.headers.get("access-control-allow-credentials"))
      }
      const stranger = yield* ask("/health", { headers: { origin: "https://example.org" }, key: null })
      assert.deepStrictEqual([stranger.status, stranger.headers.get("access-control-allow-origin"), stranger.headers.get("vary")], [200, null, "Origin"])
    }))
})

layer(servedAs({}, Layer.fresh(runtime)), { excludeTestServices: true })("A server by default", (it) => {
  it.effect("is for no page of another origin", () =>
    Effect.gen(function*() {
      const asked = yield* preflight("https://example.com")
      assert.strictEqual(asked.status, 405)
      const answered = yield* ask("/health", { headers: { origin: "https://example.com" } })
      for (const { headers } of [asked, answered]) assert.isNull(headers.get("access-control-allow-origin"))
    }))
})

describe("an origin", () => {
  it("is a scheme, a host and a port", () => {
    for (const origin of [...named, "https://example.com:8443", "http://[::1]:3000"]) assert.isUndefined(originProblem(origin), origin)
    const wrong: Record<string, RegExp> = {
      "*": /every origin/, "example.com": /like https/, "null": /like https/, "file:///tmp": /like https/,
      "https://example.com/": /write https:\/\/example\.com/, "https://example.com:443": /write https:\/\/example\.com$/,
      "https://EXAMPLE.com": /write https:\/\/example\.com/, "https://u@example.com": /write/
    }
    for (const [origin, problem] of Object.entries(wrong)) assert.match(originProblem(origin) ?? "", problem, origin)
  })
})
