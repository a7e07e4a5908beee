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

/** The row as `conductor_project_calls` takes it: the columns of `model_calls` in their order. */
const rowOf = ({ attempt, event, logged, prices, started }: Ended, append: number): Row => {
  const { bill } = event
  const { usage } = bill
  const colon = bill.model.indexOf(":")
  return {
    append,
    r: [
      event.attemptId, started.org, logged.run, started.session, started.agent, event.turn, attempt, bill.model.slice(0, colon),
      bill.model.slice(colon + 1), usage.uncached, usage.cacheRead, usage.cacheWrite, usage.cacheWriteHour, usage.output,
      usage.reasoning, Money.format(bill.cost), bill.source, prices, bill.latencyMs, bill.firstTokenMs,
      event._tag === "TurnCompleted" ? event.finish : null, bill.requestId,
      event._tag === "AttemptFailed" ? event.error.reason : null, logged.at
    ]
  }
}

/** The ledger of attempts: one row of `model_calls` for each attempt that has ended, however it ended. */
export const projection: Projection = {
  name: "calls",
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
