import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { ask, events, keyOf, type Loose, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"
import { weather } from "../support/weather.ts"

const assistant = Agent.make("assistant", { instructions: "Answer in one sentence.", model: "scripted:test", plugins: [weather] })

const travel = Agent.make("travel", {
  instructions: "Plan.",
  model: "scripted:test",
  input: Schema.Struct({ city: Schema.String, days: Schema.Int }),
  output: Schema.Struct({ pack: Schema.String }),
  prompt: ({ city, days }) => `plan ${days} days in ${city}`
})

const said = (request: Parameters<Extract<Parameters<typeof testing.script>[0], (...args: never) => unknown>>[0]) => {
  const last = request.messages.findLast((message) => message.role === "user")
  return last?.role === "user" ? last.text : ""
}

const provider = testing.script((request) => {
  const text = said(request)
  if (text.startsWith("plan")) return `{"pack":"an umbrella"}`
  if (text === "wait") return { text: "I wait.", hang: true }
  if (request.messages.at(-1)?.role === "tool") return "Rain."
  return text === "weather" ? { text: "I look.", toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] } : `You said: ${text}`
}, { pieces: 4 })

for (const { layer: runtime, name } of runtimes([assistant, travel], provider)) {
  layer(served(runtime), { excludeTestServices: true, timeout: 60_000 })(`Runs over HTTP (${name})`, (it) => {
    it.effect("starts a run, follows it and tells what came of it", () =>
      Effect.gen(function*() {
        const { body, headers, status } = yield* ask("/v1/runs", { body: { input: "weather" } })
        assert.strictEqual(status, 202)
        assert.match(headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/)
        assert.deepStrictEqual(body.links, {
          self: `/v1/runs/${body.run}`,
          events: `/v1/runs/${body.run}/events`,
          messages: `/v1/runs/${body.run}/messages`,
          cancel: `/v1/runs/${body.run}/cancel`
        })
        const { sent } = yield* events(body.run)
        const logged = sent.filter(({ id }) => id !== null)
        assert.deepStrictEqual(logged.map(({ id }) => id), logged.map((_, index) => index + 1))
        assert.deepStrictEqual(logged.map(({ event }) => event), [
          "RunStarted", "RunClaimed", "TurnStarted", "TurnCompleted", "ToolStarted", "ToolCompleted", "TurnStarted", "TurnCompleted",
          "RunCompleted"
        ])
        assert.deepStrictEqual(logged.map(({ data }) => data.event._tag), logged.map(({ event }) => event))
        const { body: run } = yield* ask(body.links.self)
        assert.strictEqual(run.status, "completed")
        assert.strictEqual(run.output, "Rain.")
        assert.strictEqual(run.turns, 2)
        assert.deepStrictEqual(run.steps.map((step: Loose) => [step.text, step.calls.map((call: Loose) => [call.tool, call.outcome, call.result])]), [
          ["I look.", [["weather", "success", `{"sky":"rain"}`]]],
          ["Rain.", []]
        ])
        assert.match(run.cost, /^0\.0000\d+$/)
      }))

    it.effect("takes and gives what an agent's schemas say, and names each field that is wrong", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { agent: "travel", input: { city: "Lisbon", days: 2 } } })
        yield* events(body.run)
        assert.deepStrictEqual((yield* ask(body.links.self)).body.output, { pack: "an umbrella" })
        const wrong = yield* ask("/v1/runs", { body: { agent: "travel", input: { city: 7, days: 1.5 }, limits: { turns: 3 } } })
        assert.strictEqual(wrong.status, 400)
        assert.strictEqual(wrong.body._tag, "BadRequest")
        assert.deepStrictEqual(wrong.body.problems.map((problem: Loose) => problem.path), [["payload", "input", "city"], ["payload", "input", "days"]])
        assert.include(wrong.body.message, "payload.input.city")
        const more = yield* ask("/v1/runs", { body: { agent: "", limits: { turns: 0, cost: "much" }, colour: "red" } })
        assert.sameDeepMembers(more.body.problems.map((problem: Loose) => problem.path), [
          ["payload", "agent"], ["payload", "limits", "turns"], ["payload", "limits", "cost"], ["payload", "colour"]
        ])
      }))

    it.effect("starts the same request once under its key, and no other", () =>
      Effect.gen(function*() {
        const headers = { "idempotency-key": "order 7" }
        const all = yield* Effect.all(
          Array.from({ length: 5 }, () => ask("/v1/runs", { headers, body: { input: "hello", session: "once" } })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(all.map(({ status }) => status), [202, 202, 202, 202, 202])
        assert.strictEqual(new Set(all.map(({ body }) => body.run)).size, 1)
        const { body } = yield* ask("/v1/runs?session=once")
        assert.strictEqual(body.runs.length, 1)
        const other = yield* ask("/v1/runs", { headers, body: { input: "goodbye" } })
        assert.strictEqual(other.status, 422)
        assert.strictEqual(other.body._tag, "IdempotencyKeyReused")
      }))

    it.effect("says something to a run under way, and cancels it, any number of times", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { input: "wait" } })
        yield* events(body.run, { enough: ({ event }) => event === "Delta" })
        const message = yield* ask(body.links.messages, { body: { text: "weather", mode: "interrupt" } })
        assert.strictEqual(message.status, 202)
        yield* events(body.run)
        assert.strictEqual((yield* ask(body.links.self)).body.output, "Rain.")
        const late = yield* ask(body.links.messages, { body: { text: "weather" } })
        assert.deepStrictEqual([late.status, late.body._tag], [409, "RunConflict"])

        const second = yield* ask("/v1/runs", { body: { input: "wait", session: "busy" } })
        yield* events(second.body.run, { enough: ({ event }) => event === "Delta" })
        const busy = yield* ask("/v1/runs", { body: { input: "hello", session: "busy" } })
        assert.deepStrictEqual([busy.status, busy.body._tag], [409, "RunConflict"])
        const rejected = yield* ask(second.body.links.messages, { body: { text: "hello", mode: "reject" } })
        assert.strictEqual(rejected.status, 409)
        const cancels = yield* Effect.all([1, 2, 3].map(() => ask(second.body.links.cancel, { body: { reason: "enough" } })), { concurrency: 3 })
        assert.deepStrictEqual(cancels.map(({ status }) => status), [202, 202, 202])
        yield* events(second.body.run)
        const { body: run } = yield* ask(second.body.links.self)
        assert.strictEqual(run.status, "cancelled")
        assert.strictEqual(run.cancelled.reason, "enough")
        assert.strictEqual((yield* ask(second.body.links.cancel, { body: {} })).body.status, "cancelled")
        assert.strictEqual((yield* ask(body.links.cancel, { body: {} })).status, 409)
      }))

    it.effect("lists runs in pages, newest first", () =>
      Effect.gen(function*() {
        const started: Array<string> = []
        for (let i = 0; i < 5; i++) started.push((yield* ask("/v1/runs", { body: { input: `page ${i}`, session: `page-${i}` } })).body.run)
        const first = yield* ask("/v1/runs?limit=2")
        assert.deepStrictEqual(first.body.runs.map((row: Loose) => row.run), [started[4], started[3]])
        const second = yield* ask(`/v1/runs?limit=2&before=${first.body.next}`)
        assert.deepStrictEqual(second.body.runs.map((row: Loose) => row.run), [started[2], started[1]])
        assert.strictEqual((yield* ask("/v1/runs?limit=0")).status, 400)
        assert.strictEqual((yield* ask("/v1/runs?status=gone&before=x")).body.problems.length, 2)
      }))

    it.effect("answers what is not to be had in one shape", () =>
      Effect.gen(function*() {
        const writer = yield* keyOf(["runs:write"])
        const unknown = "00000000-0000-7000-8000-000000000000"
        const answers = yield* Effect.forEach([
          ask("/nothing"),
          ask("/v1/runs", { method: "PUT" }),
          ask("/v1/runs", { key: null }),
          ask("/v1/runs", { key: `ck_00000000_${"0".repeat(40)}` }),
          ask("/v1/runs", { key: writer }),
          ask(`/v1/runs/${unknown}`),
          ask("/v1/runs/not-a-run"),
          ask(`/v1/runs/${unknown}/events`),
          ask("/v1/runs", { body: { agent: "nobody", input: "hello" } }),
          ask("/v1/runs", { body: { input: " " } }),
          ask("/v1/runs", { body: { input: "hello", model: "openai:gpt-5" } }),
          ask("/v1/runs", { body: "{" }),
          ask("/v1/runs", { body: new Uint8Array([0x22, 0xff, 0x22]) }),
          ask("/v1/runs", { body: `${"[".repeat(1_000)}${"]".repeat(1_000)}` }),
          ask("/v1/runs", { body: "input=hello", headers: { "content-type": "application/x-www-form-urlencoded" } }),
          ask("/v1/runs", { body: `{"input":"${"x".repeat(17 * 1024 * 1024)}"}` })
        ], (answer) => answer, { concurrency: 4 })
        assert.deepStrictEqual(answers.map(({ body, status }) => [status, body._tag]), [
          [404, "NotFound"], [405, "MethodNotAllowed"], [401, "KeyMissing"], [401, "KeyRefused"], [403, "Forbidden"], [404, "RunNotFound"],
          [404, "RunNotFound"], [404, "RunNotFound"], [422, "AgentNotRegistered"], [422, "InvalidInput"], [422, "ForbiddenModel"],
          [400, "BadRequest"], [400, "BadRequest"], [400, "BadRequest"], [415, "UnsupportedMediaType"], [413, "PayloadTooLarge"]
        ])
        for (const { body } of answers) {
          assert.isString(body.message)
          assert.notMatch(JSON.stringify(body), /\bat .*:\d+:\d+|node_modules|ck_0/)
        }
      }))
  })
}
