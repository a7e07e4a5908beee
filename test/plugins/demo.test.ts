import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as SqlClient from "effect/sql/SqlClient"
import * as AiTool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import { dealersPlugin, demo } from "../../src/plugins/demo.ts"
import { DealersNotLoaded, loadDealers, readDealers } from "../../src/plugins/demo/Dealers.ts"
import { dealerDistances, DealerDistances, milesBetween, nearestPairs } from "../../src/plugins/demo/Distances.ts"
import { turnOf } from "../../src/plugins/demo/Script.ts"
import { AgentName, OrgId, RunId, type Transcript } from "../../src/Run.ts"
import * as Tool from "../../src/Tool.ts"
import { databases } from "../support/databases.ts"

const org = OrgId.make("demo")

const as = (org: OrgId) =>
  Effect.provideService(Tool.Call, { id: "call", run: RunId.make("run"), org, agent: AgentName.make("dealers"), principal: "local", key: "key", progress: () => Effect.void })

type Kit = Toolkit.WithHandler<Toolkit.ToolsByName<typeof dealersPlugin.tools>>

/** What a tool answers, as the model reads it. */
const perform = Effect.fnUntraced(function*(kit: Kit, call: Transcript.ToolCallPart) {
  const name = call.name === "sql_query" ? "sql_query" : "dealer_distances"
  // The script's arguments are decoded by the toolkit; their type is only known by then.
  const stream = yield* kit.handle(name, JSON.parse(call.arguments) as never)
  const [result] = yield* Stream.runCollect(stream)
  assert.isDefined(result)
  return { id: call.id, name: call.name, isFailure: result?.isFailure ?? true, result: JSON.stringify(result?.encodedResult) }
})

/** Plays the demonstration as the runtime does: ask the script, perform its calls, ask again. */
const play = Effect.fnUntraced(function*(question: string, options: Parameters<typeof demo.script>[0]) {
  const kit = yield* Toolkit.make(...dealersPlugin.tools)
  const messages: Array<Transcript.Message> = [{ role: "user", text: question }]
  const calls: Array<ReadonlyArray<string>> = []
  for (let turn = 0; turn < 8; turn++) {
    const stream = demo.script(options)({ model: "demo", system: "", messages, tools: [], maxOutput: 1000 })
    const parts = yield* Stream.runCollect(stream)
    const text = parts.map((part) => part.type === "text-delta" ? part.delta : "").join("")
    const toolCalls = parts.flatMap((part) =>
      part.type === "tool-call" ? [{ type: "tool-call" as const, id: part.id, name: part.name, arguments: JSON.stringify(part.params) }] : []
    )
    messages.push({ role: "assistant", model: "scripted:demo", parts: [{ type: "text", text }, ...toolCalls] })
    if (toolCalls.length === 0) return { answer: text, calls, pieces: parts.filter((part) => part.type === "text-delta").length }
    calls.push(toolCalls.map((call) => call.name))
    messages.push({ role: "tool", results: yield* Effect.forEach(toolCalls, (call) => perform(kit, call), { concurrency: 8 }) })
  }
  return yield* Effect.die("the script does not end")
})

const query = <A extends object>(text: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<A>(text).unprepared)

for (const { layer: database, name } of databases) {
  layer(dealersPlugin.layer.pipe(Layer.provideMerge(database)), { timeout: "60 seconds" })(`demo (${name})`, (it) => {
    it.effect("loads the dealers, and again without a second row", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(yield* demo.load(org), 200)
        yield* sql`UPDATE leads SET company_name = 'changed' WHERE org_id = ${org} AND external_id = 'dealer-001'`
        const before = yield* sql`SELECT id FROM leads WHERE org_id = ${org} ORDER BY id`
        assert.strictEqual(yield* demo.load(org), 200)
        assert.deepStrictEqual(yield* sql`SELECT id FROM leads WHERE org_id = ${org} ORDER BY id`, before)
        const [row] = yield* query(`SELECT company_name, address, contacts, employee_count, license_expiry, qualification_score, zip_code, source_project,
          qualified_at IS NULL AS unqualified FROM leads WHERE org_id = 'demo' AND external_id = 'dealer-001'`)
        assert.deepStrictEqual(row, {
          company_name: "Quarry Electric",
          address: { street: "386 Market St", city: "Tacoma", state: "WA", zip: "98428", lat: 47.2525, lng: -122.4457 },
          contacts: [{ name: "Skyler Lockhart", title: "Sales Manager", email: "info@quarry-electric.example.com", phone: "(253) 555-0185" }],
          employee_count: 21,
          license_expiry: null,
          qualification_score: null,
          zip_code: "98428",
          source_project: "demo",
          unqualified: true
        })
      }))

    it.effect("answers its question as a query of the test's own does", () =>
      Effect.gen(function*() {
        yield* demo.load(org)
        const { answer, calls } = yield* play(demo.question, { pace: 0 }).pipe(as(org))
        const [top] = yield* query<{ state: string; n: number; total: number; states: number }>(`
          SELECT address->>'state' AS state, count(*)::int AS n, (sum(count(*)) OVER ())::int AS total, (count(*) OVER ())::int AS states
          FROM leads WHERE org_id = 'demo' AND oem_brand = 'Generac' GROUP BY 1 ORDER BY 2 DESC LIMIT 1`)
        // Great circle by the law of cosines, where the tool uses the haversine formula.
        const [pair] = yield* query<{ a: string; b: string; miles: string }>(`
          WITH d AS (SELECT company_name, external_id, radians((address->>'lat')::float8) AS lat, radians((address->>'lng')::float8) AS lng
            FROM leads WHERE org_id = 'demo' AND oem_brand = 'Generac' AND address->>'state' = '${top?.state}')
          SELECT a.company_name AS a, b.company_name AS b,
            round((3958.7613 * acos(least(1, sin(a.lat) * sin(b.lat) + cos(a.lat) * cos(b.lat) * cos(a.lng - b.lng))))::numeric, 1)::float8::text AS miles
          FROM d a JOIN d b ON a.external_id < b.external_id
          ORDER BY acos(least(1, sin(a.lat) * sin(b.lat) + cos(a.lat) * cos(b.lat) * cos(a.lng - b.lng))) LIMIT 1`)
        assert.isDefined(top)
        assert.isDefined(pair)
        assert.deepStrictEqual(calls, [["sql_query", "sql_query"], ["dealer_distances"]])
        assert.include(answer, `${top?.state} has the most Generac dealers: ${top?.n} of ${top?.total}, which are in ${top?.states} states.`)
        assert.include(answer, `the two closest together are ${pair?.a} (`)
        assert.include(answer, ` and ${pair?.b} (`)
        assert.include(answer, `, ${pair?.miles} miles apart.`)
      }))

    it.effect("answers from the data, not from memory", () =>
      Effect.gen(function*() {
        const other = OrgId.make(`other-${name}`)
        const sql = yield* SqlClient.SqlClient
        yield* demo.load(other)
        yield* sql`DELETE FROM leads WHERE org_id = ${other} AND address->>'state' = 'TX'`
        const { answer } = yield* play(demo.question, { pace: 0 }).pipe(as(other))
        assert.match(answer, /^FL has the most Generac dealers: 13 of /)
        assert.match((yield* play("Which state has the most Kohler dealers?", { pace: 0 }).pipe(as(org))).answer, /has the most Kohler dealers: \d+ of \d+/)
        assert.strictEqual((yield* play("Which state has the most O'Neill dealers?", { pace: 0 }).pipe(as(org))).answer, "There are no O'Neill dealers.")
        assert.strictEqual((yield* play("Which state has the most Generac dealers?", { pace: 0 }).pipe(as(OrgId.make("nobody")))).answer, "There are no Generac dealers.")
      }))

    it.effect("streams at its pace", () =>
      Effect.gen(function*() {
        yield* demo.load(org)
        const first = demo.script()({ model: "demo", system: "", messages: [{ role: "user", text: demo.question }], tools: [], maxOutput: 1 })
        const seen: Array<string> = []
        yield* Effect.forkChild(Stream.runForEach(first, (part) => Effect.sync(() => part.type === "text-delta" ? seen.push(part.delta) : 0)))
        yield* TestClock.adjust("60 millis")
        assert.strictEqual(seen.join(""), "I coun")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(seen.join(""), "I count the Generac dealers of each state, and all of them.")
      }))

    it.effect("measures all brands of a state, with the organisation's own dealers only", () =>
      Effect.gen(function*() {
        yield* demo.load(org)
        const kit = yield* Toolkit.make(...dealersPlugin.tools)
        const ask = (parameters: typeof DealerDistances.parametersSchema.Type, org: OrgId) =>
          Effect.flatMap(kit.handle("dealer_distances", parameters), Stream.runCollect).pipe(
            Effect.flatMap(([first]) => Schema.decodeUnknownEffect(DealerDistances.successSchema)(first?.encodedResult)),
            as(org)
          )
        const [row] = yield* query<{ n: number }>(`SELECT count(*)::int AS n FROM leads WHERE org_id = 'demo' AND address->>'state' = 'TX'`)
        const all = yield* ask({ state: " tx " }, org)
        assert.strictEqual(all.dealers, row?.n)
        assert.lengthOf(all.pairs, 3)
        assert.deepStrictEqual(yield* ask({ state: "TX", brand: "Generac", pairs: 1 }, OrgId.make("nobody")), { dealers: 0, pairs: [] })
      }))

    it.effect("says so when the database cannot be written or read", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`SET TRANSACTION READ ONLY`, loadDealers(org))))
        assert.match(error.message, /could not be written: see that the database is up/)
        const unread = yield* Effect.gen(function*() {
          yield* sql`ALTER TABLE leads RENAME COLUMN oem_brand TO brand`
          return yield* (yield* dealerDistances)({ state: "TX" })
        }).pipe(as(org), sql.withTransaction, Effect.flip)
        assert.strictEqual(unread.message, "The dealers could not be read: try again later.")
      }))
  })
}

describe("demo", () => {
  it.effect("is about 200 invented dealers that nobody can call or write to", () =>
    Effect.gen(function*() {
      const dealers = yield* readDealers()
      assert.lengthOf(dealers, 200)
      for (const dealer of dealers) {
        assert.match(dealer.phone ?? "", /^\(\d{3}\) 555-01\d\d$/)
        assert.match(dealer.email ?? "", /@[a-z-]+\.example\.com$/)
        assert.isTrue(Math.abs(dealer.address.lat - 37) < 13 && Math.abs(dealer.address.lng + 95) < 32)
      }
      assert.strictEqual(new Set(dealers.map((dealer) => dealer.phone)).size, 200)
    }))

  it.effect("names the file that is missing", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(readDealers("/nowhere/dealers.csv"))
      assert.instanceOf(error, DealersNotLoaded)
      assert.match(error.message, /could not be read: restore src\/plugins\/demo\/dealers\.csv/)
    }))

  it.effect("is an agent with limits", () =>
    Effect.sync(() => {
      assert.strictEqual(demo.agent.name, "dealers")
      assert.strictEqual(demo.agent.limits.turns, 8)
      assert.deepStrictEqual(demo.agentOf("anthropic:claude-sonnet-5-5").plugins, demo.agent.plugins)
      assert.deepStrictEqual(demo.agent.plugins.flatMap((plugin) => plugin.tools.map((tool) => tool.name)), ["sql_query", "dealer_distances"])
      assert.strictEqual(Context.get(DealerDistances.annotations, Tool.Target)?.({ state: "TX" }), "state:TX")
      assert.include(JSON.stringify(AiTool.getJsonSchema(DealerDistances)), "two letters")
    }))

  it.effect("knows distances", () =>
    Effect.sync(() => {
      const austin = { lat: 30.2672, lng: -97.7431 }
      const houston = { lat: 29.7604, lng: -95.3698 }
      assert.approximately(milesBetween(austin, houston), 146.4, 0.5)
      assert.strictEqual(milesBetween(austin, austin), 0)
      // Half the circumference.
      assert.approximately(milesBetween({ lat: 0, lng: 0 }, { lat: 0, lng: 180 }), Math.PI * 3958.7613, 0.001)
      const row = (id: string, lng: number) => ({ external_id: id, company_name: id, city: "x", lat: 30, lng })
      assert.deepStrictEqual(
        nearestPairs([row("a", 0), row("b", 3), row("c", 4), row("d", 9)], 2).map(({ a, b }) => a.external_id + b.external_id),
        ["bc", "ab"]
      )
      assert.deepStrictEqual(nearestPairs([row("a", 0)], 2), [])
    }))
})

describe("the script", () => {
  const user = (text: string): Transcript.Message => ({ role: "user", text })
  const results = (...values: ReadonlyArray<unknown>): Transcript.Message => ({
    role: "tool",
    results: values.map((value, index) => ({ id: String(index), name: "sql_query", isFailure: false, result: JSON.stringify(value) }))
  })
  const states = (...rows: ReadonlyArray<readonly [string, number]>) => ({ rows })

  it.effect("is honest about being one", () =>
    Effect.sync(() => {
      assert.match(turnOf([user("Hello")]).text ?? "", /^I am a script, not a model/)
      assert.match(turnOf([]).text ?? "", /^I am a script, not a model/)
      assert.match(turnOf([user("most X dealers"), results("what")]).text ?? "", /cannot read/)
      assert.match(turnOf([user("most X dealers"), results(states(["TX", 1]), { rows: [[1, 1]] }, "what")]).text ?? "", /cannot read/)
    }))

  it.effect("begins anew with each question", () =>
    Effect.sync(() => {
      const turn = turnOf([user("most X dealers"), results(states()), user("most Y dealers")])
      assert.lengthOf(turn.toolCalls ?? [], 2)
      assert.include(JSON.stringify(turn.toolCalls), "'Y'")
    }))

  it.effect("says what failed, who is level, and what has no place", () =>
    Effect.sync(() => {
      const failed: Transcript.Message = { role: "tool", results: [{ id: "1", name: "sql_query", isFailure: true, result: "no database" }] }
      assert.strictEqual(turnOf([user("most X dealers"), failed]).text, "I cannot answer, because sql_query failed: no database")
      const level = results(states(["TX", 2], ["FL", 2], ["CA", 1]), { rows: [[5, 3]] }, { pairs: [] })
      assert.strictEqual(
        turnOf([user("most X dealers"), level]).text,
        "TX and FL have the most X dealers, 2 each of 5. TX has no two of them with a known place."
      )
    }))
})
