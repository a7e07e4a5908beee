import * as Money from "../Money.ts"
import { type Bill, type CostSource, type Logged, type RunState, Transcript, type Usage } from "../Run.ts"
import { cell, type Projection, type Row, type Step, type Tables } from "../RunLog.ts"

/** An attempt that has ended, or another charge of a model: its bill, and what its row needs of the states around it. */
interface Ended {
  readonly id: string
  readonly bill: Bill
  readonly logged: Logged
  readonly started: RunState["started"]
  readonly turn: number
  readonly attempt: number
  readonly prices: string | null
  readonly finish: string | null
  readonly error: string | null
  readonly parts: ReadonlyArray<Transcript.AssistantPart>
}

const endedOf = ({ after, before, logged }: Step): Ended | undefined => {
  const { event } = logged
  const about = { logged, started: after.started, attempt: before?.attempt?.number ?? 1, prices: before?.attempt?.prices ?? null }
  switch (event._tag) {
    case "TurnCompleted":
      return { ...about, id: event.attemptId, bill: event.bill, turn: event.turn, finish: event.finish, error: null, parts: event.parts }
    case "AttemptFailed":
      return { ...about, id: event.attemptId, bill: event.bill, turn: event.turn, finish: null, error: event.error.reason, parts: [] }
    case "ContextCompacted":
      return { ...about, id: event.attemptId ?? `${logged.run}.${logged.seq}`, bill: event.bill, turn: after.turns + 1, finish: null, error: null, parts: [] }
    default:
      return undefined
  }
}

/** Characters of a name kept: a model may make up the tools that it calls. */
const maxName = 200

const toolsOf = (parts: Ended["parts"]): ReadonlyArray<string> =>
  Transcript.toolCallsOf(parts).map(({ name }) => name.slice(0, maxName).toWellFormed())

/** The row as `conductor_project_calls` takes it. */
const cellsOf = ({ attempt, bill, error, finish, id, logged, parts, prices, started, turn }: Ended, append: number): Row => {
  const { usage } = bill
  const colon = bill.model.indexOf(":")
  const tools = toolsOf(parts)
  return [
    String(append), id, started.org, logged.run, started.session, started.agent, String(turn), String(attempt), bill.model.slice(0, colon),
    bill.model.slice(colon + 1), String(usage.uncached), String(usage.cacheRead), String(usage.cacheWrite), String(usage.cacheWriteHour),
    String(usage.output), String(usage.reasoning), Money.format(bill.cost), bill.source, prices, String(bill.latencyMs),
    cell(bill.firstTokenMs), finish, bill.requestId, error, String(logged.at), bill.host ?? null, bill.servedModel ?? null,
    bill.nativeFinish ?? null, String(usage.webSearches ?? 0), tools.length === 0 ? null : JSON.stringify(tools)
  ]
}

/** A row of `model_calls`, as far as sums are made of it. A correction's cost and usage are differences. */
export interface ModelCall {
  readonly id: string
  readonly org: string
  readonly run: string
  readonly session: string
  readonly agent: string
  readonly turn: number
  readonly attempt: number
  readonly model: string
  readonly usage: Required<Usage>
  readonly cost: Money.Money
  readonly source: CostSource
  readonly error: string | null
  /** Milliseconds since 1970. */
  readonly at: number
  /** The names of the tools that the answer called, in its order. */
  readonly tools: ReadonlyArray<string>
  /** The row that this one corrects. */
  readonly corrects: string | null
}

const callOf = ({ attempt, bill, error, id, logged, parts, started, turn }: Ended): ModelCall => ({
  id,
  org: started.org,
  run: logged.run,
  session: started.session,
  agent: started.agent,
  turn,
  attempt,
  model: bill.model,
  usage: { ...bill.usage, webSearches: bill.usage.webSearches ?? 0 },
  cost: bill.cost,
  source: bill.source,
  error,
  at: logged.at,
  tools: toolsOf(parts),
  corrects: null
})

/** The rows of `model_calls` in memory, in the order in which they were written; each is made when somebody reads it. */
const kept = (tables: Tables["Service"]) => tables.get("model_calls", (): Array<() => ModelCall> => [])

/** The rows of `model_calls` in memory, in the order in which they were written. */
export const modelCalls = (tables: Tables["Service"]): ReadonlyArray<ModelCall> => kept(tables).map((call) => call())

/** How many there are. */
export const countOf = (tables: Tables["Service"]): number => kept(tables).length

/**
 * Adds a row with how much more an attempt cost and used than the ledger says, on the word of its provider. `at` is in milliseconds since
 * 1970.
 */
export const addCorrection = (
  tables: Tables["Service"],
  of: ModelCall,
  more: { readonly id: string; readonly cost: Money.Money; readonly usage: Required<Usage>; readonly at: number }
): void => {
  kept(tables).push(() => ({ ...of, ...more, source: "reported", error: null, tools: [], corrects: of.id }))
}

/** The ledger of attempts: one row of `model_calls` for each attempt that has ended, however it ended. */
export const projection: Projection = {
  name: "calls",
  order: 10,
  rows: ({ steps }, index) => {
    const rows: Array<Row> = []
    for (const step of steps) {
      const ended = endedOf(step)
      if (ended !== undefined) rows.push(cellsOf(ended, index))
    }
    return rows
  },
  keep: ({ steps }, tables) => {
    const calls = kept(tables)
    for (const step of steps) {
      const ended = endedOf(step)
      if (ended !== undefined) calls.push(() => callOf(ended))
    }
  }
}
