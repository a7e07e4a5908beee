import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { type Bill, CostSource, type Logged, type RunState, Transcript, type Usage } from "../Run.ts"
import type { Json, Projection, Row, Step, Tables } from "../RunLog.ts"

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

const toolsOf = (parts: Ended["parts"]): Json => {
  const names = Transcript.toolCallsOf(parts).map(({ name }) => name.slice(0, maxName).toWellFormed())
  return names.length === 0 ? null : names
}

/** The row as `conductor_project_calls` takes it: the columns of `model_calls` in their order. */
const rowOf = ({ attempt, bill, error, finish, id, logged, parts, prices, started, turn }: Ended, append: number): Row => {
  const { usage } = bill
  const colon = bill.model.indexOf(":")
  return {
    append,
    r: [
      id, started.org, logged.run, started.session, started.agent, turn, attempt, bill.model.slice(0, colon),
      bill.model.slice(colon + 1), usage.uncached, usage.cacheRead, usage.cacheWrite, usage.cacheWriteHour, usage.output,
      usage.reasoning, Money.format(bill.cost), bill.source, prices, bill.latencyMs, bill.firstTokenMs,
      finish, bill.requestId, error, logged.at, bill.host ?? null, bill.servedModel ?? null, bill.nativeFinish ?? null,
      usage.webSearches ?? 0, toolsOf(parts), null
    ]
  }
}

/** The rows in memory, made when somebody reads them. */
export const kept = (tables: Tables["Service"]) => tables.get("model_calls", (): Array<() => Row> => [])

const Text = Schema.NullOr(Schema.String)

const decode = Schema.decodeUnknownSync(Schema.Struct({
  r: Schema.Tuple([
    Schema.String, Schema.String, Schema.String, Schema.String, Schema.String, Schema.Int, Schema.Int, Schema.String, Schema.String,
    Schema.Int, Schema.Int, Schema.Int, Schema.Int, Schema.Int, Schema.Int, Money.FromString, CostSource, Text, Schema.Int,
    Schema.NullOr(Schema.Int), Text, Text, Text, Schema.Int, Text, Text, Text, Schema.Int, Schema.NullOr(Schema.Array(Schema.String)), Text
  ])
}))

/** A row of `model_calls`, as far as sums are made of it. A correction's cost and usage are differences. */
export interface ModelCall {
  readonly id: string
  readonly org: string
  readonly run: string
  readonly session: string
  readonly agent: string
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

const callOf = (row: Row): ModelCall => {
  const { r } = decode(row)
  return {
    id: r[0],
    org: r[1],
    run: r[2],
    session: r[3],
    agent: r[4],
    model: `${r[7]}:${r[8]}`,
    usage: { uncached: r[9], cacheRead: r[10], cacheWrite: r[11], cacheWriteHour: r[12], output: r[13], reasoning: r[14], webSearches: r[27] },
    cost: r[15],
    source: r[16],
    error: r[22],
    at: r[23],
    tools: r[28] ?? [],
    corrects: r[29]
  }
}

/** The rows of `model_calls` in memory, in the order in which they were written. */
export const modelCalls = (tables: Tables["Service"]): ReadonlyArray<ModelCall> => kept(tables).map((row) => callOf(row()))

/**
 * Adds a row with how much more an attempt cost and used than the ledger says, on the word of its provider. `at` is in milliseconds since
 * 1970.
 */
export const addCorrection = (
  tables: Tables["Service"],
  of: ModelCall,
  more: { readonly id: string; readonly cost: Money.Money; readonly usage: Required<Usage>; readonly requestId: string | undefined; readonly at: number }
): void => {
  const { usage } = more
  const { r } = decode(kept(tables).map((row) => row()).find(({ r }) => Array.isArray(r) && r[0] === of.id))
  kept(tables).push(() => ({
    append: 0,
    r: [
      more.id, ...r.slice(1, 9), usage.uncached, usage.cacheRead, usage.cacheWrite, usage.cacheWriteHour, usage.output, usage.reasoning,
      Money.format(more.cost), "reported", r[17], 0, null, null, more.requestId ?? r[21], null, more.at, r[24], r[25], null, usage.webSearches,
      null, of.id
    ] as ReadonlyArray<Json> // a slice of a tuple forgets that its members are JSON
  }))
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
    const calls = kept(tables)
    for (const row of rows) calls.push(() => row)
  },
  keep: ({ steps }, tables) => {
    const calls = kept(tables)
    for (const step of steps) {
      const ended = endedOf(step)
      if (ended !== undefined) calls.push(() => rowOf(ended, 0))
    }
  }
}
