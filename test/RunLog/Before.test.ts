import { assert, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { AuditLog } from "../../src/AuditLog.ts"
import * as Money from "../../src/Money.ts"
import { RunLog } from "../../src/RunLog.ts"
import { payloadOf } from "../../src/RunLog/Payload.ts"
import { balanceOf, begin, show } from "../support/budgets.ts"
import { stores } from "../support/stores.ts"

for (const { layer: store, name } of stores.filter(({ name }) => name !== "memory")) {
  layer(store, { excludeTestServices: true, timeout: "1 minute" })(`A process of the version before, whose flush speaks JSON (${name})`, (it) => {
    it.effect("goes on with a run: its events, its budget, its ledger and its trail", () =>
      Effect.gen(function*() {
        const sql = Option.getOrThrow(yield* Effect.serviceOption(SqlClient.SqlClient))
        const log = yield* RunLog
        const run = yield* begin("1")
        const { org, run: id, session } = run
        const agent = run.state()?.agent
        const scopes = [`org:${org}`, `session:${session}`, `run:${id}`]
        const flush = (event: { readonly tag: string; readonly seq: number; readonly payload: string }, gates: unknown, rows: unknown) =>
          sql<{ readonly answer: unknown }>`SELECT conductor_flush('other', ${[id]}::text[], ${[org]}::text[], '{1}', ${[event.seq]}::integer[], '{1}', '{running}', NULL,
            NULL, ${event.tag === "TurnCompleted" ? [1] : [0]}::integer[], ${event.tag === "TurnCompleted" ? ["0.15"] : ["0"]}::text[], '{false}', '{120}', '{30}', NULL,
            '{0}', ${[event.seq]}::integer[], '{1790000000000}', ${[event.tag]}::text[], ${[event.payload]}::text[],
            ${JSON.stringify(gates)}::text::jsonb, ${JSON.stringify(rows)}::text::jsonb) AS answer`

        const started = run.turnStarted()
        const [asked] = yield* flush(
          { tag: "TurnStarted", seq: 2, payload: payloadOf({ ...started, maxOutput: 1_000 }) },
          [{ name: "budgets", asks: [{ append: 0, org, scopes, want: ["0.1", "100", 1_000, 100] }] }],
          []
        )
        assert.deepStrictEqual(asked?.answer, {
          fenced: [],
          refused: [],
          patched: [{ append: 0, patch: { maxOutput: 1_000, reserved: "0.2", scopes: [`run:${id}`] } }]
        })
        assert.strictEqual(show(yield* balanceOf(org, `run:${id}`)), "1 0 0.2")

        const completed = run.turnCompleted({ cost: "0.15" })
        yield* flush(
          { tag: "TurnCompleted", seq: 3, payload: payloadOf(completed) },
          [{ name: "budgets", asks: [{ append: 0, org, scopes, cost: "0.15", back: ["0", "0", "0.2"] }] }],
          [
            { name: "calls", rows: [{ append: 0, r: [started.attemptId, org, id, session, agent, 1, 1, "scripted", "model", 100, 20, 0, 0, 30, 0, "0.15", "priced", "test", 250, 80, "stop", null, null, 1_790_000_000_000, null, null, null, 0, null, null] }] },
            { name: "trail", rows: [{ append: 0, m: [org, 1_790_000_000_000_000, "TurnCompleted", "model_attempt", "scripted:model", "local", agent, session, id, 3, started.attemptId, null, true, 250, "0.15"], c: ["stop", null, null], p: null, e: null }] }
          ]
        )
        assert.strictEqual(show(yield* balanceOf(org, `run:${id}`)), "1 0.15 0")
        const row = yield* log.find(id)
        assert.deepStrictEqual([row.seq, row.turns, Money.format(row.cost), row.inputTokens, row.outputTokens], [3, 1, "0.15", 240, 60])
        const events = yield* Stream.runCollect(log.read(id))
        assert.deepStrictEqual(events.map(({ event }) => event._tag), ["RunStarted", "TurnStarted", "TurnCompleted"])
        const audit = yield* AuditLog
        const report = yield* audit.verify({ org })
        assert.isUndefined(report.broken)
        assert.strictEqual(report.rows, 2)
      }))
  })
}
