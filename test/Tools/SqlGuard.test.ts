import { assert, describe, it, layer } from "@effect/vitest"
import * as SqlClient from "effect/sql/SqlClient"
import { Arbitrary, Context, Effect, Layer, Result, Schema } from "effect"
import { type Guard, make, maxBytes, problemOf } from "../../src/Tools/SqlGuard.ts"
import { functions, types } from "../../src/Tools/SqlGuard/Names.ts"
import { postgres } from "../support/databases.ts"
import { hostile, innocent } from "./SqlGuard.queries.ts"

const relations = new Set(["leads", "lead_pipeline", "recent_failures", "tool_usage_stats"])

class Guarded extends Context.Service<Guarded, Guard>()("test/Guarded") {
  static readonly layer = Layer.effect(Guarded, make(relations))
}

const oneOf = (values: ReadonlyArray<string>) => Arbitrary.schema(Schema.Literals([...new Set(values)]))

const refusal = (result: ReturnType<Guard>) => Result.isFailure(result) ? result.failure.message : `accepted: ${result.success}`

layer(Guarded.layer)("SqlGuard", (it) => {
  for (const [reason, queries] of Object.entries(hostile)) {
    describe(`refuses ${reason}`, () => {
      it.effect.each([...queries])("%s", (query) =>
        Effect.gen(function*() {
          const result = (yield* Guarded)(query)
          assert.isTrue(Result.isFailure(result), query)
          assert.match(refusal(result), /^[A-Z][^\n]*: [^\n]+\.$/)
        }))
    })
  }

  describe("accepts", () => {
    it.effect.each([...innocent])("%s", (query) =>
      Effect.gen(function*() {
        const result = (yield* Guarded)(query)
        assert.isTrue(Result.isSuccess(result), refusal(result))
      }))
  })

  it.effect("there are enough of both", () =>
    Effect.sync(() => {
      assert.isAtLeast(Object.values(hostile).flat().length, 80)
      assert.isAtLeast(innocent.length, 60)
    }))

  it.effect("gives the statement without the semicolon and what stands around it, whatever the bytes before it are", () =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      assert.deepStrictEqual(guard("SELECT 'é😀' AS x ; -- é"), Result.succeed("SELECT 'é😀' AS x "))
      assert.deepStrictEqual(guard(";; SELECT 1"), Result.succeed("SELECT 1"))
      assert.deepStrictEqual(guard("SELECT 1 -- x"), Result.succeed("SELECT 1 -- x"))
    }))

  it.effect("names the thing and the remedy", () =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      const says = (query: string) => refusal(guard(query))
      assert.strictEqual(says("SELECT * FROM budgets"), "The table budgets is not open to queries: read from lead_pipeline, leads, recent_failures, tool_usage_stats or a WITH query.")
      assert.strictEqual(says("SELECT * FROM auth.users"), "The schema auth is not open to queries: read from lead_pipeline, leads, recent_failures, tool_usage_stats or a WITH query.")
      assert.strictEqual(says("SELECT pg_sleep(1)"), "The function pg_sleep is not allowed: use aggregate, window, text, number, date and json functions only.")
      assert.strictEqual(says("DROP TABLE leads"), "DROP is not allowed: this tool only reads, so write a SELECT.")
      assert.strictEqual(says("SET a = 1"), "SET is not allowed: this tool only reads, so write a SELECT.")
      assert.strictEqual(says("WITH x AS (DELETE FROM leads) SELECT 1"), "DELETE is not allowed: this tool only reads, so write a SELECT without it.")
      assert.strictEqual(says("SELECT * FROM leads FOR UPDATE"), "FOR UPDATE and FOR SHARE lock rows: leave the locking clause away.")
      assert.strictEqual(says("SELECT 1; SELECT 2"), "There are 2 statements: send one SELECT alone.")
      assert.match(says("SELECT 1 FROM"), /^The query does not parse \(syntax error at end of input\): correct it\.$/)
      assert.match(says("SELECT * FROM \"a\n\nb\""), /^The table a b is not open/)
      assert.match(says(`SELECT * FROM ${"x".repeat(63)}`), /^The table x{60}… is not open/)
    }))

  it.effect("refuses texts that the database would read otherwise, and long ones", () =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      for (const text of ["SELECT 1\0; DROP TABLE leads", "SELECT '\ud800'"]) {
        assert.match(refusal(guard(text)), /characters that are no text/)
      }
      assert.match(refusal(guard(`SELECT 1 -- ${"é".repeat(maxBytes / 2)}`)), /bytes: write one of 10000 at most\.$/)
    }))

  it.effect("survives the deepest nesting that fits, and works afterwards", () =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      const nest = (open: string, close: string, inner: string, before: string) => {
        const levels = Math.floor((maxBytes - before.length - inner.length) / (open.length + close.length))
        return before + open.repeat(levels) + inner + close.repeat(levels)
      }
      for (
        const text of [
          nest("1+", "", "1", "SELECT "),
          nest("(SELECT ", ")", "1", "SELECT "),
          nest("(", ")", "1", "SELECT "),
          nest("abs(", ")", "1", "SELECT "),
          nest("NOT ", "", "true", "SELECT "),
          nest("a||", "", "a", "SELECT "),
          nest("(SELECT 1 FROM ", ")a", "leads", "SELECT 1 FROM "),
          nest("WITH a AS (", ")SELECT 1", "SELECT 1", ""),
          nest("", " UNION SELECT", "SELECT", ""),
          nest("EXISTS(SELECT ", ")", "", "SELECT "),
          nest("CASE WHEN ", " THEN 1 END", "true", "SELECT "),
          nest("", "[1]", "(a)", "SELECT "),
          nest("", "::int", "1", "SELECT ")
        ]
      ) {
        const result = guard(text)
        assert.isTrue(Result.isSuccess(result) || /memory exhausted/.test(refusal(result)), refusal(result))
      }
      assert.isTrue(Result.isSuccess(guard("SELECT 1")))
    }))

  /** Any UTF-16 units, lone surrogates and control characters too. */
  const units = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))), { maxLength: 200 })
    .pipe(Arbitrary.map((codes) => String.fromCharCode(...codes)))
  it.effect.prop("never throws on any text", [Arbitrary.schema(Schema.String), units], ([plain, odd]) =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      for (const text of [plain, odd, `SELECT ${plain}`, `SELECT '${odd}'`, `SELECT "${odd}" FROM leads`, `/*${odd}*/ SELECT 1`]) {
        const result = guard(text)
        // What is accepted is a query, and stays accepted.
        if (Result.isSuccess(result)) assert.isTrue(Result.isSuccess(guard(result.success)), text)
      }
    }), { arbitrary: { runs: 500 } })

  const tokens = oneOf(
    "SELECT FROM WHERE WITH RECURSIVE AS ( ) ( ) , , ; * leads run_events x y a.b 1 'a' \"q\" $1 $$ -- /* */ \n + = :: int regclass UNION ALL DELETE INTO FOR UPDATE count( set_config( lower( [ ] CASE WHEN THEN END GROUP BY ORDER OVER VALUES LATERAL JOIN ON TABLE RETURNING NOT NULL IN EXISTS ARRAY[ E' U&' ' LIMIT FETCH"
      .split(" ")
  )
  it.effect.prop("never throws on anything like SQL, and accepts none of the forbidden words outside of quotes", [Arbitrary.array(tokens, { maxLength: 30 })], ([words]) =>
    Effect.gen(function*() {
      const text = `SELECT ${words.join(" ")}`
      const result = (yield* Guarded)(text)
      if (Result.isSuccess(result) && !/['"$\-/]/.test(text)) {
        assert.notMatch(text, /set_config\(|:: regclass|FOR UPDATE|\bINTO\b/)
        if (!/\bAS\b/.test(text)) assert.notMatch(text, /(FROM|JOIN|TABLE) (run_events|x|y)\b/)
      }
    }), { arbitrary: { runs: 2000 } })

  const harmless = oneOf(innocent.map((query) => query.replace(/\s*;\s*$/, "")).filter((query) => !/; *--/.test(query) || query.includes("$$")))
  const harmful = oneOf(Object.values(hostile).flat().filter((query) => /^(SELECT|WITH|VALUES|TABLE)\b/.test(query) && !/[;$]/.test(query)))
  it.effect.prop("refuses a hostile query wherever it stands in an innocent one", [harmless, harmful, Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5]))], ([inner, bad, place]) =>
    Effect.gen(function*() {
      const texts = [
        `SELECT * FROM (${bad}) AS x, (${inner}) AS y`,
        `WITH z AS (${bad}) ${inner.startsWith("WITH") ? "SELECT 1" : inner}`,
        `SELECT (${bad})`,
        `SELECT 1 WHERE EXISTS (${bad})`,
        `(${inner}) UNION ALL (${bad})`,
        `SELECT sum(1) OVER (ORDER BY (${bad})) FROM leads`
      ]
      const text = texts[place] ?? ""
      assert.isTrue(Result.isFailure((yield* Guarded)(text)), text)
    }), { arbitrary: { runs: 1000 } })

  it.effect.prop("accepts an innocent query inside another", [harmless], ([inner]) =>
    Effect.gen(function*() {
      const guard = yield* Guarded
      for (const text of [`SELECT * FROM (${inner}\n) AS x`, `SELECT EXISTS (${inner}\n)`, `WITH z AS (${inner}\n) SELECT 1`]) {
        const result = guard(text)
        assert.isTrue(Result.isSuccess(result), `${text}: ${refusal(result)}`)
      }
    }))
})

describe("SqlGuard.problemOf", () => {
  const problem = (tree: unknown) => problemOf(tree, relations)?.join(": ")

  it.effect("fails closed on what a newer parser may say", () =>
    Effect.sync(() => {
      const select = (fields: object) => ({ SelectStmt: { op: "SETOP_NONE", ...fields } })
      assert.isUndefined(problem(select({})))
      assert.match(problem(select({ newClause: [] })) ?? "", /SelectStmt\.newClause/)
      assert.match(problem(select({ targetList: [{ NewExpr: {} }] })) ?? "", /NewExpr/)
      assert.match(problem(select({ targetList: [{ ResTarget: {}, FuncCall: {} }] })) ?? "", /several kinds/)
      assert.match(problem(select({ targetList: ["text"] })) ?? "", /cannot be understood/)
      assert.match(problem(select({ targetList: [{ ResTarget: "x" }] })) ?? "", /ResTarget/)
      assert.match(problem(select({ op: { a: { b: 1 } } })) ?? "", /SelectStmt\.op/)
      assert.match(problem(select({ op: [] })) ?? "", /SelectStmt\.op/)
      assert.match(problem(select({ withClause: { ctes: [], hint: 1 } })) ?? "", /WithClause\.hint/)
      assert.match(problem(select({ withClause: 1 })) ?? "", /WithClause/)
      assert.match(problem(select({ withClause: { ctes: [{ Other: {} }, 1] } })) ?? "", /Other|understood/)
      assert.match(problem({ FuncCall: { funcname: [{ String: { sval: "lower" } }, { A_Star: {} }] } }) ?? "", /lower\.\*/)
      assert.match(problem({ FuncCall: {} }) ?? "", /function/)
      assert.match(problem({ constructor: {} }) ?? "", /constructor/)
      assert.match(problem({ RangeVar: { relname: "leads", __proto__: null, valueOf: 1 } }) ?? "", /RangeVar\.valueOf/)
    }))
})

layer(postgres, { timeout: "60 seconds" })("SqlGuard's names", (it) => {
  it.effect("every allowed function only computes, whatever its arguments are", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const rows = yield* sql<{ readonly name: string; readonly volatile: boolean; readonly definer: boolean; readonly odd: string | null }>`
        SELECT proname AS name, bool_or(provolatile = 'v') AS volatile, bool_or(prosecdef) AS definer,
          string_agg(DISTINCT t.typname, ' ') FILTER (WHERE t.typname ~ '^reg|^(xml|cstring|internal|refcursor|lo)$') AS odd
        FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes) AS a (oid) ON true LEFT JOIN pg_type t ON t.oid = a.oid
        WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname`
      const known = new Map(rows.map((row) => [row.name, row]))
      assert.deepStrictEqual([...functions].filter((name) => !known.has(name)), [])
      const of = (test: (row: typeof rows[number]) => boolean) =>
        [...functions].filter((name) => { const row = known.get(name); return row !== undefined && test(row) }).toSorted()
      assert.deepStrictEqual(of((row) => row.volatile), ["clock_timestamp", "random"])
      assert.deepStrictEqual(of((row) => row.definer), [])
      assert.deepStrictEqual(of((row) => row.odd !== null), [])
    }))

  it.effect("every allowed type is one that looks nothing up", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      for (const name of types) {
        const [row] = yield* sql<{ readonly type: string | null }>`SELECT to_regtype(${name})::text AS type`
        assert.notMatch(row?.type ?? "", /^reg/)
      }
    }))
})
