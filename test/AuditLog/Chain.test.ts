import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { contentDigest, link, origin, rowDigest, type Stored } from "../../src/AuditLog/Chain.ts"
import { table } from "../../src/AuditLog/Memory.ts"
import { type Anchor, type Problem, type Source, verify } from "../../src/AuditLog/Verify.ts"
import { AuditLog, projection } from "../../src/AuditLog.ts"
import { RunLog, Tables } from "../../src/RunLog.ts"
import { databases } from "../support/databases.ts"
import { makeRun, wholeRun } from "../support/runs.ts"

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

const vector: Stored = (() => {
  const content = {
    input: "{\"city\": \"Lisboa ☀\", \"note\": \"tab\\tquote\\\"\"}",
    output: "line\nbreak \u0001 \u007f / \\",
    target: null,
    error: null
  }
  const salt = Uint8Array.from({ length: 16 }, (_, i) => i)
  const row = {
    ...content,
    n: 1,
    id: "01a0c0de-0000-7000-8000-000000000001",
    org: "acme",
    at: 1_790_000_000_050_000,
    event: "ToolCompleted",
    action: "tool_call",
    name: "weather",
    principal: "user:1",
    agent: "assistant",
    session: "s-1",
    run: "r-1",
    seq: 5,
    call: "call-1",
    project: null,
    success: true,
    durationMs: 5,
    cost: "0.0001",
    salt,
    contentDigest: contentDigest(salt, content),
    erasedAt: null
  }
  return { ...row, hash: link(origin, 1, rowDigest(row)) }
})()

describe("the canonical form", () => {
  // Computed by another program (Python's hashlib) from the specification in Chain.ts.
  it("has these digests for this row", () => {
    assert.strictEqual(hex(vector.contentDigest), "8387f600e133a1e2b63c9e6229e707e61ac79a9061fa3de3d7abe7405548696a")
    assert.strictEqual(hex(rowDigest(vector)), "df614d197ac7e390a2dc94f3625fcce10179b1fc002ddff3c007631add3e5b8b")
    assert.strictEqual(hex(vector.hash), "823f21da6bcd2216806d5400e20cc7bcb19691d45434e3599fca8f4233b26751")
  })
})

/** Chains of these lengths in memory, with one erased row each where there are rows enough. */
const chainOf = (runs: number, erased: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const trail = table(yield* Tables)
    const org = `org-${runs}`
    for (let i = 0; i < runs; i++) {
      const { written } = wholeRun({ org, arguments: `{"i":${i}}` })
      projection.keep(written, yield* Tables)
    }
    for (const n of erased) trail.erase(org, { n }, "officer", 1_800_000_000_000)
    const { head, rows } = trail.read(org)
    return { head, rows: [...rows] }
  }).pipe(Effect.provide(Tables.layer))

const sourceOf = (rows: ReadonlyArray<Stored>, head: { readonly n: number; readonly hash: Uint8Array }): Source => ({
  end: Effect.succeed({ ...head, last: rows.at(-1)?.n ?? 0 }),
  page: (after, last) => Effect.succeed(rows.filter((row) => row.n > after && row.n <= last).slice(0, 3))
})

const otherBytes = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => i === at % bytes.length ? byte ^ 1 : byte)

/** Every column, changed. */
const edits: { readonly [K in keyof Stored]: (row: Stored, k: number) => Stored } = {
  n: (row) => ({ ...row, n: row.n + 1_000 }),
  id: (row) => ({ ...row, id: row.id.replace(/.$/, (c) => c === "0" ? "1" : "0") }),
  org: (row) => ({ ...row, org: `${row.org}x` }),
  at: (row, k) => ({ ...row, at: row.at + k + 1 }),
  event: (row) => ({ ...row, event: "RunCompletedNot" }),
  action: (row) => ({ ...row, action: `${row.action}s` }),
  name: (row) => ({ ...row, name: "" }),
  principal: (row) => ({ ...row, principal: "user:2" }),
  agent: (row) => ({ ...row, agent: row.agent === null ? "" : null }),
  session: (row) => ({ ...row, session: row.session === null ? "" : null }),
  run: (row) => ({ ...row, run: `${row.run}0` }),
  seq: (row) => ({ ...row, seq: (row.seq ?? 0) + 1 }),
  call: (row) => ({ ...row, call: row.call === null ? "" : null }),
  project: (row) => ({ ...row, project: row.project === null ? "p" : null }),
  success: (row) => ({ ...row, success: !row.success }),
  durationMs: (row) => ({ ...row, durationMs: row.durationMs === null ? 0 : null }),
  cost: (row) => ({ ...row, cost: row.cost === null ? "0" : null }),
  input: (row) => ({ ...row, input: `${row.input} ` }),
  output: (row) => ({ ...row, output: row.output === null ? "" : null }),
  target: (row) => ({ ...row, target: row.target === null ? "" : null }),
  error: (row) => ({ ...row, error: row.error === null ? "" : null }),
  salt: (row, k) => ({ ...row, salt: row.salt === null ? new Uint8Array(16) : k % 2 === 0 ? null : otherBytes(row.salt, k) }),
  contentDigest: (row, k) => ({ ...row, contentDigest: otherBytes(row.contentDigest, k) }),
  hash: (row, k) => ({ ...row, hash: otherBytes(row.hash, k) }),
  erasedAt: (row, k) => ({ ...row, erasedAt: row.erasedAt === null ? 1 : k % 2 === 0 ? null : row.erasedAt + 1 })
}
const columns = Object.entries(edits)

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9_999 }))

describe("verify", () => {
  it.effect("is content with a sound chain, with erased rows too", () =>
    Effect.gen(function*() {
      const { head, rows } = yield* chainOf(4, [3, 4])
      const report = yield* verify(sourceOf(rows, head))
      assert.deepStrictEqual(report, { rows: 22, head: { n: 22, hash: hex(head.hash) } })
    }))

  it.effect.prop("finds any single edit of any column of any row, and says which row", { row: Index, column: Index, k: Index }, (at) =>
    Effect.gen(function*() {
      const { head, rows } = yield* chainOf(3, [3, 9])
      const index = at.row % rows.length
      const [, edit] = columns[at.column % columns.length] ?? []
      const row = rows[index]
      assert.isDefined(row)
      assert.isDefined(edit)
      const edited = rows.with(index, edit(row, at.k)).toSorted((a, b) => a.n - b.n)
      const report = yield* verify(sourceOf(edited, head))
      assert.strictEqual(report.broken?.n, row.n)
    }))

  it.effect.prop("finds a missing row, two that were swapped, and rows cut off", { a: Index, b: Index }, (at) =>
    Effect.gen(function*() {
      const { head, rows } = yield* chainOf(2, [])
      const found = (changed: ReadonlyArray<Stored>) => Effect.map(verify(sourceOf(changed, head)), (report) => report.broken)
      const a = at.a % rows.length
      const b = (a + 1 + at.b % (rows.length - 1)) % rows.length
      const [low, high] = [rows[Math.min(a, b)], rows[Math.max(a, b)]]
      assert.isDefined(low)
      assert.isDefined(high)
      const last = a === rows.length - 1
      assert.deepInclude(yield* found(rows.toSpliced(a, 1)), { n: a + 1, problem: last ? "tail-missing" : "row-missing" })
      const numbers = rows.map((row) => row.n === low.n ? { ...row, n: high.n } : row.n === high.n ? { ...row, n: low.n } : row)
        .toSorted((one, other) => one.n - other.n)
      assert.deepInclude(yield* found(numbers), { n: low.n, problem: "row-moved" })
      const insides = rows.map((row) =>
        row.n === low.n ? { ...high, n: row.n, hash: row.hash } : row.n === high.n ? { ...low, n: row.n, hash: row.hash } : row
      )
      assert.deepInclude(yield* found(insides), { n: low.n, problem: "row-moved" })
      assert.deepInclude(yield* found(rows.slice(0, a)), { n: a + 1, problem: "tail-missing" })
    }))

  it.effect("names each problem", () =>
    Effect.gen(function*() {
      const { head, rows } = yield* chainOf(2, [3])
      const named = (problem: Problem, n: number, changed: ReadonlyArray<Stored>, changedHead = head, expect?: Anchor) =>
        Effect.gen(function*() {
          const report = yield* verify(sourceOf(changed, changedHead), expect)
          assert.deepInclude(report.broken, { n, problem })
          assert.match(report.broken?.message ?? "", /^[A-Z].*\.$/)
        })
      const change = (n: number, by: Partial<Stored>) => rows.map((row) => row.n === n ? { ...row, ...by } : row)
      yield* named("content-edited", 8, change(8, { output: "\"sun\"" }))
      yield* named("content-edited", 8, change(8, { salt: null }))
      yield* named("content-edited", 8, change(8, { erasedAt: 1 }))
      yield* named("metadata-edited", 8, change(8, { success: false }))
      yield* named("row-missing", 4, rows.filter((row) => row.n !== 4))
      yield* named("tail-missing", 11, rows.slice(0, 10))
      yield* named("head-edited", 11, rows, { n: 11, hash: origin })
      yield* named("head-edited", 11, rows, { n: 10, hash: rows[9]?.hash ?? origin })
      yield* named("anchor-differs", 4, rows, head, { n: 4, hash: "00" })
      yield* named("anchor-differs", 12, rows, head, { n: 12, hash: "00" })
      const emptied = { input: null, output: null, target: null, error: null, salt: null, erasedAt: 1 }
      yield* named("erasure-unrecorded", 2, change(2, emptied))
      // Cut so that the chain is whole, by somebody who knew to set the head as well.
      const cut = rows.slice(0, 4)
      assert.isUndefined((yield* verify(sourceOf(rows.slice(0, 2), { n: 2, hash: rows[1]?.hash ?? origin }))).broken)
      yield* named("erasure-unrecorded", 3, cut, { n: 4, hash: cut[3]?.hash ?? origin })
    }))

  it.effect("reads on where a row was erased while it read", () =>
    Effect.gen(function*() {
      const { head, rows } = yield* chainOf(2, [3])
      const before = { n: 10, hash: rows[9]?.hash ?? origin, last: 10 }
      let asked = 0
      const source: Source = {
        ...sourceOf(rows, head),
        end: Effect.sync(() => asked++ === 0 ? before : { ...head, last: 11 })
      }
      assert.deepInclude(yield* verify(source), { rows: 11 })
    }))

  it.effect("says so where rows that should be there cannot be read", () =>
    Effect.gen(function*() {
      const source: Source = { end: Effect.succeed({ n: 2, hash: origin, last: 2 }), page: () => Effect.succeed([]) }
      assert.deepInclude((yield* verify(source)).broken, { n: 1, problem: "row-missing" })
    }))
})

for (const { layer: database, name } of databases) {
  const services = AuditLog.layer.pipe(
    Layer.provideMerge(RunLog.layerSql([], [projection])),
    Layer.provideMerge(database),
    Layer.provide(NodeCrypto.layerSecureRandom)
  )
  layer(services, { timeout: "2 minutes" })(`the chain in SQL (${name})`, (it) => {
    /** Changes rows as only a superuser can, who turns the triggers off. */
    const tamper = (statement: string) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql.withTransaction(Effect.andThen(sql`SET LOCAL session_replication_role = replica`, sql.unsafe(statement)))
      })

    it.effect("finds an edit of any column", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        for (const change of [
          "id = gen_random_uuid()", "\"timestamp\" = \"timestamp\" + interval '1 microsecond'", "event = 'x'", "action = 'x'", "tool_name = 'x'",
          "principal = 'x'", "agent = NULL", "session_id = NULL", "run_id = NULL", "seq = 0", "call_id = NULL", "source_project = 'x'",
          "success = false", "duration_ms = 1", "cost_usd = 0", "target_entity = 'x'", "input_params = '{}'", "output_summary = NULL",
          "error_message = ''", "salt = NULL", "salt = '\\x00'", "content_digest = '\\x00'", "hash = '\\x00'", "erased_at = now()", "n = 99"
        ]) {
          const run = wholeRun({ at: 1_790_000_000_000 })
          yield* log.append(run.written)
          yield* tamper(`UPDATE audit_logs SET ${change} WHERE org_id = '${run.org}' AND n = 3`)
          assert.strictEqual((yield* audit.verify({ org: run.org })).broken?.n, 3, change)
        }
      }))

    it.effect("finds a missing row, a cut tail and a changed head", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const broken = Effect.fnUntraced(function*(statement: (org: string) => string) {
          const run = wholeRun()
          yield* log.append(run.written)
          yield* tamper(statement(run.org))
          const report = yield* audit.verify({ org: run.org })
          return [report.broken?.n, report.broken?.problem]
        })
        assert.deepStrictEqual(yield* broken((org) => `DELETE FROM audit_logs WHERE org_id = '${org}' AND n = 2`), [2, "row-missing"])
        assert.deepStrictEqual(yield* broken((org) => `DELETE FROM audit_logs WHERE org_id = '${org}' AND n > 3`), [4, "tail-missing"])
        assert.deepStrictEqual(yield* broken((org) => `DELETE FROM audit_logs WHERE org_id = '${org}'`), [1, "tail-missing"])
        assert.deepStrictEqual(yield* broken((org) => `DELETE FROM audit_heads WHERE org_id = '${org}'`), [5, "head-edited"])
        assert.deepStrictEqual(yield* broken((org) => `UPDATE audit_heads SET n = 6 WHERE org_id = '${org}'`), [6, "tail-missing"])
        assert.deepStrictEqual(
          yield* broken((org) => `UPDATE audit_logs SET n = CASE n WHEN 2 THEN 4000 ELSE n END WHERE org_id = '${org}'`),
          [2, "row-missing"]
        )
      }))

    it.effect("writes the row of the test vector as it is specified", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const [row] = yield* sql<{ readonly text: string }>`SELECT json_build_array(${vector.output}::text, NULL, 5, true,
          trim_scale('0.000100000000'::numeric)::text, ${"{\"note\":\"tab\\tquote\\\"\",\"city\":\"Lisboa ☀\"}"}::jsonb::text)::text AS text`
        assert.strictEqual(row?.text, `[${[vector.output, null, 5, true, "0.0001", vector.input].map((part) => JSON.stringify(part)).join(", ")}]`)
      }))

    it.effect("verifies whatever text comes", () =>
      Effect.gen(function*() {
        const log = yield* RunLog
        const audit = yield* AuditLog
        const run = makeRun({ principal: "ü\u2028\"\\/\u0001\u007f😀" })
        const text = "\u0001\b\f\n\r\t\u001f\u007f\u2028\u2029😀\"\\/</script>"
        yield* log.append(run.append(
          run.started(),
          ...run.turn({ calls: [{ id: "a\u0002", name: "näme\"", arguments: JSON.stringify({ [text]: [text, 1e21, 0.1, -0, 12345678901] }) }] }),
          ...run.tool("a\u0002", { result: text })
        ))
        const report = yield* audit.verify({ org: run.org })
        assert.deepInclude(report, { rows: 3 })
        assert.isUndefined(report.broken)
        const [call] = yield* audit.list({ org: run.org, limit: 1 })
        assert.deepStrictEqual([call?.output, call?.input], [text, { [text]: [text, 1e21, 0.1, 0, 12345678901] }])
      }))
  })
}
