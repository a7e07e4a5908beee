import * as Money from "../Money.ts"
import type { Logged, RunEvent, RunState } from "../Run.ts"
import type { Projection, Row, Step } from "../RunLog.ts"

/** An attempt that has ended: its end, and what it needs of the states around it. */
interface Ended {
  readonly event: Extract<RunEvent, { _tag: "TurnCompleted" | "AttemptFailed" }>
  readonly logged: Logged
  readonly started: RunState["started"]
  readonly attempt: number
  readonly prices: string | null
}

const endedOf = ({ after, before, logged }: Step): Ended | undefined => {
  const { event } = logged
  if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed") return undefined
  const attempt = before?.attempt
  return { event, logged, started: after.started, attempt: attempt?.number ?? 1, prices: attempt?.prices ?? null }
}

const rowOf = ({ attempt, event, logged, prices, started }: Ended, append: number): Row => {
  const { bill } = event
  const colon = bill.model.indexOf(":")
  return {
    append,
    id: event.attemptId,
    org: started.org,
    run: logged.run,
    session: started.session,
    agent: started.agent,
    turn: event.turn,
    attempt,
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
    prices,
    latency_ms: bill.latencyMs,
    first_token_ms: bill.firstTokenMs,
    finish: event._tag === "TurnCompleted" ? event.finish : null,
    request_id: bill.requestId,
    error: event._tag === "AttemptFailed" ? event.error.reason : null,
    at: logged.at
  }
}

/** The ledger of attempts: one row of `model_calls` for each attempt that has ended, however it ended. */
export const projection: Projection = {
  name: "model_calls",
  order: 10,
  rows: ({ steps }, index) => {
    const rows: Array<Row> = []
    for (const step of steps) {
      const ended = endedOf(step)
      if (ended !== undefined) rows.push(rowOf(ended, index))
    }
    return rows
  },
  write: (rows, tables) => {
    const calls = tables.get("model_calls", (): Array<() => Row> => [])
    for (const row of rows) calls.push(() => row)
  },
  keep: ({ steps }, tables) => {
    const calls = tables.get("model_calls", (): Array<() => Row> => [])
    for (const step of steps) {
      const ended = endedOf(step)
      if (ended !== undefined) calls.push(() => rowOf(ended, 0))
    }
  }
}
