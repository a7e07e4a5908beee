/**
 * Two organisations behind HTTP: every endpoint of the API is asked for what belongs to the other one, with a key that may do
 * everything in its own. Also of a program that forgets every WHERE.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, Conductor, CurrentOrg, Memory, Model, Org, Plugin, Run, Tool } from "../../src/index.ts"
import { ask, type Asked, keyOf, type Loose, served } from "../support/api.ts"
import { runtimes, scripted } from "../support/conductors.ts"
import { embedded, postgres } from "../support/databases.ts"
import { cuts, mutant } from "../support/mutant.ts"
import { bouncer, pgbouncer, pooled } from "../support/pooler.ts"
import { supabaseDatabase } from "../support/supabase.ts"

const refund = Tool.make("refund", { description: "Gives money back.", parameters: Schema.Struct({ order: Schema.String }), success: Schema.String, effect: "unsafe", approval: true })
const shop = Plugin.make("shop", { tools: [refund], handlers: { refund: () => Effect.succeed("refunded") } })
const clerk = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [shop] })

/** What only acme may ever read. */
const secret = "the recipe of acme"

/** Asks for approval, fails, or says what it has heard. */
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  const text = last?.role === "user" ? last.text : ""
  if (text.startsWith("refund")) return { toolCalls: [{ name: "refund", params: { order: text } }] }
  if (text.startsWith("fail")) return { text: "", finish: "content-filter" }
  return request.messages.map((message) => JSON.stringify(message)).join("\n")
})

const acme = Run.OrgId.make("acme")
const globex = Run.OrgId.make("globex")

/** Runs of acme's that are over, wait and have failed, a budget, a key, and something that is remembered. */
const belongings = Effect.gen(function*() {
  const orgs = yield* Org.Orgs
  yield* orgs.create(acme, "Acme")
  yield* orgs.create(globex, "Globex")
  const key = yield* keyOf(["admin"], { org: acme, name: secret })
  const begin = Effect.fnUntraced(function*(input: string, session: string) {
    const started = yield* ask("/v1/runs", { key, headers: { "idempotency-key": session }, body: { input, session } })
    assert.strictEqual(started.status, 202, JSON.stringify(started.body))
    return started.body.run as string
  })
  const done = yield* begin(secret, "talk")
  const waiting = yield* begin(`refund ${secret}`, "refunds")
  const failed = yield* begin(`fail ${secret}`, "failures")
  for (let left = true; left;) {
    yield* Effect.sleep("50 millis")
    left = (yield* ask("/v1/runs", { key })).body.runs.some((run: Loose) => run.status === "running")
  }
  yield* ask("/v1/budgets", { key, method: "PUT", body: { scope: "session:talk", limit: "7" } })
  const fact = yield* Effect.provideService((yield* Memory.Memory).remember({ text: secret }), CurrentOrg, acme)
  const { body: approvals } = yield* ask("/v1/approvals", { key })
  const { body: keys } = yield* ask("/v1/keys", { key })
  return { key, done, waiting, failed, fact, approval: approvals.approvals[0].id as string, keyId: keys.keys[0].id as string }
})

type Belongings = Effect.Success<typeof belongings>

/** How an endpoint is asked for what is acme's, and what it may answer. */
interface Attempt {
  readonly path: string
  readonly how?: Asked
  readonly status: number
}

/** The attempts on an endpoint, by method and path of the contract. */
const attemptsOn = ({ approval, done, fact, failed, keyId, waiting }: Belongings): Readonly<Record<string, ReadonlyArray<Attempt>>> => {
  const runs = [done, waiting, failed]
  const each = (path: (run: string) => string, how: Asked = {}) => runs.map((run): Attempt => ({ path: path(run), how, status: 404 }))
  const lists = (...paths: ReadonlyArray<string>) => paths.map((path): Attempt => ({ path, status: 200 }))
  return {
    // The same key, and a session of the same name, are another's.
    "POST /v1/runs": [
      { path: "/v1/runs", how: { headers: { "idempotency-key": "talk" }, body: { input: "what do you know?", session: "talk" } }, status: 202 },
      { path: "/v1/runs", how: { body: { input: "refund mine", session: "own" } }, status: 202 },
      // It comes to the run that is under way, for which its key stands from then on.
      { path: "/v1/runs", how: { headers: { "idempotency-key": "refunds" }, body: { input: "and then?", session: "own", whenBusy: "queue" } }, status: 202 }
    ],
    "GET /v1/runs": lists("/v1/runs", "/v1/runs?limit=1000", "/v1/runs?session=refunds", "/v1/runs?status=failed", `/v1/runs?before=ffffffff-ffff-7fff-bfff-ffffffffffff`),
    "GET /v1/runs/{run}": each((run) => `/v1/runs/${run}`),
    "GET /v1/runs/{run}/events": each((run) => `/v1/runs/${run}/events`),
    "POST /v1/runs/{run}/messages": each((run) => `/v1/runs/${run}/messages`, { body: { text: "hello" } }),
    "POST /v1/runs/{run}/cancel": each((run) => `/v1/runs/${run}/cancel`, { body: {} }),
    "GET /v1/sessions": lists("/v1/sessions", "/v1/sessions?before=refunds"),
    "POST /v1/sessions": [{ path: "/v1/sessions", how: { body: { session: "refunds" } }, status: 201 }],
    "GET /v1/sessions/{session}": [{ path: "/v1/sessions/failures", status: 404 }, { path: "/v1/sessions/refunds", status: 200 }],
    "GET /v1/approvals": lists("/v1/approvals"),
    "POST /v1/approvals/{id}": ["approved", "denied"].map((decision): Attempt => ({ path: `/v1/approvals/${approval}`, how: { body: { decision } }, status: 404 })),
    "GET /v1/memories": lists("/v1/memories", "/v1/memories?scope=org", "/v1/memories?q=recipe", `/v1/memories?before=ffffffff-ffff-7fff-bfff-ffffffffffff`),
    "POST /v1/memories": [{ path: "/v1/memories", how: { body: { text: "Ours is no secret." } }, status: 201 }],
    "DELETE /v1/memories/{id}": [{ path: `/v1/memories/${fact.id}`, how: { method: "DELETE" }, status: 404 }],
    "POST /v1/memories/forget": [{ text: "recipe" }, { scope: "org" }].map((body): Attempt => ({ path: "/v1/memories/forget", how: { body }, status: 200 })),
    "GET /v1/agents": lists("/v1/agents"),
    "GET /v1/tools": lists("/v1/tools"),
    "GET /v1/models": lists("/v1/models"),
    "GET /v1/audit": lists("/v1/audit", ...runs.map((run) => `/v1/audit?run=${run}`), "/v1/audit?session=refunds", "/v1/audit?tool=refund"),
    "GET /v1/audit/verify": lists("/v1/audit/verify"),
    "GET /v1/usage": lists(...["org", "session", "agent", "model", "tool", "day"].map((by) => `/v1/usage?by=${by}`)),
    "GET /v1/tools/usage": lists("/v1/tools/usage"),
    "GET /v1/errors": lists("/v1/errors"),
    "GET /v1/budgets": lists("/v1/budgets"),
    "PUT /v1/budgets": [
      ...runs.map((run): Attempt => ({ path: "/v1/budgets", how: { method: "PUT", body: { scope: `run:${run}`, limit: null } }, status: 404 })),
      // A budget of the same name is another's.
      ...["5", null].map((limit): Attempt => ({ path: "/v1/budgets", how: { method: "PUT", body: { scope: "session:talk", limit } }, status: 200 }))
    ],
    "GET /v1/keys": lists("/v1/keys"),
    "POST /v1/keys": [{ path: "/v1/keys", how: { body: { name: "own", scopes: ["runs:read"] } }, status: 201 }],
    "DELETE /v1/keys/{id}": [{ path: `/v1/keys/${keyId}`, how: { method: "DELETE" }, status: 404 }],
    "POST /v1/dashboard": [{ path: "/v1/dashboard", how: { method: "POST" }, status: 201 }],
    "GET /health": lists("/health"),
    "GET /ready": lists("/ready"),
    "GET /metrics": [{ path: "/metrics", status: 403 }]
  }
}

/** What acme has, as acme sees it. */
const seenBy = (key: string) =>
  Effect.map(
    Effect.forEach(["/v1/runs", "/v1/sessions", "/v1/approvals", "/v1/budgets", "/v1/usage?by=org", "/v1/audit", "/v1/sessions/talk", "/v1/memories"], (path) => ask(path, { key })),
    (answers) => answers.map(({ body }) => body)
  )

const variants = [
  ...runtimes([clerk], provider),
  ...[
    { name: "pglite", database: embedded },
    { name: "postgres", database: postgres },
    { name: "supabase", database: supabaseDatabase },
    ...(pgbouncer === undefined ? [] : [{ name: "behind pgbouncer", database: pooled((url) => bouncer(pgbouncer ?? "", url)) }])
  ].map(({ database, name }) => ({
    name: `${name}, of a program that forgets every WHERE`,
    layer: mutant(Conductor.layerDatabase({ agents: [clerk], models: scripted(provider), database })) as ReturnType<typeof runtimes>[number]["layer"] // it has no tables in memory, which nobody here asks for
  }))
]

for (const { layer: runtime, name } of variants) {
  layer(served(runtime), { excludeTestServices: true, timeout: 60_000 })(`An organisation behind HTTP (${name})`, (it) => {
    it.effect("is shown nothing of another at any endpoint, and can do nothing to it", () =>
      Effect.gen(function*() {
        const theirs = yield* belongings
        const key = yield* keyOf(["admin"], { org: globex, name: "globex" })
        const before = yield* seenBy(theirs.key)
        const document = (yield* ask("/openapi.json")).body
        const operations = Object.entries<Loose>(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`))
        const attempts = attemptsOn(theirs)
        assert.deepStrictEqual(Object.keys(attempts).toSorted(), operations.toSorted())

        const cutBefore = cuts()
        const marks = [secret, theirs.done, theirs.waiting, theirs.failed, theirs.keyId, "failures"]
        for (const [operation, all] of Object.entries(attempts)) {
          for (const { how = {}, path, status } of all) {
            const answer = yield* ask(path, { ...how, key })
            const text = JSON.stringify(answer.body)
            assert.strictEqual(answer.status, status, `${operation}: ${path} → ${text}`)
            // What was asked for is said again where it is not there.
            const asked = status < 300 ? "" : JSON.stringify([path, how.body])
            for (const mark of marks) if (!asked.includes(mark)) assert.notInclude(text, mark, `${operation}: ${path}`)
          }
        }
        if (name.includes("forgets")) assert.isAbove(cuts() - cutBefore, 20)
        assert.deepStrictEqual(yield* seenBy(theirs.key), before)
        assert.strictEqual((yield* ask("/v1/keys", { key: theirs.key })).body.keys[0].revokedAt, null)
        // The same request of acme's is still the one that it was.
        for (const [session, input, run] of [["talk", secret, theirs.done], ["refunds", `refund ${secret}`, theirs.waiting]] as const) {
          const again = yield* ask("/v1/runs", { key: theirs.key, headers: { "idempotency-key": session }, body: { input, session } })
          assert.strictEqual(again.body.run, run, session)
        }
        yield* ask(`/v1/approvals/${theirs.approval}`, { key: theirs.key, body: { decision: "denied" } })
      }))
  })
}
