import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import { Agent, AuditLog, Budget, Conductor, CurrentOrg, CurrentPrincipal, Model, Money, Plugin, Run, Tool } from "../../src/index.ts"
import { Retention } from "../../src/Org.ts"
import { RunLog, Store } from "../../src/RunLog.ts"
import { scripted } from "../support/conductors.ts"
import { databases } from "../support/databases.ts"
import { makeRun } from "../support/runs.ts"

const refund = Tool.make("refund", { description: "Gives money back.", success: Schema.String, effect: "unsafe", approval: true })
const note = Tool.make("note", { description: "Takes a note.", success: Schema.String, effect: "pure" })
const plugin = Plugin.make("shop", {
  tools: [refund, note],
  handlers: { refund: () => Effect.succeed("refunded"), note: () => Effect.succeed("noted") }
})
const agent = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [plugin] })

/** Calls the tool that the message names, and else says how many messages it has heard. */
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  const name = last?.role === "user" ? ["refund", "note"].find((tool) => last.text === tool) : undefined
  return name === undefined ? `heard ${request.messages.length}` : { toolCalls: [{ name }] }
})

const day = 86_400_000
const now = Effect.clockWith((clock) => clock.currentTimeMillis)

/** Ninety days before now: what the tests take for old. */
const cutoff = Effect.map(now, (at) => at - 90 * day)

/** Makes runs and their sessions a hundred days older. */
const age = Effect.fnUntraced(function*(...runs: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`UPDATE runs SET created_at = created_at - interval '100 days', ended_at = ended_at - interval '100 days' WHERE ${sql.in("id", runs)}`
  yield* sql`UPDATE sessions s SET created_at = s.created_at - interval '100 days' FROM runs r
    WHERE r.org_id = s.org_id AND r.session_id = s.id AND ${sql.in("r.id", runs)}`
})

/** How many rows the tables have of an organisation. */
const rowsOf = Effect.fnUntraced(function*(org: Run.OrgId) {
  const sql = yield* SqlClient.SqlClient
  const counts: Record<string, number> = {}
  for (const table of ["runs", "run_events", "model_calls", "run_inbox", "approvals", "budgets", "sessions", "tool_executions"]) {
    const [row] = yield* sql<{ readonly n: bigint }>`SELECT count(*) AS n FROM ${sql(table)} WHERE org_id = ${org}`
    counts[table] = Number(row?.n)
  }
  return counts
})

const nothing = { runs: 0, run_events: 0, model_calls: 0, run_inbox: 0, approvals: 0, budgets: 0, sessions: 0, tool_executions: 0 }

let count = 0
const freshOrg = () => Run.OrgId.make(`kept-${++count}`)

for (const { layer: database, name } of databases) {
  const runtime = Retention.layer.pipe(
    Layer.provideMerge(Conductor.layerDatabase({ agents: [agent], models: scripted(provider), database })),
    Layer.provide(SecureRandom.layerWebCrypto)
  )
  layer(runtime, { excludeTestServices: true })(`Retention (${name})`, (it) => {
    it.effect("takes old finished runs with all that hangs on them, and leaves the audit trail whole", () =>
      Effect.gen(function*() {
        const org = freshOrg()
        const other = freshOrg()
        const as = Effect.provideService(CurrentOrg, org)
        const talked = yield* as(Conductor.run(agent, "note", { limits: { cost: Money.usd("1") } }))
        const asked = yield* as(Conductor.start(agent, "refund"))
        yield* Effect.flip(as(Conductor.result(asked)))
        const [request] = yield* as(Conductor.approvals())
        yield* as(Conductor.decide(request?.id ?? "", { decision: "approved" }))
        yield* as(Conductor.result(asked))
        yield* (yield* Budget).set(org, `session:${talked.session}`, Money.usd("5"))
        const recent = yield* as(Conductor.run(agent, "hello"))
        const others = yield* Effect.provideService(Conductor.run(agent, "hello"), CurrentOrg, other)
        yield* age(talked.run, asked, others.run)
        const audit = yield* AuditLog
        const trail = yield* audit.list({ org, limit: 100 })

        const { count, prune } = yield* Retention
        const before = yield* cutoff
        const planned = yield* count(org, before)
        const gone = yield* Effect.provideService(prune(org, before), CurrentPrincipal, "user:ann")
        assert.deepStrictEqual(gone, planned)
        assert.deepInclude(gone, { runs: 2, commands: 1, sessions: 2 })
        assert.isAbove(gone.events, 10)
        assert.isAbove(gone.calls, 2)
        assert.deepInclude(yield* rowsOf(org), { ...nothing, runs: 1, run_events: recent.turns * 2 + 3, model_calls: 1, sessions: 1, budgets: 1 })
        // Who begins the conversation again may spend no more than before.
        assert.deepStrictEqual((yield* (yield* Budget).list(org)).map(({ limit, scope }) => [scope, limit]), [[`session:${talked.session}`, Money.usd("5")]])
        assert.strictEqual((yield* rowsOf(other))["runs"], 1)
        for (const run of [talked.run, asked]) {
          assert.strictEqual((yield* Effect.flip(as(Conductor.result(run))))._tag, "RunNotFound")
        }

        const [row, ...rest] = yield* audit.list({ org, limit: 100 })
        assert.deepStrictEqual(rest, trail)
        assert.deepInclude(row, { tool: "prune", principal: "user:ann", target: `org:${org}` })
        assert.deepInclude(row?.input, { runs: 2, sessions: 2 })
        assert.isUndefined((yield* audit.verify({ org })).broken)
        assert.deepInclude(yield* prune(org, before), { runs: 0, sessions: 0 })
        assert.strictEqual((yield* audit.list({ org, limit: 1 }))[0]?.n, row?.n)
        // What the trail says of a run that is gone is erased by itself.
        assert.isAbove(yield* audit.erase({ org, where: { run: talked.run }, by: "user:ann" }), 0)
        assert.isUndefined((yield* audit.verify({ org })).broken)
      }))

    it.effect("never takes an unfinished run, nor what it goes on from, however old", () =>
      Effect.gen(function*() {
        const org = freshOrg()
        const as = Effect.provideService(CurrentOrg, org)
        const { prune } = yield* Retention
        const first = yield* as(Conductor.run(agent, "hello", { session: "talk" }))
        const waiting = yield* as(Conductor.start(agent, "refund", { session: "talk" }))
        yield* Effect.flip(as(Conductor.result(waiting)))
        yield* age(first.run, waiting)
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 0, sessions: 0 })
        yield* as(Conductor.cancel(waiting))
        assert.strictEqual((yield* Effect.flip(as(Conductor.result(waiting))))._tag, "Cancelled")
        yield* age(waiting)
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 2, sessions: 1 })
        assert.deepInclude(yield* rowsOf(org), nothing)
      }))

    it.effect("keeps the conversation that a later run goes on from", () =>
      Effect.gen(function*() {
        const org = freshOrg()
        const as = Effect.provideService(CurrentOrg, org)
        const { prune } = yield* Retention
        const first = yield* as(Conductor.run(agent, "one", { session: "talk" }))
        const second = yield* as(Conductor.run(agent, "two", { session: "talk" }))
        const elsewhere = yield* as(Conductor.run(agent, "one"))
        yield* age(first.run, elsewhere.run)
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 1, sessions: 1 })
        // It has heard one, its answer, two, its answer, three.
        assert.strictEqual((yield* as(Conductor.run(agent, "three", { session: "talk" }))).text, "heard 5")
        const sql = yield* SqlClient.SqlClient
        const all = yield* sql<{ readonly id: string }>`SELECT id FROM runs WHERE org_id = ${org}`
        yield* age(...all.map(({ id }) => id).filter((id) => id !== first.run))
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 3, sessions: 1 })
        assert.strictEqual((yield* as(Conductor.run(agent, "four", { session: "talk" }))).text, "heard 1")
        assert.strictEqual(second.text, "heard 3")
      }))

    it.effect("takes a long session in batches, the newest first, each with its row in the trail", () =>
      Effect.gen(function*() {
        const org = freshOrg()
        const log = yield* RunLog
        const sql = yield* SqlClient.SqlClient
        const runs = Array.from({ length: 230 }, () => makeRun({ org, session: "long" }))
        for (const run of runs) yield* log.append(run.append(run.started(), ...run.turn(), run.completed()))
        yield* age(...runs.map(({ run }) => run))
        const { prune } = yield* Retention
        // Somebody is about to let the newest go on: its process has a lease.
        const newest = runs.map(({ run }) => run).toSorted().at(-1) ?? ""
        yield* sql`UPDATE runs SET owner = ${(yield* Store).runner} WHERE id = ${newest}`
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 0, sessions: 0 })
        yield* sql`UPDATE runs SET owner = NULL WHERE id = ${newest}`
        assert.deepInclude(yield* prune(org, yield* cutoff), { runs: 230, sessions: 1 })
        const rows = yield* (yield* AuditLog).list({ org, action: "admin", limit: 10 })
        assert.deepStrictEqual(rows.map((row) => Schema.decodeUnknownSync(Schema.Struct({ runs: Schema.Int }))(row.input).runs), [30, 100, 100])
        assert.deepInclude(yield* rowsOf(org), nothing)
      }))

    // The embedded database has one connection, on which nobody is in anybody's way.
    if (name === "postgres") {
      it.effect("leaves a session alone in which somebody begins a run, or lets one go on, just then", () =>
        Effect.gen(function*() {
          const org = freshOrg()
          const as = Effect.provideService(CurrentOrg, org)
          const sql = yield* SqlClient.SqlClient
          const { prune } = yield* Retention
          const runs = yield* Effect.forEach(["one", "two", "three"], (text) => Effect.map(as(Conductor.run(agent, text, { session: "talk" })), ({ run }) => run))
          yield* age(...runs)
          const before = yield* cutoff
          const newest = runs.at(-1) ?? ""
          const meanwhile = (statement: Effect.Effect<unknown, unknown>) =>
            Effect.gen(function*() {
              const isHeld = Latch.makeUnsafe(false)
              const isOver = Latch.makeUnsafe(false)
              const other = yield* Effect.forkChild(sql.withTransaction(Effect.andThen(statement, Effect.andThen(isHeld.open, Effect.andThen(isOver.await, Effect.fail("undone"))))))
              yield* isHeld.await
              assert.deepInclude(yield* prune(org, before), { runs: 0, sessions: 0 })
              yield* isOver.open
              yield* Fiber.await(other)
            })
          yield* meanwhile(sql`UPDATE runs SET epoch = epoch + 1 WHERE id = ${newest}`)
          yield* meanwhile(sql`INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, epoch, seq)
            VALUES (${`ffffffff-0000-7000-8000-${String(count).padStart(12, "0")}`}, ${org}, 'talk', 'clerk', 'd', 'scripted:test', 'running', 1, 0)`)
          assert.strictEqual((yield* rowsOf(org))["runs"], 3)
          assert.deepInclude(yield* prune(org, before), { runs: 3, sessions: 1 })
        }))
    }

    it.effect("takes sessions without a run once they are old", () =>
      Effect.gen(function*() {
        const org = freshOrg()
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO organizations (id, name) VALUES (${org}, 'Sessions')`
        yield* sql`INSERT INTO sessions (id, org_id, created_at) VALUES ('old', ${org}, now() - interval '91 days'), ('new', ${org}, now())`
        const { count, prune } = yield* Retention
        const before = yield* cutoff
        assert.deepInclude(yield* count(org, before), { runs: 0, sessions: 1 })
        assert.deepInclude(yield* prune(org, before), { runs: 0, sessions: 1 })
        assert.deepStrictEqual(yield* sql`SELECT id FROM sessions WHERE org_id = ${org}`, [{ id: "new" }])
      }))
  })
}
