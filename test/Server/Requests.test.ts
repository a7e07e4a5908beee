import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as net from "node:net"
import { Conductor } from "../../src/Conductor.ts"
import { fingerprintOf, Idempotency } from "../../src/Idempotency.ts"
import { Agent } from "../../src/index.ts"
import { OrgId } from "../../src/Run.ts"
import * as Server from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, events, keyOf, type Loose, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [] })

const provider = testing.script((request) => {
  const said = request.messages.flatMap((message) => message.role === "user" ? [message.text] : [])
  return said.at(-1) === "wait" ? { text: "I wait.", hang: true } : `You said: ${said.join(", ")}`
})

const limits = Layer.succeed(Server.Limits, {
  bodyBytes: 1_000_000, bodyMs: 200, depth: 64, headerBytes: 16_384, headersMs: 10_000, heartbeatMs: 50, reads: 6
})

/** Sends bytes, and takes what is answered until the connection is closed. */
const spoken = Effect.fnUntraced(function*(text: string) {
  const { hostname, port } = new URL((yield* Address).url)
  return yield* Effect.promise(() =>
    new Promise<string>((resolve) => {
      const socket = net.connect(Number(port), hostname)
      let heard = ""
      socket.on("data", (chunk) => heard += chunk.toString("utf8"))
      socket.on("error", () => {})
      socket.on("close", () => resolve(heard))
      socket.write(text)
    }))
})

/** Starts a run that waits, and hears it out until it does. */
const waiting = Effect.gen(function*() {
  const { body } = yield* ask("/v1/runs", { body: { input: "wait" } })
  yield* events(body.run, { enough: ({ event }) => event === "Delta" })
  return body as Loose
})

for (const { layer: runtime, name } of runtimes([agent], provider)) {
  layer(served(runtime).pipe(Layer.provide(limits)), { excludeTestServices: true, timeout: 60_000 })(`Requests (${name})`, (it) => {
    it.effect("hear a message once under its key, say so again when the run is over, and take no other for it", () =>
      Effect.gen(function*() {
        const run = yield* waiting
        const say = (key: string, text: string) =>
          ask(run.links.messages, { headers: { "idempotency-key": key }, body: { text, mode: "interrupt" } })
        const first = yield* say("message 7", "go on")
        assert.strictEqual(first.status, 202)
        const other = yield* say("message 7", "go away")
        assert.deepStrictEqual([other.status, other.body._tag], [422, "IdempotencyKeyReused"])
        yield* events(run.run)
        assert.strictEqual((yield* ask(run.links.self)).body.output, "You said: wait, go on")
        const again = yield* say("message 7", "go on")
        assert.deepStrictEqual([again.status, again.body], [202, first.body])
        const late = yield* say("message 8", "go on")
        assert.deepStrictEqual([late.status, late.body._tag], [409, "RunConflict"])
        const started = yield* ask("/v1/runs", { headers: { "idempotency-key": "message 7" }, body: { input: "go on" } })
        assert.deepStrictEqual([started.status, started.body._tag], [422, "IdempotencyKeyReused"])
      }))

    it.effect("that a run under way heard from a process that then ended start no other", () =>
      Effect.gen(function*() {
        const org = OrgId.make("local")
        const first = yield* ask("/v1/runs", { body: { input: "wait", session: "busy" } })
        yield* events(first.body.run, { enough: ({ event }) => event === "Delta" })
        const request = { input: "go on", session: "busy", whenBusy: "interrupt" } as const
        // All that the process did which ended: the key stands for a new run, and the run under way has heard the input.
        const conductor = yield* Conductor
        const { isFirst } = yield* (yield* Idempotency).claim({ org, key: "start 9", fingerprint: fingerprintOf(request) }, yield* conductor.newRun)
        assert.isTrue(isFirst)
        yield* conductor.start("assistant", request.input, { session: "busy", whenBusy: "interrupt", dedupe: "api:start 9" })
        yield* events(first.body.run)
        assert.strictEqual((yield* ask(first.body.links.self)).body.output, "You said: wait, go on")
        for (let again = 0; again < 2; again++) {
          const started = yield* ask("/v1/runs", { headers: { "idempotency-key": "start 9" }, body: request })
          assert.deepStrictEqual([started.status, started.body.run], [202, first.body.run])
        }
        assert.strictEqual((yield* ask("/v1/runs?session=busy")).body.runs.length, 1)
      }))

    it.effect("that cannot be used leave their key free for what is meant", () =>
      Effect.gen(function*() {
        const headers = { "idempotency-key": "start 7" }
        const wrong = [
          { messages: [{ role: "assistant", content: "Hello." }] }, { input: "hello", model: "openai:gpt-5" }, { input: "hello", limits: { cost: "-1" } }
        ]
        const refused = yield* Effect.forEach(wrong, (body) => ask("/v1/runs", { headers, body }))
        assert.deepStrictEqual(refused.map(({ status }) => status), [400, 422, 400])
        assert.deepStrictEqual(refused[2]?.body.problems[0].path, ["payload", "limits", "cost"])
        assert.strictEqual((yield* ask("/v1/runs", { headers, body: { input: "hello" } })).status, 202)
      }))

    it.effect("need no body where there is nothing to say in it", () =>
      Effect.gen(function*() {
        const made = yield* ask("/v1/sessions", { method: "POST" })
        assert.strictEqual(made.status, 201)
        const run = yield* waiting
        const cancelled = yield* ask(run.links.cancel, { method: "POST" })
        assert.strictEqual(cancelled.status, 202)
        yield* events(run.run)
        assert.deepStrictEqual((yield* ask(run.links.self)).body.cancelled.reason, null)
        const wrong = yield* ask(run.links.cancel, { body: { why: "enough" } })
        assert.deepStrictEqual([wrong.status, wrong.body.problems[0].path], [400, ["payload", "why"]])
      }))

    it.effect("that come too slowly are told so", () =>
      Effect.gen(function*() {
        const key = yield* keyOf(["admin"])
        const heard = yield* spoken(
          `POST /v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`
        )
        assert.match(heard, /^HTTP\/1\.1 408 /)
        assert.include(heard, `"_tag":"RequestTimeout"`)
        assert.match(heard, /connection: close/i)
      }))

    it.effect("name runs in either case", () =>
      Effect.gen(function*() {
        const older = yield* ask("/v1/runs", { body: { input: "older" } })
        yield* events(older.body.run)
        const newer = yield* ask("/v1/runs", { body: { input: "newer" } })
        yield* events(newer.body.run)
        const before = yield* ask(`/v1/runs?limit=1&before=${newer.body.run.toUpperCase()}`)
        assert.deepStrictEqual(before.body.runs.map((row: Loose) => row.run), [older.body.run])
        assert.isNotEmpty((yield* ask(`/v1/audit?run=${newer.body.run.toUpperCase()}`)).body.rows)
      }))

    it.effect("are answered with what nobody on the way may keep or take for something else", () =>
      Effect.gen(function*() {
        const answers = yield* Effect.forEach(["/health", "/v1/keys", "/v1/nothing", "/openapi.json"], (path) => ask(path))
        for (const { headers } of answers) {
          assert.deepStrictEqual([headers.get("cache-control"), headers.get("x-content-type-options")], ["no-store", "nosniff"])
        }
      }))

    it.effect("for events end when their key does, and the run goes on", () =>
      Effect.gen(function*() {
        const run = yield* waiting
        const made = yield* ask("/v1/keys", { body: { name: "reader", scopes: ["runs:read"] } })
        const { url } = yield* Address
        const response = yield* Effect.promise(() => fetch(`${url}${run.links.events}`, { headers: { authorization: `Bearer ${made.body.key}` } }))
        assert.strictEqual(response.status, 200)
        yield* ask(`/v1/keys/${made.body.record.id}`, { method: "DELETE" })
        assert.include(yield* Effect.promise(() => response.text()), "event: RunStarted")
        assert.strictEqual((yield* ask(run.links.self)).body.status, "running")
        yield* ask(run.links.cancel, { method: "POST" })
        yield* events(run.run)
      }))

    it.effect("for events after more than there is are told what comes, and that it is over", () =>
      Effect.gen(function*() {
        const run = yield* waiting
        const { url } = yield* Address
        const key = yield* keyOf(["admin"])
        const response = yield* Effect.promise(() =>
          fetch(`${url}${run.links.events}`, { headers: { authorization: `Bearer ${key}`, "last-event-id": "5000" } }))
        yield* ask(run.links.cancel, { method: "POST" })
        const text = yield* Effect.promise(() => response.text())
        assert.include(text, "event: RunCancelled")
        assert.notInclude(text, "event: RunStarted")
        assert.strictEqual((yield* events(run.run, { after: 5_000 })).status, 204)
      }))
  })
}
