import { assert, it, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, asOrg, AuditLog, Conductor, Memory, Model, Run } from "../../src/index.ts"
import { memoryPlugin } from "../../src/plugins/memory.ts"
import { RunLog } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { databases } from "../support/databases.ts"
import { runtimes } from "../support/conductors.ts"

/** What is remembered and forgotten, with all that hides a text in JSON, and the parts of it that nothing may keep. */
const secret = "Ann's \"vault\" opens with Rhein\ngold-7731, \\o/ ünïcode 仓库"
const parts = ["gold-7731", "Rhein", "vault", "仓库"]

/** As a model may write it: with escapes that nobody needs. */
const escaped = JSON.stringify({ text: secret }).replaceAll(/[^ -~]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`)

const said = (request: Model.Request): string => {
  const last = request.messages.at(-1)
  return last?.role === "user" ? last.text : last?.role === "tool" ? last.results.map((one) => one.result).join() : ""
}

const idIn = (text: string): string => /"id":"([^"]+)"/.exec(text)?.[1] ?? ""

const model = Model.Scripted.make((request) => {
  const text = said(request)
  const last = request.messages.at(-1)
  if (last?.role === "tool") {
    const [result] = last.results
    if (result?.name === "recall" && request.messages.some((message) => message.role === "user" && message.text.includes("forget"))) {
      return { toolCalls: [{ name: "forget", params: { id: idIn(text) } }] }
    }
    return `That was: ${text} and ${result?.name === "remember" ? secret : "no more"}`
  }
  if (text.startsWith("Remember")) return { reasoning: `They say ${secret}`, signature: "signed", toolCalls: [{ name: "remember", arguments: escaped }] }
  return { toolCalls: [{ name: "recall", params: { query: "what opens with?" } }] }
})

const clerk = Agent.make("clerk", {
  instructions: "You remember what you are told.",
  model: "scripted:test",
  plugins: [memoryPlugin({ approveForgetting: false })]
})

const careful = Agent.make("careful", {
  instructions: "You remember what you are told, and ask before you forget.",
  model: "scripted:test",
  plugins: [memoryPlugin({ scope: "org" })]
})

/** Every column of every table, where there are tables, with where it is. */
const everything = Effect.gen(function*() {
  const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
  if (Option.isNone(sql)) {
    const log = yield* RunLog
    const runs = yield* log.list({ org: Run.OrgId.make("local"), limit: 100 })
    const events = yield* Effect.forEach(runs, ({ run }) => Stream.runCollect(log.read(run)))
    const rows = yield* (yield* AuditLog).list({ org: Run.OrgId.make("local"), limit: 1_000 })
    const facts = yield* (yield* Memory.Memory).list()
    return [{ column: "run_events", text: JSON.stringify(events.flat(), (_, value: unknown) => typeof value === "bigint" ? `${value}` : value) },
      { column: "audit_logs", text: JSON.stringify(rows, (_, value: unknown) => typeof value === "bigint" ? `${value}` : value) },
      { column: "memories", text: JSON.stringify(facts) }]
  }
  const columns = yield* sql.value<{ readonly table_name: string; readonly column_name: string; readonly data_type: string }>`
    SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c
    JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
    WHERE c.table_schema = current_schema`
  assert.isAbove(columns.length, 150)
  return yield* Effect.forEach(columns, ({ column_name, data_type, table_name }) => {
    const column = data_type === "bytea" ? sql.value`encode(${sql.value(column_name)}, 'escape')` : sql.value`${sql.value(column_name)}::text`
    return Effect.map(
      sql.value<{ readonly text: string }>`SELECT coalesce(string_agg(${column}, ' '), '') AS text FROM ${sql.value(table_name)}`,
      ([row]) => ({ column: `${table_name}.${column_name}`, text: row?.text ?? "" })
    )
  })
})

/** The columns that hold a part of what is to be forgotten. */
const traces = Effect.map(everything, (all) =>
  all.filter(({ text }) => parts.some((part) => text.toLowerCase().includes(part.toLowerCase()))).map(({ column }) => column))

const verified = Effect.gen(function*() {
  const { broken, rows } = yield* (yield* AuditLog).verify({ org: Run.OrgId.make("local") })
  assert.isUndefined(broken)
  return rows
})

for (const { layer: runtime, name } of runtimes([clerk, careful], model)) {
  layer(runtime, { excludeTestServices: true })(`forgetting (${name})`, (it) => {
    it.effect("leaves no trace in any table, the logs fold, and the audit chain verifies", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const log = yield* RunLog
        const told = yield* Conductor.run(clerk, `Remember this: ${secret}`, { session: "ann" })
        const [fact] = yield* memory.list()
        assert.deepInclude(fact, { text: secret, scope: "agent:clerk", sourceRun: told.run, createdBy: "local" })
        const asked = yield* Conductor.run(clerk, "What opens with what?", { session: "ann" })
        assert.include(asked.text, "gold-7731")
        const tags = yield* Effect.forEach([told.run, asked.run], testing.tags)
        assert.isAtLeast((yield* traces).length, 3)

        assert.deepStrictEqual(yield* memory.forget({ id: fact?.id ?? Memory.MemoryId.make("") }), { memories: 1, waiting: [] })
        assert.deepStrictEqual(yield* traces, [])
        yield* verified
        assert.deepStrictEqual(yield* Effect.forEach([told.run, asked.run], testing.tags), tags)
        for (const run of [told.run, asked.run]) yield* testing.check(run)
        const { messages } = yield* log.state(told.run)
        assert.deepStrictEqual(messages[0], { role: "user", text: "Remember this: [FORGOTTEN]" })
        const [call] = yield* testing.toolCalls(told.run)
        assert.strictEqual(call?.arguments, "{\"text\":\"[FORGOTTEN]\"}")
        // The session goes on from what is left.
        assert.include((yield* Conductor.run(clerk, "And what closes?", { session: "ann" })).text, "That was: [] and no more")
        assert.deepStrictEqual(yield* traces, [])
      }), 60_000)

    it.effect("leaves a run alone that is under way, and looks through it when it is over", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        yield* Conductor.run(careful, `Remember this: ${secret}`)
        const run = yield* Conductor.start(careful, `What is it? Then forget it: ${secret}`)
        const parked = yield* Effect.flip(Conductor.result(run))
        const [approval] = parked._tag === "RunWaiting" ? parked.approvals ?? [] : []

        const forgotten = yield* memory.forget({ text: "gold-7731" })
        assert.deepStrictEqual(forgotten, { memories: 1, waiting: [run] })
        assert.deepStrictEqual(yield* memory.list(), [])
        assert.deepStrictEqual(yield* memory.settle, [run])
        // Nobody touches the log of a run that may go on from it.
        assert.include(JSON.stringify((yield* (yield* RunLog).state(run)).messages), "7731")

        yield* Conductor.decide(approval?.approval ?? "", { decision: "denied", comment: `Keep ${secret}` })
        yield* Conductor.result(run)
        assert.deepStrictEqual(yield* memory.settle, [])
        assert.deepStrictEqual(yield* traces, [])
        yield* testing.check(run)
        yield* verified
        assert.deepStrictEqual(yield* memory.settle, [])
      }), 60_000)

    it.effect("goes from whatever a run was started with, told on its way, and ended for", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const conductor = yield* Conductor
        const run = yield* Conductor.start(careful, `What is it? Then forget it: ${secret}`, {
          metadata: { note: secret },
          history: [{ role: "user", text: secret }, { role: "assistant", model: "outside:unknown", parts: [{ type: "text", text: secret }] }]
        })
        yield* memory.remember({ text: secret })
        yield* Effect.flip(Conductor.result(run))
        yield* conductor.send(run, `And mind: ${secret}`)
        yield* conductor.cancel(run, `Because of ${secret}`)
        yield* Effect.flip(Conductor.result(run))
        assert.isAtLeast((yield* traces).length, 3)
        assert.deepStrictEqual(yield* memory.forget({ text: secret }), { memories: 1, waiting: [] })
        assert.deepStrictEqual(yield* traces, [])
        yield* testing.check(run)
        yield* verified
      }), 60_000)

    it.effect("is a tool, too: what the agent is asked to forget is gone when its run is over", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        yield* Conductor.run(clerk, `Remember this: ${secret}`)
        // The own memories of an agent are nobody else's.
        assert.strictEqual((yield* Conductor.run(careful, "What opens with what?")).text, "That was: [] and no more")
        const { run } = yield* Conductor.run(clerk, "What opens with it? Then forget it.")
        const calls = yield* testing.toolCalls(run)
        assert.deepStrictEqual(calls.map((call) => [call.name, call.outcome]), [["recall", "success"], ["forget", "success"]])
        assert.strictEqual(calls[1]?.result, "{\"forgotten\":true}")
        assert.deepStrictEqual(yield* memory.list(), [])
        assert.deepStrictEqual(yield* memory.settle, [])
        assert.deepStrictEqual(yield* traces, [])
        yield* verified
      }), 60_000)
  })
}

it.live("a process that dies while it remembers or forgets remembers once, and forgets all the same", () =>
  Effect.gen(function*() {
    const report = yield* testing.CrashMatrix.run({
      agents: [clerk],
      model,
      program: Effect.andThen(Conductor.run(clerk, `Remember this: ${secret}`), Conductor.run(clerk, "What opens with it? Then forget it.")),
      check: ({ runs }) =>
        Effect.gen(function*() {
          const memory = yield* Memory.Memory
          yield* memory.settle
          const facts = yield* memory.list()
          // The first run alone remembers, and the second forgets.
          assert.strictEqual(facts.length, runs.length === 1 ? 1 : 0)
          assert.deepStrictEqual(yield* traces, runs.length === 1 ? ["run_events", "audit_logs", "memories"] : [])
        })
    })
    assert.isAbove(report.byPlace["before handler"], 2)
  }), 60_000)


for (const { layer: database, name } of databases) {
  layer(database)(`redaction of a log (${name})`, (it) => {
    it.effect("is for the service alone, changes no run under way, and no event into another", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')`
        yield* sql`INSERT INTO sessions (id, org_id) VALUES ('one', 'acme')`
        yield* sql`INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, epoch, seq)
          VALUES ('run', 'acme', 'one', 'clerk', 'd', 'scripted:test', 'running', 1, 1)`
        yield* sql`INSERT INTO run_events (run_id, seq, epoch, org_id, at, tag, payload)
          VALUES ('run', 1, 1, 'acme', 0, 'MessageReceived', '{"_tag":"MessageReceived","text":"vault"}')`
        const redact = (payload: string) =>
          sql<{ readonly done: boolean }>`SELECT conductor_redact('acme', 'ann', 'run', ARRAY[1], ARRAY[${payload}], '{}', '{}', '{}') AS done`
        const changed = "{\"_tag\":\"MessageReceived\",\"text\":\"[FORGOTTEN]\"}"
        assert.deepStrictEqual(yield* redact(changed), [{ done: false }])
        yield* sql`UPDATE runs SET status = 'completed', ended_at = now()`
        for (const other of ["{\"_tag\":\"RunCompleted\"}", "{\"_tag\":\"Mess"]) yield* Effect.flip(redact(other))
        const [kept] = yield* sql`SELECT payload FROM run_events`
        assert.deepStrictEqual(kept, { payload: "{\"_tag\":\"MessageReceived\",\"text\":\"vault\"}" })
        assert.deepStrictEqual(yield* redact(changed), [{ done: true }])
        assert.deepStrictEqual(yield* sql`SELECT payload FROM run_events`, [{ payload: changed }])
        assert.deepStrictEqual(yield* sql`SELECT tool_name, principal, run_id, input_params FROM audit_logs`, [
          { tool_name: "run_redact", principal: "ann", run_id: "run", input_params: { events: [1], commands: [], approvals: [] } }
        ])
        for (const statement of [redact(changed), sql`SELECT * FROM memory_erasures`, sql`DELETE FROM memories`]) {
          const error = yield* Effect.flip(asOrg("acme")(statement))
          assert.match(String(error.reason.cause), /permission denied/)
        }
      }))
  })
}
