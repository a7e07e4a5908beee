import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schema } from "effect"
import { PgClient } from "@effect/sql-pg"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as SqlClient from "effect/sql/SqlClient"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
import { asOrg, type DatabaseLayer } from "../../src/Database.ts"
import { Agent, Conductor, Plugin } from "../../src/index.ts"
import { AgentName, OrgId, RunId } from "../../src/Run.ts"
import * as Tool from "../../src/Tool.ts"
import * as testing from "../../src/testing.ts"
import { SqlQuery } from "../../src/Tools.ts"
import { databases } from "../support/databases.ts"
import { hostile, innocent } from "./SqlGuard.queries.ts"

type Handler = Effect.Success<ReturnType<typeof SqlQuery.make>["handler"]>

class Query extends Context.Service<Query, Handler>()("test/Query") {
  static readonly layer = Layer.effect(Query, SqlQuery.make().handler)
}

const callOf = (org: string): Tool.Call["Service"] => ({
  id: "call_1_1",
  run: RunId.make("run"),
  org: OrgId.make(org),
  agent: AgentName.make("analyst"),
  principal: "local",
  key: "key",
  progress: () => Effect.void
})

const as = (org: string) => Effect.provideService(Tool.Call, callOf(org))

const ask = (query: string, org = "a", max_rows?: number) =>
  Effect.flatMap(Query, (handler) => handler({ query, ...(max_rows === undefined ? {} : { max_rows }) })).pipe(as(org))

const fails = (query: string, org = "a") => Effect.map(Effect.flip(ask(query, org)), (error) => error.message)

const seed = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO leads (org_id, external_id, source_project, company_name, oem_brand, address, contacts, qualification_score, license_expiry, created_at)
    SELECT org, 'd' || n, 'test', org || ' company ' || n, CASE WHEN n % 2 = 0 THEN 'Generac' ELSE 'Kohler' END,
      json_build_object('state', 'TX', 'city', 'Größe', 'lat', 30.25, 'lng', -97.75), '[{"email":"a@example.com"}]', n, '2026-01-01', '2026-01-02 03:04:05+00'
    FROM unnest(ARRAY['a', 'b']) AS org, generate_series(1, 20) AS n`
})

for (const { layer: database, name } of databases) {
  const seeded = Layer.provideMerge(Layer.effectDiscard(seed), database)
  layer(Layer.provideMerge(Query.layer, seeded), { timeout: "60 seconds" })(`SqlQuery (${name})`, (it) => {
    it.effect("gives columns and rows in their order", () =>
      Effect.gen(function*() {
        const result = yield* ask("SELECT oem_brand, count(*) AS n, min(company_name) FROM leads GROUP BY 1 ORDER BY 1 DESC; -- all")
        assert.deepStrictEqual(result, {
          columns: ["oem_brand", "n", "min"],
          rows: [["Kohler", 10, "a company 1"], ["Generac", 10, "a company 10"]],
          row_count: 2,
          truncated: false
        })
      }))

    it.effect("gives every type as JSON that loses nothing", () =>
      Effect.gen(function*() {
        const result = yield* ask(`SELECT 9007199254740993::bigint AS a, 1.10::numeric AS b, 123456789.123456789 AS c, 'NaN'::float8 AS d,
          1e400::numeric AS e, created_at AS f, license_expiry AS g, contacts AS h, NULL AS i, true AS j, ARRAY[1, NULL] AS k,
          interval '1 day' AS l, 0.25::float8 AS m, ROW(1, 'x') AS n, id IS NOT NULL AS "1", 'é' || chr(1) AS o, -5 AS p
          FROM leads ORDER BY id LIMIT 1`)
        assert.deepStrictEqual(result.columns, [..."abcdefghijklmn", "1", "o", "p"])
        assert.deepStrictEqual(result.rows, [[
          "9007199254740993", 1.1, "123456789.123456789", "NaN", `1${"0".repeat(400)}`, "2026-01-02T03:04:05+00:00", "2026-01-01",
          [{ email: "a@example.com" }], null, true, [1, null], "1 day", 0.25, { f1: 1, f2: "x" }, true, "é\u0001", -5
        ]])
        assert.deepStrictEqual(Schema.decodeUnknownSync(SqlQuery.Rows)(JSON.parse(JSON.stringify(result))), result)
      }))

    it.effect("knows the columns of a result without rows, and rows without columns", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* ask("SELECT stage, id FROM leads WHERE false"), {
          columns: ["stage", "id"],
          rows: [],
          row_count: 0,
          truncated: false
        })
        assert.deepStrictEqual(yield* ask("SELECT FROM leads LIMIT 2"), { columns: [], rows: [[], []], row_count: 2, truncated: false })
        assert.deepStrictEqual((yield* ask("SELECT NULL AS x, NULL AS y")).rows, [[null, null]])
      }))

    it.effect("limits rows, 100 when nothing is said", () =>
      Effect.gen(function*() {
        const three = yield* ask("SELECT n FROM generate_series(1, 1000000) AS n", "a", 3)
        assert.deepStrictEqual(three, {
          columns: ["n"],
          rows: [[1], [2], [3]],
          row_count: 3,
          truncated: true,
          note: "Only the first 3 rows are here: aggregate, filter or select fewer columns."
        })
        assert.strictEqual((yield* ask("SELECT n FROM generate_series(1, 101) AS n")).row_count, 100)
        const all = yield* ask("SELECT n FROM generate_series(1, 100) AS n")
        assert.deepStrictEqual([all.row_count, all.truncated], [100, false])
      }))

    it.effect("limits bytes", () =>
      Effect.gen(function*() {
        const wide = `SELECT (SELECT string_agg('x', '') FROM generate_series(1, 30000)) AS w, n FROM generate_series(1, 3) AS n`
        const two = yield* ask(wide)
        assert.deepStrictEqual([two.row_count, two.truncated], [2, true])
        assert.match(two.note ?? "", /^Only the first 2 rows fit into the limit of 65536 bytes/)
        const none = yield* ask(`SELECT string_agg('x', '') AS w FROM generate_series(1, 100000)`)
        assert.deepStrictEqual([none.columns, none.row_count, none.truncated], [["w"], 0, true])
        // The row that only says that there are more may be as long as it likes.
        const last = yield* ask(`SELECT CASE WHEN n = 2 THEN (SELECT string_agg('x', '') FROM generate_series(1, 100000)) END AS w FROM generate_series(1, 2) AS n`, "a", 1)
        assert.match(last.note ?? "", /^Only the first 1 rows are here/)
      }))

    it.effect("shows each organisation its own rows", () =>
      Effect.gen(function*() {
        const own = (org: string) => ask("SELECT DISTINCT org_id, count(*) OVER () AS n FROM leads", org)
        assert.deepStrictEqual((yield* own("a")).rows, [["a", 20]])
        assert.deepStrictEqual((yield* own("b")).rows, [["b", 20]])
        assert.deepStrictEqual((yield* own("c' OR true --")).rows, [])
        assert.deepStrictEqual((yield* ask("SELECT org_id, lead_count FROM lead_pipeline", "b")).rows, [["b", 20]])
        assert.strictEqual((yield* ask("SELECT count(*) FROM leads WHERE org_id = 'b'")).rows[0]?.[0], 0)
      }))

    it.effect("refuses the attack that row-level security alone lets through", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const attack = `WITH c AS MATERIALIZED (SELECT set_config('request.jwt.claims', '{"org_id":"b"}', true) AS s)
          SELECT c.s, l.org_id FROM c CROSS JOIN LATERAL (SELECT org_id FROM leads WHERE c.s IS NOT NULL) l`
        const seen = yield* sql.unsafe<{ readonly org_id: string }>(attack).unprepared.pipe(asOrg("a", { readOnly: true }))
        assert.deepStrictEqual([...new Set(seen.map((row) => row.org_id))], ["b"])
        assert.match(yield* fails(attack), /^The function set_config is not allowed/)
      }))

    it.effect("runs no hostile query, and changes nothing", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const before = yield* sql`SELECT md5(string_agg(l::text, ',' ORDER BY id)) AS sum FROM leads AS l`
        for (const query of Object.values(hostile).flat()) {
          assert.strictEqual((yield* Effect.flip(ask(query)))._tag, "SqlRefused", query)
        }
        assert.deepStrictEqual(yield* sql`SELECT md5(string_agg(l::text, ',' ORDER BY id)) AS sum FROM leads AS l`, before)
      }))

    it.effect("every innocent query is one that the database answers", () =>
      Effect.gen(function*() {
        for (const query of innocent) {
          const result = yield* Effect.result(ask(query))
          const problem = result._tag === "Failure" ? result.failure.message : ""
          // Some name a column twice, and not every one makes sense with these rows.
          assert.isTrue(problem === "" || problem.startsWith("Two columns of the result"), `${query}: ${problem}`)
        }
      }))

    it.effect("a query cannot write even where the guard is mistaken", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const error = yield* sql`DELETE FROM leads`.pipe(asOrg("a", { readOnly: true }), Effect.flip)
        assert.include(String(error.reason.cause instanceof Error ? error.reason.cause.message : JSON.stringify(error.reason.cause)), "read-only transaction")
      }))

    it.effect("says what is wrong with a query", () =>
      Effect.gen(function*() {
        assert.match(yield* fails("SELECT compny_name FROM leads"), /^The query failed \(column "compny_name" does not exist\): Perhaps you meant .*company_name"\.$/)
        assert.match(yield* fails("SELECT 1 / 0"), /^The query failed \(division by zero\): correct it\.$/)
        assert.match(yield* fails("SELECT 'x'::int"), /invalid input syntax for type integer/)
        assert.match(yield* fails("SELECT 1 AS a, 2 AS a"), /^Two columns of the result have the name a: give each column its own name with AS\.$/)
        assert.match(yield* fails("SELECT lower(1, 2)"), /function lower\(integer, integer\) does not exist/)
      }))

    it.effect("the tables are those of public, whatever the search path", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const hidden = sql`CREATE TEMP TABLE leads ON COMMIT DROP AS SELECT 'hidden' AS org_id`
        const shadowed = hidden.pipe(
          Effect.andThen(sql`GRANT SELECT ON pg_temp.leads TO authenticated`),
          Effect.andThen(ask("SELECT DISTINCT org_id FROM leads")),
          sql.withTransaction
        )
        assert.deepStrictEqual((yield* shadowed).rows, [["a"]])
      }))
  })

  const slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"

  class Hasty extends Context.Service<Hasty, Handler>()("test/Hasty") {
    static readonly layer = Layer.effect(Hasty, SqlQuery.make({ relations: ["lead_pipeline"], statementTimeout: "500 millis", maxBytes: 100 }).handler)
  }

  layer(Layer.provideMerge(Hasty.layer, database), { timeout: "60 seconds", excludeTestServices: true })(`SqlQuery, hasty (${name})`, (it) => {
    it.effect("ends a query that takes too long, and answers the next", () =>
      Effect.gen(function*() {
        const handler = yield* Hasty
        const error = yield* handler({ query: slow }).pipe(as("a"), Effect.flip)
        assert.deepStrictEqual(
          [error._tag, error.message],
          ["SqlFailed", "The query took longer than 0.5 s: filter more, join less or aggregate fewer rows."]
        )
        assert.deepStrictEqual((yield* as("a")(handler({ query: "SELECT 1 AS one" }))).rows, [[1]])
      }))

    it.effect("can be interrupted", () =>
      Effect.gen(function*() {
        const handler = yield* Hasty
        const fiber = yield* Effect.forkChild(handler({ query: slow }).pipe(as("a")))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual((yield* as("a")(handler({ query: "SELECT 1 AS one" }))).rows, [[1]])
      }))

    it.effect("keeps to its own tables and bytes", () =>
      Effect.gen(function*() {
        const handler = yield* Hasty
        const error = yield* handler({ query: "SELECT * FROM leads" }).pipe(as("a"), Effect.flip)
        assert.match(error.message, /: read from lead_pipeline or a WITH query\.$/)
        assert.isTrue((yield* as("a")(handler({ query: "SELECT n FROM generate_series(1, 10) n" }))).truncated)
      }))
  })
}

layer(Layer.empty)("SqlQuery.make", (it) => {
  it.effect("describes tables and columns to the model", () =>
    Effect.sync(() => {
      assert.match(SqlQuery.make().tool.description ?? "", /Tables and views: leads, lead_pipeline, .*qualification_score integer/)
      assert.notMatch(SqlQuery.make({ relations: ["things"] }).tool.description ?? "", /qualification_score/)
      assert.match(SqlQuery.make({ relations: ["things"], columns: "things has: id." }).tool.description ?? "", /things\. things has: id\.$/)
      assert.strictEqual(Context.get(SqlQuery.make().tool.annotations, Tool.Class), "pure")
    }))

  it.effect("says nothing of the server when the database is away", () =>
    Effect.gen(function*() {
      const cause = Object.assign(new Error("connection to 10.0.0.1:5432 refused for user secret"), { code: "08006" })
      const away = Effect.fail(new SqlError({ reason: new ConnectionError({ cause, message: cause.message }) }))
      const sql = yield* SqlClient.make({ acquirer: away, driver: "pg", compiler: PgClient.makeCompiler(), spanAttributes: [] })
      const handler = yield* SqlQuery.make().handler.pipe(Effect.provideService(SqlClient.SqlClient, sql))
      const error = yield* handler({ query: "SELECT 1" }).pipe(as("a"), Effect.flip)
      assert.strictEqual(error.message, "The database did not answer the query: try a simpler query, or later.")
    }).pipe(Effect.provide(Reactivity.layer)))

  it.effect("takes 1 to 1000 rows", () =>
    Effect.gen(function*() {
      const decode = Schema.decodeUnknownEffect(SqlQuery.Parameters)
      assert.deepStrictEqual(yield* decode({ query: "x" }), { query: "x" })
      assert.deepStrictEqual(yield* decode({ query: "x", max_rows: 1000 }), { query: "x", max_rows: 1000 })
      yield* Effect.flip(decode({ query: "x", max_rows: 0 }))
      yield* Effect.flip(decode({ query: "x", max_rows: 1001 }))
      yield* Effect.flip(decode({ query: "x", max_rows: 1.5 }))
    }))
})

const tool = SqlQuery.make()
const analyst = Agent.make("analyst", {
  instructions: "Answer with the table.",
  model: "scripted:analyst",
  plugins: [Plugin.make("sql_query", { tools: [tool.tool], handlers: Effect.map(tool.handler, (handler) => ({ sql_query: handler })) })]
})
const query = (text: string) => ({ name: "sql_query", params: { query: text } })
const model = testing.script([
  { toolCalls: [query("SELECT count(*) AS n FROM leads"), query("DELETE FROM leads"), query("SELECT oem_brand FROM leads ORDER BY 1 LIMIT 1")] },
  "Done."
])

describe("SqlQuery, run by Conductor", () => {
  it.live("gives the model the same whenever the process dies, and when it is played again", () =>
    Effect.gen(function*() {
      const results = new Set<string>()
      let stored: testing.Export.Export | undefined
      yield* testing.CrashMatrix.run({
        agents: [analyst],
        model,
        program: Conductor.run(analyst, "How many, and of which brand?"),
        check: ({ runs }) =>
          Effect.gen(function*() {
            for (const { run, status } of runs) {
              assert.strictEqual(status, "completed")
              results.add((yield* testing.toolCalls(run)).map((call) => `${call.outcome} ${call.result}`).join("\n"))
              stored = yield* testing.Export.of(run)
            }
          }),
        database: Layer.provideMerge(Layer.effectDiscard(Effect.orDie(seed)), databases[0]?.layer ?? Layer.empty) as DatabaseLayer
      })
      assert.strictEqual(results.size, 1)
      assert.match([...results][0] ?? "", /^success .*"rows":\[\[0\]\].*\nfailure .*\nsuccess /)
      if (stored === undefined) return assert.fail("there is no run")
      assert.strictEqual((yield* testing.Replay.run(stored, { agents: [analyst] })).state.status, "completed")
    }), 60_000)
})
