import * as Money from "../Money.ts"
import type { Projection, Row } from "../RunLog.ts"

/** The ledger of attempts: one row of `model_calls` for each attempt that has ended, however it ended. */
export const projection: Projection = {
  name: "model_calls",
  order: 10,
  rows: (append, index) =>
    append.steps.flatMap(({ after, before, logged: { at, event } }): ReadonlyArray<Row> => {
      if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed") return []
      const { bill } = event
      const colon = bill.model.indexOf(":")
      return [{
        append: index,
        id: event.attemptId,
        org: after.org,
        run: append.run,
        session: after.session,
        agent: after.agent,
        turn: event.turn,
        attempt: before?.attempt?.number ?? 1,
        provider: bill.model.slice(0, colon),
        model: bill.model.slice(colon + 1),
        uncached: bill.usage.uncached,
        cache_read: bill.usage.cacheRead,
        cache_write: bill.usage.cacheWrite,
        cache_write_hour: bill.usage.cacheWriteHour,
        output: bill.usage.output,
        reasoning: bill.usage.reasoning,
        cost: Money.format(bill.cost),
        source: bill.source,
        prices: before?.attempt?.prices ?? null,
        latency_ms: bill.latencyMs,
        first_token_ms: bill.firstTokenMs,
        finish: event._tag === "TurnCompleted" ? event.finish : null,
        request_id: bill.requestId,
        error: event._tag === "AttemptFailed" ? event.error.reason : null,
        at
      }]
    }),
  write: (rows, tables) => void tables.get("model_calls", (): Array<Row> => []).push(...rows)
}
