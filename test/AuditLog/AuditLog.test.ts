import { NodeCrypto } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import * as AuditLogModule from "../../src/AuditLog.ts"
import { AuditLog, type Entry } from "../../src/AuditLog.ts"
import * as Money from "../../src/Money.ts"
import { ApprovalId, DefinitionHash, LimitExceeded, OrgId, RunId, type RunEvent, RunnerId, StorageFailed } from "../../src/Run.ts"
import { RunLog } from "../../src/RunLog.ts"
import * as Tool from "../../src/Tool.ts"
import { databases } from "../support/databases.ts"
import { makeRun, wholeRun } from "../support/runs.ts"

const Lookup = Schema.Struct({ lead: Schema.Int, pin: Tool.sensitive(Schema.String) })

/** The trail with what the definition of one tool says. */
const projection = AuditLogModule.projectionOf((agent, tool) =>
  agent === "assistant" && tool === "lookup"
    ? {
      sensitive: AuditLogModule.sensitivePaths(Lookup),
      target: (parameters) => `lead:${Schema.decodeUnknownSync(Lookup)(parameters).lead}`
    }
    : undefined
)

const memory = AuditLog.layerMemory.pipe(
  Layer.provideMerge(RunLog.layerMemory([], [projection])),
  Layer.provide(NodeCrypto.layerSecureRandom)
)

const inSql = databases.map(({ layer: database, name }) => ({
  name,
  layer: AuditLog.layer.pipe(
    Layer.provideMerge(RunLog.layerSql([], [projection])),
    Layer.provideMerge(database),
    Layer.provide(NodeCrypto.layerSecureRandom)
  )
}))

const layers: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<AuditLog | RunLog, unknown> }> = [
  { name: "memory", layer: memory },
  ...inSql
]

const all = Effect.fnUntraced(function*(org: OrgId) {
  const audit = yield* AuditLog
  return (yield* audit.list({ org, limit: 1_000 })).toReversed()
})

const only = (entries: ReadonlyArray<Entry>, event: string): Entry => {
  const found = entries.filter((entry) => entry.event === event)
  const [entry] = found
  assert.strictEqual(found.length, 1, event)
  assert.isDefined(entry)
  return entry
}

const has = (entry: Entry, part: { readonly [K in keyof Entry]?: unknown }) => assert.deepStrictEqual({ ...entry, ...part }, entry)

for (const { layer: services, name } of layers) {
  layer(services, { timeout: "2 minutes" })(`AuditLog (${name})`, (it) => {
    it.effect("has one row for each thing that was done, with who, what, about what and with what outcome", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const run = wholeRun({
          tool: "lookup",
          arguments: JSON.stringify({ lead: 12, pin: "4711-pin", note: "sk-ant-api03-Zx81mQpLw0aVt39sKd7Rb", nul: "a\0b" }),
          result: JSON.stringify({ name: "Ada", apiKey: "hunter2" }),
          principal: "user:7",
          sourceProject: "dealer-scraper"
        })
        yield* log.append(run.written)
        const entries = yield* all(run.org)
        assert.deepStrictEqual(entries.map((entry) => [entry.n, entry.event, entry.action, entry.tool]), [
          [1, "RunStarted", "run", "assistant"],
          [2, "TurnCompleted", "model_attempt", "scripted:model"],
          [3, "ToolCompleted", "tool_call", "lookup"],
          [4, "TurnCompleted", "model_attempt", "scripted:model"],
          [5, "RunCompleted", "run", "assistant"]
        ])
        const call = only(entries, "ToolCompleted")
        has(call, {
          org: run.org,
          principal: "user:7",
          agent: "assistant",
          session: run.session,
          run: run.run,
          seq: 5,
          call: "call-1",
          sourceProject: "dealer-scraper",
          success: true,
          durationMs: 5,
          cost: null,
          target: "lead:12",
          input: { lead: 12, pin: "[REDACTED]", note: "[REDACTED]", nul: "a\uFFFDb" },
          output: "{\"name\":\"Ada\",\"apiKey\":\"[REDACTED]\"}",
          error: null,
          at: 1_790_000_000_050,
          erasedAt: null
        })
        assert.deepInclude(only(entries.slice(0, 3), "TurnCompleted"), { cost: Money.usd("0.001"), durationMs: 250, input: null })
        const report = yield* audit.verify({ org: run.org })
        assert.deepStrictEqual(report, { rows: 5, head: { n: 5, hash: entries[4]?.hash ?? "" } })
      }))

    it.effect("names every kind of end, approval, command and change", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        const by = "user:9"
        const call = (id: string) => ({ id, name: "lookup", arguments: `{"lead":1,"pin":"${id}-pin"}` })
        const approval = ApprovalId.make(randomUUID())
        const hash = DefinitionHash.make("e".repeat(64))
        const child = RunId.make(randomUUID())
        const events: ReadonlyArray<RunEvent> = [
          { _tag: "RunClaimed", v: 1, runner: RunnerId.make("runner-1") },
          run.turnStarted(),
          run.attemptFailed(),
          ...run.turn({ calls: ["a", "b", "c", "d", "e"].map(call), cost: "0.0000001" }),
          { _tag: "ApprovalRequested", v: 1, approval, call: "a", name: "lookup", digest: "x", expiresAt: 1 },
          { _tag: "ApprovalDecided", v: 1, approval, call: "a", decision: "approved", parameters: "{\"lead\":2,\"pin\":\"edited\"}", by, comment: "fine" },
          { _tag: "ApprovalDecided", v: 1, approval, call: "b", decision: "denied", parameters: null, by, comment: null },
          ...run.tool("a", { outcome: "failure", result: "no such lead" }),
          { _tag: "ToolUnknown", v: 1, call: "b", name: "lookup", reason: "the process ended" },
          { _tag: "ToolResolved", v: 1, call: "b", resolution: "did-not-happen", result: null, by, comment: "checked" },
          { _tag: "ToolUnknown", v: 1, call: "c", name: "lookup", reason: "the process ended" },
          { _tag: "ToolResolved", v: 1, call: "c", resolution: "run-again", result: null, by, comment: null },
          ...run.tool("c", { result: "\"done\"" }),
          { _tag: "ToolCompleted", v: 1, turn: 1, call: "d", name: "x".repeat(300), outcome: "unknown-tool", result: "no such tool", durationMs: 0 },
          { _tag: "ChildStarted", v: 1, child, call: "e" },
          { _tag: "ChildEnded", v: 1, child, call: "e", cost: Money.usd("0.5") },
          ...run.tool("e"),
          run.message("secret business"),
          { _tag: "ContextCompacted", v: 1, through: 2, summary: "short", bill: run.bill() },
          { _tag: "DefinitionMigrated", v: 1, from: hash, to: hash },
          { _tag: "RunParked", v: 1, reason: "approval" },
          { _tag: "RunFailed", v: 1, error: new LimitExceeded({ limit: "turns", value: 3 }) },
          { _tag: "RunRetried", v: 1, limits: run.started().limits, by },
          { _tag: "CancelRequested", v: 1, by, reason: "enough" },
          { _tag: "RunCancelled", v: 1, by, reason: null, left: [] }
        ]
        yield* log.append(run.append(run.started(), ...events))
        const entries = yield* all(run.org)
        const said = entries.map((entry) => [entry.event, entry.action, entry.success, entry.principal, entry.output, entry.error] as const)
        assert.deepStrictEqual(said.map(([event]) => event), [
          "RunStarted",
          ...events.map((event) => event._tag).filter((tag) => tag !== "TurnStarted" && tag !== "ToolStarted")
        ])
        assert.deepStrictEqual(only(entries, "AttemptFailed").error, "Too many requests.")
        assert.deepStrictEqual(only(entries, "ApprovalRequested").input, { lead: 1, pin: "[REDACTED]" })
        assert.deepStrictEqual(
          entries.filter((entry) => entry.action === "approval").map((entry) => [entry.success, entry.principal, entry.output, entry.target]),
          [[true, "user:1", null, "lead:1"], [true, by, "approved: fine", "lead:1"], [false, by, "denied", "lead:1"]]
        )
        assert.deepInclude(entries.find((entry) => entry.event === "ApprovalDecided"), { input: { lead: 2, pin: "[REDACTED]" } })
        const calls = entries.filter((entry) => entry.action === "tool_call")
        assert.deepStrictEqual(calls.map((entry) => [entry.event, entry.call, entry.success, entry.output, entry.error]), [
          ["ToolCompleted", "a", false, "failure", "no such lead"],
          ["ToolUnknown", "b", false, null, "the process ended"],
          ["ToolResolved", "b", false, "did-not-happen: checked", null],
          ["ToolUnknown", "c", false, null, "the process ended"],
          ["ToolResolved", "c", true, "run-again", null],
          ["ToolCompleted", "c", true, "\"done\"", null],
          ["ToolCompleted", "d", false, "unknown-tool", "no such tool"],
          ["ToolCompleted", "e", true, "null", null]
        ])
        assert.strictEqual(calls[6]?.tool.length, 200)
        assert.deepInclude(only(entries, "MessageReceived"), { action: "command", tool: "message", principal: "user:2", input: null, output: null })
        assert.deepInclude(only(entries, "CancelRequested"), { action: "command", tool: "cancel", principal: by, output: "enough" })
        assert.deepInclude(only(entries, "RunFailed"), { success: false, output: "LimitExceeded" })
        assert.include(only(entries, "RunFailed").error ?? "", "limit of 3 turns")
        assert.strictEqual(only(entries, "ChildEnded").cost, null)
        assert.strictEqual(only(entries, "ContextCompacted").cost, Money.usd("0.001"))
        assert.strictEqual(entries.find((entry) => entry.event === "TurnCompleted")?.cost, Money.usd("0.0000001"))
        assert.notInclude(JSON.stringify(entries, (_, value) => typeof value === "bigint" ? String(value) : value), "-pin")
        assert.isUndefined((yield* (yield* AuditLog).verify({ org: run.org })).broken)
      }))

    it.effect("bounds what it keeps, and takes parameters that are no JSON or do not fit", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const run = makeRun()
        const calls = [
          { id: "long", name: "lookup", arguments: JSON.stringify({ text: "y".repeat(20_000) }) },
          { id: "bad", name: "lookup", arguments: "{\"token\": \"abc-def\", " },
          { id: "i".repeat(300), name: "other", arguments: "[1]" }
        ]
        yield* log.append(run.append(
          run.started(),
          ...run.turn({ calls }),
          ...calls.flatMap((call) => run.tool(call.id, { name: call.name, result: "word ".repeat(5_000) })),
          { _tag: "ToolResolved", v: 1, call: "never-made", resolution: "happened", result: "r", by: "user:1", comment: null },
          { _tag: "ApprovalDecided", v: 1, approval: ApprovalId.make("a"), call: "never-made", decision: "expired", parameters: null, by: "clock", comment: null }
        ))
        const [long, bad, other, resolved] = (yield* all(run.org)).filter((entry) => entry.action === "tool_call")
        assert.deepStrictEqual(long?.input, { cut: 20_011, start: `{"text":"${"y".repeat(7_891)}` })
        assert.strictEqual(long?.output?.length, 500)
        assert.strictEqual(long?.target, null)
        assert.strictEqual(bad?.input, "{\"token\": \"[REDACTED]\", ")
        assert.strictEqual(other?.call?.length, 200)
        assert.strictEqual(resolved?.tool, "never-made")
      }))

    it.effect("lists by run, session, tool, action, target and outcome, newest first, page by page", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const org = OrgId.make(`org-${randomUUID()}`)
        const one = wholeRun({ org, tool: "lookup", arguments: "{\"lead\":5,\"pin\":\"1\"}" })
        const two = wholeRun({ org, tool: "weather" })
        yield* log.append(one.written)
        yield* log.append(two.written)
        const numbers = (filter: object) => Effect.map(audit.list({ org, limit: 100, ...filter }), (entries) => entries.map((entry) => entry.n))
        assert.deepStrictEqual(yield* numbers({}), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
        assert.deepStrictEqual(yield* numbers({ run: one.run }), [5, 4, 3, 2, 1])
        assert.deepStrictEqual(yield* numbers({ session: two.session, action: "run" }), [10, 6])
        assert.deepStrictEqual(yield* numbers({ tool: "weather" }), [8])
        assert.deepStrictEqual(yield* numbers({ target: "lead:5" }), [3])
        assert.deepStrictEqual(yield* numbers({ success: false }), [])
        assert.deepStrictEqual(yield* numbers({ before: 4, limit: 2 }), [3, 2])
        assert.deepStrictEqual(yield* audit.list({ org: OrgId.make("nobody"), limit: 9 }), [])
      }))

    it.effect("chains each organisation by itself, also when one flush has rows of many", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const orgs = Array.from({ length: 4 }, () => OrgId.make(`org-${randomUUID()}`))
        const runs = Array.from({ length: 40 }, (_, i) => wholeRun({ org: orgs[i % 4] ?? "" }))
        yield* Effect.forEach(runs, (run) => log.append(run.written), { concurrency: "unbounded" })
        for (const org of orgs) {
          assert.deepInclude(yield* audit.verify({ org }), { rows: 50 })
          assert.deepStrictEqual((yield* all(org)).map((entry) => entry.n), Array.from({ length: 50 }, (_, i) => i + 1))
        }
        const empty = yield* audit.verify({ org: OrgId.make("nobody") })
        assert.deepStrictEqual(empty, { rows: 0, head: { n: 0, hash: "00".repeat(32) } })
      }))

    it.effect("compares with an anchor kept elsewhere", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const run = wholeRun()
        yield* log.append(run.written)
        const { head } = yield* audit.verify({ org: run.org })
        yield* audit.append({ org: run.org, principal: "admin", action: "admin", name: "key.revoke" })
        assert.isUndefined((yield* audit.verify({ org: run.org, expect: head })).broken)
        const other = yield* audit.verify({ org: run.org, expect: { n: 2, hash: head.hash } })
        assert.deepInclude(other.broken, { n: 2, problem: "anchor-differs" })
        const beyond = yield* audit.verify({ org: run.org, expect: { n: 99, hash: head.hash } })
        assert.deepInclude(beyond.broken, { n: 7, problem: "anchor-differs" })
      }))

    it.effect("appends what is not of a run, without secrets", () =>
      Effect.gen(function*() {
        const audit = yield* AuditLog
        const org = OrgId.make(`org-${randomUUID()}`)
        yield* audit.append({
          org,
          principal: "admin:1",
          action: "scrape",
          name: "dealers",
          success: false,
          target: "zip:94016",
          input: { zip: "94016", api_key: "k" },
          output: "0 dealers",
          error: "Bearer abcdefgh12345 was refused",
          sourceProject: "dealer-scraper"
        })
        yield* audit.append({ org, principal: "admin:1", action: "admin", name: "noop" })
        const [first, second] = yield* all(org)
        assert.deepInclude(first, {
          n: 1,
          event: "ActionRecorded",
          action: "scrape",
          tool: "dealers",
          success: false,
          target: "zip:94016",
          input: { zip: "94016", api_key: "[REDACTED]" },
          output: "0 dealers",
          error: "Bearer [REDACTED] was refused",
          sourceProject: "dealer-scraper",
          run: null
        })
        assert.deepInclude(second, { success: true, input: null, target: null })
        assert.deepInclude(yield* audit.verify({ org }), { rows: 2 })
      }))

    it.effect("erases content by target, run and number, says so, and still verifies", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const org = OrgId.make(`org-${randomUUID()}`)
        const runs = [1, 2, 1].map((lead) => wholeRun({ org, tool: "lookup", arguments: `{"lead":${lead},"pin":"1"}` }))
        for (const run of runs) yield* log.append(run.written)
        const anchor = (yield* audit.verify({ org })).head
        assert.strictEqual(yield* audit.erase({ org, where: { target: "lead:1" }, by: "officer:1" }), 2)
        assert.strictEqual(yield* audit.erase({ org, where: { run: runs[1]?.run ?? RunId.make("") }, by: "officer:1" }), 5)
        assert.strictEqual(yield* audit.erase({ org, where: { n: 2 }, by: "officer:1" }), 1)
        assert.strictEqual(yield* audit.erase({ org, where: { n: 2 }, by: "officer:1" }), 0)
        assert.strictEqual(yield* audit.erase({ org, where: { n: 16 }, by: "officer:1" }), 0)
        const entries = yield* all(org)
        const erased = entries.filter((entry) => entry.erasedAt !== null)
        assert.deepStrictEqual(erased.map((entry) => entry.n), [2, 3, 6, 7, 8, 9, 10, 13])
        for (const entry of erased) {
          assert.deepInclude(entry, { input: null, output: null, target: null, error: null })
          assert.strictEqual(entry.principal, "user:1")
        }
        assert.deepStrictEqual(
          entries.filter((entry) => entry.action === "erase").map((entry) => [entry.n, entry.principal, entry.input]),
          [
            [16, "officer:1", { ranges: [[3, 3], [13, 13]] }],
            [17, "officer:1", { ranges: [[6, 10]] }],
            [18, "officer:1", { ranges: [[2, 2]] }],
            [19, "officer:1", { ranges: [] }],
            [20, "officer:1", { ranges: [] }]
          ]
        )
        assert.strictEqual(entries[16]?.run, runs[1]?.run)
        const report = yield* audit.verify({ org, expect: anchor })
        assert.deepInclude(report, { rows: 20 })
        assert.isUndefined(report.broken)
      }))
  })
}

for (const { layer: services, name } of inSql) {
  layer(services, { timeout: "2 minutes" })(`audit_logs (${name})`, (it) => {
    const refused = (statement: string) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql.unsafe(statement))
        return `${error.message} ${error.reason.message} ${String(error.reason.cause)}`
      })

    it.effect("refuses every change, also to the owner, also under the flag of erasure", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const log = yield* RunLog
        const run = wholeRun()
        yield* log.append(run.written)
        for (const statement of [
          `UPDATE audit_logs SET principal = 'other' WHERE org_id = '${run.org}'`,
          `DELETE FROM audit_logs WHERE org_id = '${run.org}'`,
          "TRUNCATE audit_logs CASCADE"
        ]) assert.include(yield* refused(statement), "append-only", statement)
        for (const change of ["principal = 'x', erased_at = now()", "output_summary = 'x', erased_at = now(), salt = NULL", "salt = NULL"]) {
          const error = yield* Effect.flip(sql.withTransaction(Effect.andThen(
            sql`SELECT set_config('conductor.audit_erase', 'on', true)`,
            sql.unsafe(`UPDATE audit_logs SET ${change} WHERE org_id = '${run.org}'`)
          )))
          assert.include(String(error.reason.cause), "append-only", change)
        }
      }))

    it.effect("lets service_role read, add and erase, and nothing else; others not even that", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const log = yield* RunLog
        const run = wholeRun()
        yield* log.append(run.written)
        const as = (role: string, statement: string) =>
          sql.withTransaction(Effect.andThen(sql.unsafe(`SET LOCAL ROLE ${role}`), sql.unsafe<{ readonly x: unknown }>(statement)))
        for (const statement of [
          "UPDATE audit_logs SET principal = 'x'",
          "DELETE FROM audit_logs",
          "TRUNCATE audit_logs CASCADE"
        ]) {
          const error = yield* Effect.flip(as("service_role", statement))
          assert.include(String(error.reason.cause), "permission denied")
        }
        const erase = `SELECT audit_erase('${run.org}', 'officer', '${run.run}') AS x`
        for (const role of ["anon", "authenticated"]) {
          for (const statement of [erase, "SELECT conductor_project_audit('[]')"]) {
            assert.include(String((yield* Effect.flip(as(role, statement))).reason.cause), "permission denied")
          }
        }
        assert.deepStrictEqual((yield* as("service_role", erase)).map((row) => Number(row.x)), [5])
        assert.include(yield* refused(`SELECT audit_erase('${run.org}', 'officer')`), "takes one of")
        assert.isUndefined((yield* (yield* AuditLog).verify({ org: run.org })).broken)
      }))

    it.effect("has an execution for each end of a call, which points at its content", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const log = yield* RunLog
        const run = wholeRun()
        yield* log.append(run.written)
        const rows = yield* sql`
          SELECT e.tool_name, e.input_json, e.output_json, e.retry_count, e.tokens_used, e.api_calls_made, a.event,
            extract(epoch FROM e.completed_at - e.started_at)::float8 AS seconds
          FROM tool_executions e JOIN audit_logs a ON a.id = e.audit_log_id WHERE e.org_id = ${run.org}`
        assert.deepStrictEqual(rows, [{
          tool_name: "weather",
          input_json: { run: run.run, turn: 1, call: "call-1" },
          output_json: { run: run.run, seq: 5 },
          retry_count: 0,
          tokens_used: 0,
          api_calls_made: 1,
          event: "ToolCompleted",
          seconds: 0.005
        }])
      }))

    it.effect("says what broke", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`ALTER TABLE audit_heads RENAME TO audit_heads_gone`
        const audit = yield* AuditLog
        const error = yield* Effect.flip(audit.verify({ org: OrgId.make("x") }))
        yield* sql`ALTER TABLE audit_heads_gone RENAME TO audit_heads`
        assert.instanceOf(error, StorageFailed)
        assert.strictEqual(error.operation, "verify")
      }))
  })
}
