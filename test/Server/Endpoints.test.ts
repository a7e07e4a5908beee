import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, Plugin, Tool } from "../../src/index.ts"
import { Orgs } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import * as testing from "../../src/testing.ts"
import { ask, type Asked, events, keyOf, type Loose, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"
import { weather } from "../support/weather.ts"

const refund = Tool.make("refund", {
  description: "Gives money back.",
  parameters: Schema.Struct({ order: Schema.String, dollars: Schema.Int, account: Tool.sensitive(Schema.String) }),
  success: Schema.Struct({ refunded: Schema.Int }),
  category: "sales",
  effect: "idempotent",
  approval: true
})
const sales = Plugin.make("sales", { tools: [refund], handlers: { refund: ({ dollars }) => Effect.succeed({ refunded: dollars }) } })

const clerk = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [sales, weather], limits: { cost: "0.50 USD" } })

const provider = testing.script((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "tool") return `It gave ${last.results[0]?.result}`
  const text = last?.role === "user" ? last.text : ""
  if (text === "fail") return { text: "", finish: "content-filter" }
  if (text === "refund") return { toolCalls: [{ name: "refund", params: { order: "7", dollars: 120, account: "DE00 1234" } }] }
  if (text === "weather") return { toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] }
  const tools = request.tools.map((tool) => tool.name).join(",")
  return `${request.messages.map((message) => message.role === "user" ? message.text : "…").join(" / ")} [${tools}]`
})

const start = Effect.fnUntraced(function*(body: object) {
  const started = yield* ask("/v1/runs", { body })
  assert.strictEqual(started.status, 202, JSON.stringify(started.body))
  yield* events(started.body.run, { enough: ({ event }) => event === "RunParked" })
  return (yield* ask(started.body.links.self)).body
})

for (const { layer: runtime, name } of runtimes([clerk], provider)) {
  layer(served(runtime), { excludeTestServices: true, timeout: 60_000 })(`The API (${name})`, (it) => {
    it.effect("goes on with what was said before, with some of the tools, and keeps what it is told to keep", () =>
      Effect.gen(function*() {
        const said = [{ role: "user", content: "I am Ada." }, { role: "assistant", content: "Hello." }, { role: "user", content: "Who am I?" }]
        const run = yield* start({ messages: said, tools: ["weather"], metadata: { ticket: "42" } })
        assert.strictEqual(run.output, "I am Ada. / … / Who am I? [weather]")
        assert.deepStrictEqual(run.metadata, { ticket: "42" })
        const refused = yield* start({ input: "refund", tools: ["weather"] })
        assert.deepStrictEqual(refused.steps[0].calls.map((call: Loose) => call.outcome), ["unknown-tool"])
        const stranger = yield* ask("/v1/runs", { body: { input: "hello", tools: ["teleport"] } })
        assert.deepStrictEqual([stranger.status, stranger.body._tag], [422, "InvalidInput"])
        const both = yield* ask("/v1/runs", { body: { input: "hello", messages: said } })
        assert.deepStrictEqual([both.status, both.body.problems[0].path], [400, ["payload", "input"]])
        const last = yield* ask("/v1/runs", { body: { messages: said.slice(0, 2) } })
        assert.deepStrictEqual([last.status, last.body.problems[0].path], [400, ["payload", "messages"]])
      }))

    it.effect("asks a person, and goes on with what is decided", () =>
      Effect.gen(function*() {
        const run = yield* start({ input: "refund", session: "refunds" })
        assert.strictEqual(run.status, "parked")
        const [asked] = run.waiting.approvals
        assert.strictEqual(asked.tool, "refund")
        const { body } = yield* ask("/v1/approvals")
        const request = body.approvals.find((one: Loose) => one.run === run.run)
        assert.deepStrictEqual([request.id, request.agent, request.parameters], [asked.approval, "clerk", { order: "7", dollars: 120, account: "[REDACTED]" }])
        const unfit = yield* ask(`/v1/approvals/${request.id}`, { body: { decision: "approved", parameters: { dollars: "many" } } })
        assert.deepStrictEqual([unfit.status, unfit.body._tag], [422, "ApprovalUnfit"])
        const other = yield* ask(`/v1/approvals/${request.id}`, { body: { decision: "approved", digest: "0".repeat(64) } })
        assert.deepStrictEqual([other.status, other.body._tag], [409, "ApprovalReplayed"])
        const decided = yield* ask(`/v1/approvals/${request.id}`, { body: { decision: "approved", digest: request.digest, comment: "a good customer" } })
        assert.deepStrictEqual([decided.status, decided.body.run], [202, run.run])
        yield* events(run.run)
        assert.strictEqual((yield* ask(`/v1/runs/${run.run}`)).body.output, `It gave {"refunded":120}`)
        const again = yield* ask(`/v1/approvals/${request.id}`, { body: { decision: "denied" } })
        assert.deepStrictEqual([again.status, again.body._tag], [409, "ApprovalAlreadyDecided"])
        assert.strictEqual((yield* ask("/v1/approvals/nothing", { body: { decision: "denied" } })).status, 404)
      }))

    it.effect("keeps conversations, with what was said in them", () =>
      Effect.gen(function*() {
        const begun = yield* ask("/v1/sessions", { body: { session: "support / 7 ü" } })
        assert.deepStrictEqual([begun.status, begun.body.session, begun.body.runs], [201, "support / 7 ü", 0])
        yield* start({ input: "one", session: "support / 7 ü" })
        const run = yield* start({ input: "two", session: "support / 7 ü" })
        assert.strictEqual(run.output, "one / … / two [refund,weather]")
        const path = `/v1/sessions/${encodeURIComponent("support / 7 ü")}`
        const { body } = yield* ask(path)
        assert.deepStrictEqual(body.messages.map((message: Loose) => [message.role, message.text.split(" ")[0]]), [
          ["user", "one"], ["assistant", "one"], ["user", "two"], ["assistant", "one"]
        ])
        assert.strictEqual(body.runs.length, 2)
        const page = yield* ask(`${path}?limit=1`)
        assert.deepStrictEqual([page.body.runs.length, page.body.next], [1, run.run])
        const listed = yield* ask("/v1/sessions?limit=1000")
        assert.strictEqual(listed.body.sessions.find((one: Loose) => one.session === "support / 7 ü").runs, 2)
        const made = yield* ask("/v1/sessions", { body: {} })
        assert.match(made.body.session, /^[0-9a-f-]{36}$/)
        assert.deepStrictEqual((yield* ask("/v1/sessions?limit=1")).body.next, made.body.session)
        assert.strictEqual((yield* ask("/v1/sessions/nowhere")).status, 404)
      }))

    it.effect("says what there is to run", () =>
      Effect.gen(function*() {
        const { agents } = (yield* ask("/v1/agents")).body
        assert.deepStrictEqual(agents.map((agent: Loose) => [agent.name, agent.tools, agent.limits.cost, agent.input]), [["clerk", ["refund", "weather"], "0.5", null]])
        const { tools } = (yield* ask("/v1/tools?category=sales")).body
        assert.deepStrictEqual(tools.map((tool: Loose) => [tool.name, tool.effect, tool.approval, tool.agents]), [["refund", "idempotent", true, ["clerk"]]])
        assert.hasAllKeys(tools[0].parameters.properties, ["order", "dollars", "account"])
        assert.strictEqual((yield* ask("/v1/tools")).body.tools.length, 2)
        const { models } = (yield* ask("/v1/models")).body
        assert.deepStrictEqual(models.find((model: Loose) => model.model === "scripted:test").prices, { input: "1", output: "2", cacheRead: "0.1" })
        assert.isFalse(models.some((model: Loose) => /openai|gpt/i.test(model.model)))
      }))

    it.effect("tells what was done, and that nothing of it was changed", () =>
      Effect.gen(function*() {
        const run = yield* start({ input: "weather" })
        const { body } = yield* ask(`/v1/audit?run=${run.run}&limit=3`)
        assert.deepStrictEqual(body.rows.map((row: Loose) => row.event), ["RunCompleted", "TurnCompleted", "ToolCompleted"])
        assert.match(body.rows[0].principal, /^key:/)
        const older = yield* ask(`/v1/audit?run=${run.run}&before=${body.next}`)
        assert.isTrue(older.body.rows.every((row: Loose) => row.n < body.next))
        const tool = yield* ask(`/v1/audit?run=${run.run}&tool=weather&success=true`)
        assert.deepStrictEqual(tool.body.rows.map((row: Loose) => row.input), [{ city: "Lisbon" }])
        const report = (yield* ask("/v1/audit/verify")).body
        assert.isNull(report.broken)
        assert.isAbove(report.rows, 3)
        const kept = yield* ask(`/v1/audit/verify?expect=${report.head.n}:${report.head.hash}`)
        assert.isNull(kept.body.broken)
        const forged = yield* ask(`/v1/audit/verify?expect=${report.head.n}:${"0".repeat(64)}`)
        assert.strictEqual(forged.body.broken.problem, "anchor-differs")
      }))

    it.effect("adds up what was spent and what failed", () =>
      Effect.gen(function*() {
        yield* start({ input: "weather", session: "spending" })
        yield* start({ input: "fail", session: "failing" })
        const by = (what: string) => Effect.map(ask(`/v1/usage?by=${what}`), ({ body }) => body)
        const [org, session, agent, model, tool, day] = yield* Effect.forEach(["org", "session", "agent", "model", "tool", "day"], by)
        for (const one of [session, agent, model, tool, day]) assert.strictEqual(one.cost, org.cost)
        assert.strictEqual(org.lines.length, 1)
        assert.strictEqual(session.lines.find((line: Loose) => line.key === "spending").calls, 2)
        assert.isAbove(tool.lines.find((line: Loose) => line.key === "weather").calls, 0)
        const none = yield* ask("/v1/usage?until=1000")
        assert.deepStrictEqual([none.body.lines, none.body.cost], [[], "0"])
        const { tools } = (yield* ask("/v1/tools/usage")).body
        assert.isAbove(tools.find((line: Loose) => line.tool === "weather").calls, 0)
        const { body } = yield* ask("/v1/errors?limit=5")
        assert.deepStrictEqual(body.runs.byError, [{ error: "ModelRefused", agent: "clerk", runs: 1 }])
        assert.isAbove(body.runs.rate, 0)
        assert.isTrue(body.latest.some((one: Loose) => one.action === "run"))
        assert.isAtMost(body.latest.length, 5)
      }))

    it.effect("sets what may be spent, and stops what would cost more", () =>
      Effect.gen(function*() {
        const set = yield* ask("/v1/budgets", { method: "PUT", body: { scope: "session:frugal", limit: "0.000001" } })
        assert.deepStrictEqual(set.body.budgets.map((one: Loose) => [one.scope, one.limit, one.period]), [["session:frugal", "0.000001", "none"]])
        const run = yield* start({ input: "hello", session: "frugal" })
        assert.deepStrictEqual([run.status, run.error._tag, run.error.scope], ["failed", "BudgetExceeded", "session:frugal"])
        const removed = yield* ask("/v1/budgets", { method: "PUT", body: { scope: "session:frugal", limit: null } })
        assert.deepStrictEqual(removed.body.budgets, [])
        assert.strictEqual((yield* start({ input: "hello", session: "frugal" })).status, "completed")
        yield* ask("/v1/budgets", { method: "PUT", body: { scope: "org", limit: "1000", period: "month" } })
        const { body } = yield* ask("/v1/budgets")
        assert.deepStrictEqual(body.budgets.find((one: Loose) => one.scope === "org:local").period, "month")
        assert.strictEqual((yield* ask("/v1/budgets", { method: "PUT", body: { scope: "org:other", limit: "1" } })).status, 400)
        assert.strictEqual((yield* ask("/v1/budgets", { method: "PUT", body: { scope: "org", limit: "-1" } })).status, 400)
      }))

    it.effect("makes keys that may do what they are for, until they are revoked", () =>
      Effect.gen(function*() {
        const made = yield* ask("/v1/keys", { body: { name: "reader", scopes: ["runs:read"], requestsPerMinute: 5 } })
        assert.strictEqual(made.status, 201)
        const { key, record } = made.body
        assert.match(key, /^ck_\w{8}_\w{32,}$/)
        assert.deepStrictEqual([record.name, record.prefix, record.scopes], ["reader", key.slice(0, 11), ["runs:read"]])
        assert.strictEqual((yield* ask("/v1/runs", { key })).status, 200)
        const forbidden = yield* ask("/v1/runs", { key, body: { input: "hello" } })
        assert.deepStrictEqual([forbidden.status, forbidden.body.scope], [403, "runs:write"])
        yield* Effect.forEach([1, 2, 3], () => ask("/v1/agents", { key }))
        const limited = yield* ask("/v1/agents", { key })
        assert.deepStrictEqual([limited.status, limited.body._tag], [429, "RateLimited"])
        assert.isAbove(Number(limited.headers.get("retry-after")), 0)
        const { body } = yield* ask("/v1/keys")
        assert.notInclude(JSON.stringify(body), key)
        const revoked = yield* ask(`/v1/keys/${record.id}`, { method: "DELETE" })
        assert.isNotNull(revoked.body.revokedAt)
        const refused = yield* ask("/v1/runs", { key })
        assert.deepStrictEqual([refused.status, refused.body._tag, refused.body.reason], [401, "KeyRefused", "revoked"])
        assert.strictEqual((yield* ask("/v1/keys/nothing", { method: "DELETE" })).status, 404)
        const past = yield* ask("/v1/keys", { body: { name: "late", scopes: ["admin"], expiresAt: 1 } })
        assert.deepStrictEqual([past.status, past.body._tag], [422, "KeyInvalid"])
      }))

    it.effect("shows an organisation nothing of another, whatever it asks for", () =>
      Effect.gen(function*() {
        const orgs = yield* Orgs
        yield* orgs.create(`other-${name}`, "Other")
        const key = yield* keyOf(["admin"], { org: OrgId.make(`other-${name}`) })
        const headers = { "idempotency-key": "shared" }
        const theirs = yield* ask("/v1/runs", { headers, body: { input: "refund", session: "secret" } })
        yield* events(theirs.body.run, { enough: ({ event }) => event === "RunParked" })
        const { body: listed } = yield* ask("/v1/keys")
        const run = theirs.body.run
        const request = `${run}.1.1`
        const asked: ReadonlyArray<readonly [string, Asked]> = [
          [`/v1/runs/${run}`, {}], [`/v1/runs/${run}/events`, {}], [`/v1/runs/${run}/messages`, { body: { text: "hello" } }],
          [`/v1/runs/${run}/cancel`, { body: {} }], [`/v1/approvals/${request}`, { body: { decision: "approved" } }], ["/v1/sessions/secret", {}],
          [`/v1/keys/${listed.keys[0].id}`, { method: "DELETE" }], ["/v1/budgets", { method: "PUT", body: { scope: `run:${run}`, limit: "1" } }]
        ]
        for (const [path, how] of asked) {
          const { body, status } = yield* ask(path, { ...how, key })
          assert.strictEqual(status, 404, path)
          assert.notInclude(JSON.stringify(body), "refund")
        }
        const lists = yield* Effect.forEach([
          "/v1/runs", `/v1/runs?session=secret`, `/v1/runs?before=ffffffff-ffff-7fff-bfff-ffffffffffff`, "/v1/sessions", "/v1/approvals", "/v1/usage?by=session",
          "/v1/usage?by=org", "/v1/tools/usage", "/v1/errors", "/v1/budgets", `/v1/audit?run=${run}`, "/v1/audit?tool=refund"
        ], (path) => ask(path, { key }))
        for (const { body, status } of lists) {
          assert.strictEqual(status, 200)
          const empty = [body.runs, body.sessions, body.approvals, body.lines, body.tools, body.budgets, body.rows].filter(Array.isArray)
          assert.deepStrictEqual(empty.flat(), [])
          assert.notInclude(JSON.stringify(body), run)
        }
        const own = yield* ask("/v1/runs", { key, headers, body: { input: "hello", session: "secret" } })
        assert.strictEqual(own.status, 202)
        assert.notStrictEqual(own.body.run, run)
        assert.strictEqual((yield* ask("/v1/sessions/secret", { key })).body.messages[0].text, "hello")
        assert.strictEqual((yield* ask("/metrics", { key })).status, 403)
        assert.strictEqual((yield* ask(`/v1/runs/${run}`)).body.status, "parked")
      }))

    it.effect("describes itself, and how it is", () =>
      Effect.gen(function*() {
        const reader = yield* keyOf(["runs:read"])
        assert.deepStrictEqual((yield* ask("/health", { key: null })).body, { status: "healthy" })
        assert.deepStrictEqual((yield* ask("/ready", { key: null })).body, { status: "ready" })
        const { body } = yield* ask("/openapi.json", { key: null })
        assert.isAbove(Object.keys(body.paths).length, 20)
        assert.property(body.paths["/v1/runs"].post.responses, "202")
        assert.include((yield* ask("/docs", { key: null })).body, "<html")
        yield* start({ input: "weather" })
        const metrics = yield* ask("/metrics")
        assert.include(metrics.body, `conductor_tool_calls_total{outcome="success",tool="weather"}`)
        assert.strictEqual((yield* ask("/metrics", { key: reader })).status, 403)
      }))
  })
}
