/**
 * Two organisations on one store: whatever one of them tries with what belongs to the other, it is as if that were not there. Also with
 * every `org_id = …` taken out of every statement of the program: the database holds the line.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, type Layer, Option, Result, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Approval } from "../../src/Approval.ts"
import { Database, type DatabaseLayer } from "../../src/Database.ts"
import { Agent, asOrg, AuditLog, Budget, Conductor, CurrentOrg, Memory, Model, Money, Org, Plugin, Run, Tool } from "../../src/index.ts"
import { Ledger } from "../../src/Ledger.ts"
import { Outcomes } from "../../src/Outcomes.ts"
import { RunLog, Store } from "../../src/RunLog.ts"
import { Sessions } from "../../src/Session.ts"
import { Export } from "../../src/testing.ts"
import { scripted } from "../support/conductors.ts"
import { embedded, postgres } from "../support/databases.ts"
import { cuts, mutant } from "../support/mutant.ts"
import { bouncer, double, pgbouncer, pooled, type Pooler } from "../support/pooler.ts"
import { ownServer, supabaseDatabase } from "../support/supabase.ts"

const refund = Tool.make("refund", { description: "Gives money back.", parameters: Schema.Struct({ order: Schema.String }), success: Schema.String, effect: "unsafe", approval: true })
const ship = Tool.make("ship", { description: "Ships.", success: Schema.String, effect: "reconcilable" })
const spy = Tool.make("spy", { description: "Asks the runtime what runs there are.", success: Schema.Array(Schema.String), effect: "pure" })
const plugin = Plugin.make("shop", {
  tools: [refund, ship, spy],
  handlers: Effect.map(RunLog, (log) => ({
    refund: () => Effect.succeed("refunded"),
    ship: () => Effect.die(new Error("broken")),
    spy: () => Effect.gen(function*() {
      const rows = yield* Effect.orDie(log.as(yield* CurrentOrg).list({ limit: 100 }))
      return rows.map((row) => row.run)
    })
  })),
  reconcile: { ship: () => Effect.succeed(Tool.unknown) }
})
const agent = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [plugin] })

/** Calls the tool that the message names, and else says all that it has heard. */
const provider = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  const text = last?.role === "user" ? last.text : ""
  const name = ["refund", "ship", "spy"].find((tool) => text.startsWith(tool))
  if (name !== undefined) return { toolCalls: [{ name, params: name === "refund" ? { order: text } : {} }] }
  return request.messages.map((message) => JSON.stringify(message)).join("\n")
})

const acme = Run.OrgId.make("acme")
const globex = Run.OrgId.make("globex")
const asAcme = Effect.provideService(CurrentOrg, acme)
const asGlobex = Effect.provideService(CurrentOrg, globex)

/** What only acme may ever read. */
const secret = "the recipe of acme"

/** Every way in which a run of acme can stand, and a session, a budget and a key of acme's. */
const belongings = Effect.gen(function*() {
  const orgs = yield* Org.Orgs
  yield* orgs.create(acme, "Acme")
  yield* orgs.create(globex, "Globex")
  const done = yield* Conductor.run(agent, secret, { session: "talk" })
  const asked = yield* Conductor.start(agent, `refund ${secret}`)
  yield* Effect.flip(Conductor.result(asked))
  const doubtful = yield* Conductor.start(agent, `ship ${secret}`)
  yield* Effect.flip(Conductor.result(doubtful))
  const failed = yield* Conductor.start(agent, `spy ${secret}`, { limits: { turns: 1 } })
  yield* Effect.flip(Conductor.result(failed))
  const [request] = yield* Conductor.approvals()
  assert.isDefined(request)
  yield* (yield* Budget).set(acme, "org:acme", Money.usd("1000"))
  const { record } = yield* (yield* Org.Keys).create({ org: acme, name: secret, scopes: ["admin"] })
  const fact = yield* (yield* Memory.Memory).remember({ text: secret })
  return { done: done.run, asked, fact, doubtful, failed, request, key: record, runs: [done.run, asked, doubtful, failed] }
}).pipe(asAcme)

type Outcome = { readonly found: unknown } | { readonly refused: string }

const tried = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Outcome, never, R> =>
  Effect.map(Effect.result(effect), (result): Outcome => Result.isSuccess(result) ? { found: result.success } : { refused: result.failure._tag })

const collected = <A, E, R>(stream: Stream.Stream<A, E, R>) => Stream.runCollect(Stream.take(stream, 1))

/** What the runtime's functions about one run answer, by name. */
const attempts = Effect.fnUntraced(function*(run: Run.RunId, call: string) {
  const conductor = yield* Conductor
  const log = (yield* RunLog).as(yield* CurrentOrg)
  return {
    find: yield* tried(conductor.find(run)),
    state: yield* tried(conductor.state(run)),
    watch: yield* tried(collected(conductor.watch(run))),
    result: yield* tried(conductor.result(run)),
    attend: yield* tried(conductor.attend(run)),
    send: yield* tried(conductor.send(run, "hello")),
    resolve: yield* tried(conductor.resolve(run, call, { resolution: "happened" })),
    cancel: yield* tried(conductor.cancel(run)),
    retry: yield* tried(conductor.retry(run)),
    logFind: yield* tried(log.find(run)),
    logState: yield* tried(log.state(run)),
    logWatch: yield* tried(collected(log.watch(run))),
    export: yield* tried(Export.of(run))
  }
})

/** The functions that are not about a run by its id; what they do is tried by itself below. */
const others = ["agents", "approvals", "decide", "drain", "list", "newRun", "start"]

const notThere: Outcome = { refused: "RunNotFound" }

type Runtime = Layer.Layer<Layer.Success<ReturnType<typeof runtimeOn>>, unknown>

/** Who asks the database for an organisation, and whether row-level security is over him. */
const reader = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* asOrg("acme")(sql<{ readonly user: string; readonly bypasses: boolean; readonly active: boolean }>`
    SELECT current_user::text AS user, r.rolsuper OR r.rolbypassrls AS bypasses, row_security_active('runs') AS active
    FROM pg_roles r WHERE r.rolname = current_user`)
  return row
})
const held = { user: "authenticated", bypasses: false, active: true }

/** What those who come from outside may do with the tables and functions, whatever the server gives to everybody. */
const rights = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  assert.deepStrictEqual(yield* reader, held)
  const functions = yield* sql<{ readonly name: string }>`
    SELECT DISTINCT p.proname::text AS name FROM pg_proc p, unnest(ARRAY['anon', 'authenticated']) AS r (role)
    WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype <> 'trigger'::regtype AND has_function_privilege(r.role, p.oid, 'EXECUTE') ORDER BY 1`
  assert.deepStrictEqual(functions.map(({ name }) => name), ["conductor_period_since", "conductor_period_until"])
  const tables = yield* sql<{ readonly name: string }>`
    SELECT c.relname::text AS name FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND (has_table_privilege('anon', c.oid, 'SELECT')
      OR (c.relname <> 'leads' AND has_table_privilege('authenticated', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
      OR (c.relkind = 'r' AND has_table_privilege('authenticated', c.oid, 'SELECT') AND NOT c.relrowsecurity)) ORDER BY 1`
  assert.deepStrictEqual(tables, [])
})

const suite = (name: string, runtime: Runtime, also: Effect.Effect<void, never, never> = Effect.void) => {
  layer(runtime, { excludeTestServices: true })(`An organisation (${name})`, (it) => {
    it.effect("finds nothing of another's, and can do nothing to it", () =>
      Effect.gen(function*() {
        const { asked, done, doubtful, fact, key, request, runs } = yield* belongings
        const conductor = yield* Conductor
        const log = yield* RunLog
        const audit = yield* AuditLog
        const approval = yield* Approval
        const keys = yield* Org.Keys
        const budget = yield* Budget
        const ledger = yield* Ledger
        const outcomes = yield* Outcomes
        const sessions = yield* Sessions
        const memory = yield* Memory.Memory
        const before = yield* Effect.forEach(runs, (run) => Effect.map(asAcme(conductor.find(run)), ({ seq, status }) => ({ seq, status })))
        const trail = yield* audit.verify({ org: acme })
        const call = (yield* asAcme(conductor.state(doubtful))).open?.calls[0]?.part.id ?? ""

        const seen: Array<unknown> = []
        for (const run of runs) {
          const outcomes = yield* asGlobex(attempts(run, call))
          assert.deepStrictEqual(Object.keys(outcomes).concat(others).filter((one) => one in conductor).toSorted(), Object.keys(conductor).toSorted())
          for (const [what, outcome] of Object.entries(outcomes)) assert.deepStrictEqual(outcome, notThere, what)
          seen.push(yield* asGlobex(Stream.runCollect(log.as(globex).read(run))))
          assert.deepStrictEqual(yield* tried(ledger.run(globex, run)), notThere)
          assert.isFalse(yield* budget.remove(globex, `run:${run}`))
          assert.deepStrictEqual(yield* tried(budget.correct(globex, `${run}.3`, { cost: Money.zero, source: "reported" })), { refused: "AttemptNotFound" })
        }
        seen.push(
          yield* asGlobex(conductor.list({ limit: 100 })),
          yield* asGlobex(conductor.list({ limit: 100, org: acme })),
          yield* asGlobex(conductor.list({ limit: 100, session: Run.SessionId.make("talk") })),
          yield* asGlobex(conductor.list({ limit: 100, status: "completed" })),
          yield* asGlobex(conductor.list({ limit: 100, agent: agent.name })),
          yield* asGlobex(conductor.approvals()),
          yield* approval.pending(globex, 100),
          yield* budget.list(globex),
          yield* ledger.totals("session", { org: globex }),
          yield* ledger.tools({ org: globex }),
          yield* outcomes.read({ org: globex }),
          yield* sessions.list(globex, { limit: 100 }),
          yield* asGlobex(memory.list()),
          yield* asGlobex(memory.recall({ text: secret })),
          yield* audit.list({ org: globex, run: done, limit: 100 })
        )
        assert.deepStrictEqual(seen.map((one) => Array.isArray(one) ? one.length : one), seen.map(() => 0))
        assert.deepStrictEqual(yield* approval.find(globex, request.id), Option.none())
        assert.deepStrictEqual(yield* sessions.find(globex, Run.SessionId.make("talk")), Option.none())
        for (const what of [{ id: fact.id }, { scope: "org" }, { text: secret }] as const) {
          assert.deepStrictEqual(yield* asGlobex(memory.forget(what)), { memories: 0, waiting: [] })
        }
        assert.deepStrictEqual(yield* memory.settle, [])
        for (const decision of ["approved", "denied"] as const) {
          assert.strictEqual((yield* Effect.flip(asGlobex(conductor.decide(request.id, { decision }))))._tag, "ApprovalNotFound")
        }
        assert.notInclude(JSON.stringify([yield* audit.list({ org: globex, limit: 1_000 }), yield* keys.list(globex)]), secret)
        assert.isUndefined((yield* audit.verify({ org: globex })).broken)
        assert.strictEqual((yield* Effect.flip(keys.revoke(globex, key.id, "eve")))._tag, "KeyNotFound")
        assert.deepStrictEqual((yield* keys.list(globex)).map(({ id }) => id), [])

        // Nothing of it has changed anything.
        assert.include((yield* budget.list(acme)).map(({ scope }) => scope), "org:acme")
        assert.isAbove((yield* ledger.run(acme, done)).own.calls, 0)
        assert.deepStrictEqual((yield* asAcme(memory.list())).map(({ text }) => text), [secret])
        assert.isAbove((yield* sessions.list(acme, { limit: 100 })).length, 3)
        const after = yield* Effect.forEach(runs, (run) => Effect.map(asAcme(conductor.find(run)), ({ seq, status }) => ({ seq, status })))
        assert.deepStrictEqual(after, before)
        assert.deepStrictEqual((yield* audit.verify({ org: acme })).head, trail.head)
        assert.strictEqual((yield* asAcme(conductor.approvals())).length, 1)
        assert.deepStrictEqual((yield* keys.list(acme)).map(({ id, revokedAt }) => [id, revokedAt]), [[key.id, null]])
        yield* asAcme(conductor.decide(request.id, { decision: "approved" }))
        assert.include((yield* asAcme(Conductor.result(asked))).text, "refunded")
      }))

    it.effect("has a session of the same name of its own, and cannot write into a run of another's", () =>
      Effect.gen(function*() {
        const mine = yield* asGlobex(Conductor.run(agent, "what do you know?", { session: "talk" }))
        assert.notInclude(mine.text, secret)
        const again = yield* asGlobex(Conductor.start(agent, "still nothing?", { session: "talk", whenBusy: "steer" }))
        assert.notInclude((yield* asGlobex(Conductor.result(again))).text, secret)
        const ours = yield* asAcme(Conductor.run(agent, "and you?", { session: "talk" }))
        assert.include(ours.text, secret)
        const { start } = yield* Conductor
        assert.strictEqual((yield* Effect.flip(asGlobex(start(agent, "mine now", { run: ours.run }))))._tag, "Fenced")
        assert.strictEqual((yield* asAcme(Conductor.result(ours.run))).text, ours.text)
      }))

    it.effect("is whom a handler of its run asks for, whoever started the process", () =>
      Effect.gen(function*() {
        const { list } = yield* Conductor
        const run = yield* asGlobex(Conductor.run(agent, "spy"))
        const theirs = (yield* asAcme(list({ limit: 100 }))).map((row) => row.run)
        assert.include(run.text, run.run)
        for (const other of theirs) assert.notInclude(run.text, other)
        assert.isAbove(theirs.length, 0)
      }))

    it.effect("reads as a role that bypasses nothing, also where whoever connects could", () =>
      Effect.gen(function*() {
        const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
        if (Option.isSome(sql)) yield* Effect.provideService(rights, SqlClient.SqlClient, sql.value)
        yield* also
      }))
  })
}

const runtimeOn = (database: DatabaseLayer) => Conductor.layerDatabase({ agents: [agent], models: scripted(provider), database })

suite("memory", Conductor.layerMemory({ agents: [agent], models: scripted(provider) }) as Runtime)
suite("postgres", runtimeOn(postgres))

let pooler: Pooler | undefined
suite(
  "behind a transaction pooler",
  runtimeOn(pooled((url) => Effect.tap(double(url), (made) => Effect.sync(() => pooler = made)))),
  Effect.sync(() => assert.isAbove(pooler?.moves() ?? 0, 50))
)
const bites = Effect.sync(() => assert.isAbove(cuts(), 25))
suite("pglite, of a program that forgets every WHERE", mutant(runtimeOn(embedded)), bites)
suite("postgres, of a program that forgets every WHERE", mutant(runtimeOn(postgres)), bites)
suite("supabase, of a program that forgets every WHERE", mutant(runtimeOn(supabaseDatabase)), bites)
if (pgbouncer !== undefined) {
  const database = pooled((url) => bouncer(pgbouncer ?? "", url))
  suite("behind pgbouncer, of a program that forgets every WHERE", mutant(runtimeOn(database)), bites)
}

layer(mutant(runtimeOn(postgres)), { excludeTestServices: true })("A program that forgets every WHERE", (it) => {
  it.effect("would give away everything, if the database let it", () =>
    Effect.gen(function*() {
      yield* asAcme(Conductor.run(agent, secret))
      const store = yield* Store
      assert.strictEqual((yield* store.list({ org: globex, limit: 10 }))[0]?.org, acme)
      assert.deepStrictEqual(yield* store.as(globex).list({ limit: 10 }), [])
    }))
})

describe("The role that organisations are read as", () => {
  it.live("can be taken on by an owner who is no superuser and made the roles himself", () =>
    Effect.scoped(Effect.gen(function*() {
      const { as, url } = yield* ownServer
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql.unsafe("CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'owner'")
        yield* sql.unsafe("ALTER DATABASE app OWNER TO owner")
      }).pipe(Effect.provide(Database.layerPostgres({ url, migrate: false })))
      assert.deepStrictEqual(yield* Effect.provide(reader, Database.layerPostgres({ url: as("owner", "owner") })), held)
    })), 60_000)
})
