/** Copies of what is forgotten, in places where it does not stand by itself or comes back to. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Latch, Option } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import { Idempotency } from "../../src/Idempotency.ts"
import { takeOut } from "../../src/Memory/TakeOut.ts"
import { Agent, Approval, AuditLog, Conductor, CurrentOrg, Memory, Model, Run } from "../../src/index.ts"
import { memoryPlugin } from "../../src/plugins/memory.ts"
import { RunLog } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { databases } from "../support/databases.ts"
import { runtimes, scripted } from "../support/conductors.ts"

/** Asks whether it may forget, and then remembers what it was to forget; else it says nothing of its own. */
const model = Model.Scripted.make((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "tool") {
    return last.results[0]?.name === "forget" ? { toolCalls: [{ name: "remember", params: { text: "The heron's code is gold-7731." } }] } : "Done."
  }
  if (last?.role === "user" && last.text.startsWith("Ask no more")) return { toolCalls: [{ name: "recall", params: { query: "heron" } }] }
  if (last?.role === "user" && last.text.startsWith("Ask")) return { toolCalls: [{ name: "forget", params: { id: "nothing" } }] }
  return { text: "Fine.", usage: { uncached: Math.ceil(JSON.stringify(request.messages).length / 3), output: 5 } }
})

const clerk = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [memoryPlugin()] })
const brief = Agent.make("brief", { instructions: "Serve.", model: "scripted:test", context: { tokens: 1_000, keepTurns: 1, summaries: "rule" }, limits: { outputTokens: 200 } })

const org = Run.OrgId.make("local")

const textsOf = Effect.flatMap(Memory.Memory, (memory) => Effect.map(memory.list(), (facts) => facts.map((fact) => fact.text)))

for (const { layer: runtime, name } of runtimes([clerk, brief], model)) {
  layer(runtime, { excludeTestServices: true })(`what is forgotten (${name})`, (it) => {
    it.effect("goes out of every other memory that has it, too", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const fact = yield* memory.remember({ text: "gold-7731" })
        yield* memory.remember({ text: "gold-7731", scope: "user:ann" })
        yield* memory.remember({ text: "The code gold-7731 opens the vault.", scope: "agent:clerk" })
        yield* memory.remember({ text: "The vault is in the cellar." })
        assert.deepStrictEqual(yield* memory.forget({ id: fact.id }), { memories: 2, waiting: [] })
        assert.deepStrictEqual(yield* textsOf, ["The vault is in the cellar.", "The code [FORGOTTEN] opens the vault."])
        assert.deepStrictEqual(yield* memory.recall({ text: "gold 7731" }), [])
        yield* Effect.forEach(["agent:clerk", "org"] as const, (scope) => memory.forget({ scope }))
      }), 60_000)

    it.effect("does not come back by a run under way that had heard of it", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        yield* memory.remember({ text: "gold-7731" })
        const run = yield* Conductor.start(clerk, "Ask before you go on with gold-7731.")
        const parked = yield* Effect.flip(Conductor.result(run))
        const [approval] = parked._tag === "RunWaiting" ? parked.approvals ?? [] : []
        assert.deepStrictEqual(yield* memory.forget({ text: "gold-7731" }), { memories: 1, waiting: [run] })
        yield* Conductor.decide(approval?.approval ?? "", { decision: "approved" })
        yield* Conductor.result(run)
        assert.deepStrictEqual(yield* textsOf, ["The heron's code is gold-7731."])
        assert.deepStrictEqual(yield* memory.settle, [])
        assert.deepStrictEqual(yield* textsOf, ["The heron's code is [FORGOTTEN]."])
        // What is said after that is new.
        yield* memory.remember({ text: "The new code is gold-7731, again." })
        yield* memory.settle
        assert.strictEqual((yield* textsOf)[0], "The new code is gold-7731, again.")
        yield* memory.forget({ scope: "org" })
      }), 60_000)

    it.effect("is not to be guessed from the hashes of what was asked for", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const run = yield* Conductor.start(clerk, "Ask for the heron.")
        const parked = yield* Effect.flip(Conductor.result(run))
        const [asked] = parked._tag === "RunWaiting" ? parked.approvals ?? [] : []
        const id = asked?.approval ?? ""
        const request = { org, key: "heron", fingerprint: "0".repeat(64) }
        const idempotency = yield* Idempotency
        assert.isTrue((yield* idempotency.claim(request, run)).isFirst)
        yield* Conductor.decide(id, { decision: "denied" })
        yield* Conductor.result(run)
        yield* memory.forget({ text: "nothing" })
        const find = Effect.flatMap(Approval.Approval, (approval) => approval.find(org, id))
        assert.strictEqual(Option.getOrThrow(yield* find).digest, "[FORGOTTEN]")
        const requested = (yield* testing.events(run)).flatMap(({ event }) => event._tag === "ApprovalRequested" ? [event.digest] : [])
        assert.deepStrictEqual(requested, ["[FORGOTTEN]"])
        // What was asked for is still there, and so is its hash.
        assert.isTrue((yield* idempotency.claim(request, run)).isSame)
        yield* memory.forget({ text: "the heron" })
        assert.isFalse((yield* idempotency.claim(request, run)).isSame)
        yield* testing.check(run)
      }), 60_000)

    it.effect("goes out of a summary by rule that has only the beginning of it, or the end", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const secret = `The first herons of spring ${"wait in the reeds, ".repeat(20)}and the last of autumn leave.`
        yield* Conductor.run(brief, `Listen: ${secret}`, { session: "long" })
        for (let turn = 0; turn < 2; turn++) yield* Conductor.run(brief, `Turn ${turn}. ${"Blah ".repeat(350)}`, { session: "long" })
        const told = Effect.gen(function*() {
          const rows = yield* (yield* RunLog).list({ org, session: Run.SessionId.make("long"), limit: 100 })
          const all = yield* Effect.forEach(rows, ({ run }) => Effect.andThen(testing.check(run), testing.events(run)))
          return all.flat().map(({ event }) => event)
        })
        const summaries = (yield* told).flatMap((event) => event._tag === "ContextShortened" ? [event.summary ?? ""] : [])
        assert.match(summaries[0] ?? "", /- Listen: The first herons of spring .*\n\[… \d+ characters left out …\]\n.* the last of autumn leave\./)
        yield* memory.forget({ text: secret })
        const text = JSON.stringify(yield* told, (_, value: unknown) => typeof value === "bigint" ? `${value}` : value)
        for (const part of ["herons", "reeds", "autumn"]) assert.notInclude(text, part)
        assert.isUndefined((yield* (yield* AuditLog).verify({ org })).broken)
      }), 60_000)
  })
}

describe("a text that was cut", () => {
  it("is taken out on both sides of the cut, whatever else is there", () => {
    const take = takeOut(["The vault opens with gold-7731."])
    const cut = "\n[… 40 characters left out …]\n"
    assert.strictEqual(take(`Say: The vault op${cut}gold-7731. Fine.`), `Say: [FORGOTTEN]${cut}[FORGOTTEN] Fine.`)
    assert.strictEqual(take(`Say: The${cut}31. Fine.`), `Say: The${cut}31. Fine.`)
    assert.strictEqual(take(JSON.stringify({ text: `The vault opens${cut}nothing` })), JSON.stringify({ text: `[FORGOTTEN]${cut}nothing` }))
    assert.strictEqual(take("Say: The vault op"), "Say: The vault op")
  })
})

/** Lets a statement wait for something, once. */
const heldUp = (isMeant: (text: string) => boolean, wait: Effect.Effect<void>): Statement.Transformer => {
  let isOver = false
  return (statement) =>
    Effect.suspend(() => {
      const [text] = statement.compile()
      if (isOver || !isMeant(text)) return Effect.succeed(statement)
      isOver = true
      return Effect.as(wait, statement)
    })
}

for (const { layer: database, name } of databases) {
  layer(Conductor.layerDatabase({ agents: [clerk], models: scripted(model), database }), { excludeTestServices: true })(`on a database (${name})`, (it) => {
    it.effect("two who forget at the same time do not bring back what the other has forgotten", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const { run } = yield* Conductor.run(clerk, "The heron is grey and the wren is brown.")
        const other = Latch.makeUnsafe(false)
        // The first has read the log when the second is quite done.
        const first = yield* memory.forget({ text: "heron is grey" }).pipe(
          Effect.provideService(Statement.CurrentTransformer, heldUp((text) => text.includes("conductor_redact") || text.includes("FOR NO KEY UPDATE"), other.await)),
          Effect.forkChild
        )
        yield* Effect.sleep("300 millis")
        if (name === "postgres") yield* memory.forget({ text: "wren is brown" })
        yield* other.open
        if (name === "pglite") yield* memory.forget({ text: "wren is brown" })
        yield* Fiber.join(first)
        const { messages } = yield* (yield* RunLog).state(run)
        assert.deepStrictEqual(messages[0], { role: "user", text: "The [FORGOTTEN] and the [FORGOTTEN]." })
      }), 60_000)

    it.effect("goes from a trail that is longer than what is looked through at a time", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const audit = yield* AuditLog
        const sql = yield* Effect.map(Effect.serviceOption(SqlClient.SqlClient), Option.getOrThrow)
        const long = Run.OrgId.make("long")
        yield* sql`SELECT conductor_project_audit((SELECT jsonb_agg(jsonb_build_object('org_id', 'long', 'at', 0, 'event', 'ActionRecorded', 'action', 'admin',
          'tool_name', 'note', 'principal', 'ann', 'success', true, 'output_summary', CASE WHEN n IN (1, 5000, 5001, 10002) THEN 'gold-7731' ELSE 'nothing' END))
          FROM generate_series(1, 10002) AS s (n)))`
        yield* Effect.provideService(memory.forget({ text: "gold-7731" }), CurrentOrg, long)
        const rows = yield* audit.list({ org: long, limit: 20_000 })
        assert.deepStrictEqual(rows.filter((row) => row.erasedAt !== null).map((row) => row.n).toReversed(), [1, 5000, 5001, 10_002])
        assert.isUndefined((yield* audit.verify({ org: long })).broken)
      }), 60_000)

    it.effect("what versions before kept of calls goes, too", () =>
      Effect.gen(function*() {
        const memory = yield* Memory.Memory
        const sql = yield* Effect.map(Effect.serviceOption(SqlClient.SqlClient), Option.getOrThrow)
        yield* sql`SELECT conductor_project_audit(${JSON.stringify([{
          org_id: org, at: 0, event: "ToolCompleted", action: "tool_call", tool_name: "look", principal: "ann", success: true, run_id: "old", seq: 3, call_id: "call",
          input_params: { for: "gold-7731" }, execution: { input: { for: "gold-7731", n: 1 }, output: { text: "the \"gold-7731\" of Ann" }, started: 0, completed: 1 }
        }])}::text::jsonb)`
        yield* memory.forget({ text: "gold-7731" })
        const rows = yield* sql`SELECT input_json, output_json FROM tool_executions WHERE org_id = ${org} AND run_id = 'old'`
        assert.deepStrictEqual(rows, [{ input_json: { for: "[FORGOTTEN]", n: 1 }, output_json: { text: "the \"[FORGOTTEN]\" of Ann" } }])
        assert.isUndefined((yield* (yield* AuditLog).verify({ org })).broken)
        // What is kept now is where the content is to be found, which has no content of its own.
        const { run } = yield* Conductor.run(clerk, "Ask no more.")
        const places = sql`SELECT input_json, output_json FROM tool_executions WHERE org_id = ${org} AND run_id = ${run} ORDER BY id`
        const before = yield* places
        assert.isAbove(before.length, 0)
        yield* memory.forget({ text: run.slice(0, 8) })
        yield* memory.forget({ text: "call_1" })
        assert.deepStrictEqual(yield* places, before)
        yield* testing.check(run)
      }), 60_000)
  })
}
