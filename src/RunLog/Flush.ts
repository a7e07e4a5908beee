import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { answered, bigIntegers, booleans, integers, problemOf, texts } from "../Database.ts"
import * as Money from "../Money.ts"
import { BudgetWarning, promptTokens, RunConflict, type RunEvent, type RunnerId, StorageFailed } from "../Run.ts"
import { type Append, type AppendError, type Gate, granted, type Projection } from "./Append.ts"
import { outcomesOf } from "./Answer.ts"
import { decodeEvent, payloadOf } from "./Payload.ts"
import type { BadBatch, Outcome } from "./Store.ts"
import { makeTransaction, type Transaction } from "./Transaction.ts"

/** How long a flush is tried again while the database cannot be reached. */
export const FlushPatience = Context.Reference<Duration.Duration>("conductor-ai/RunLog/FlushPatience", {
  defaultValue: () => Duration.seconds(10)
})

/** What a flush says where not everything was appended as it was sent; numbers are places in the batch. */
const Answer = Schema.Struct({
  fenced: Schema.Array(Schema.Int),
  refused: Schema.Array(Schema.Struct({ append: Schema.Int, refuse: Schema.Record(Schema.String, Schema.String) })),
  patched: Schema.Array(Schema.Struct({
    append: Schema.Int,
    patch: Schema.Struct({
      maxOutput: Schema.Int,
      reserved: Money.FromString,
      scopes: Schema.Array(Schema.String),
      warnings: Schema.optionalKey(Schema.Array(BudgetWarning))
    })
  }))
})
const decodeAnswer = Schema.decodeUnknownSync(Schema.NullOr(Answer))

const outcomes = (gates: ReadonlyArray<Gate>, batch: ReadonlyArray<Append>, json: unknown): ReadonlyArray<Outcome> => {
  const answer = decodeAnswer(json)
  if (answer === null) return outcomesOf(gates, batch, [], [])
  const grants = answer.patched.map(({ append, patch }) => ({ append, grant: patch }))
  return outcomesOf(gates, batch, answer.fenced, [...answer.refused, ...grants])
}

/** What the attempts of an append that have ended add up to. */
const totalsOf = ({ steps }: Append) => {
  let turns = 0
  let cost = Money.zero
  let unpriced = false
  let input = 0
  let output = 0
  for (const { logged: { event } } of steps) {
    if (event._tag === "TurnCompleted") turns++
    if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed" && event._tag !== "ContextCompacted") continue
    const { usage } = event.bill
    cost = Money.add(cost, event.bill.cost)
    unpriced ||= event.bill.source === "unpriced"
    input += promptTokens(usage)
    output += usage.output
  }
  return { turns, cost: Money.format(cost), unpriced, input: BigInt(input), output: BigInt(output) }
}

/** The rows of gates or projections, one part after the other, as the flush takes them. */
interface Parts {
  readonly names: Array<string>
  readonly widths: Array<number>
  readonly sizes: Array<number>
  readonly cells: Array<string | null>
}

/** Adds what one of them has to do; nothing where that is nothing. */
const addPart = ({ cells, names, sizes, widths }: Parts, name: string, batch: ReadonlyArray<Append>, rowsOf: Projection["rows"]): void => {
  const before = cells.length
  let width = 0
  batch.forEach((append, index) => {
    for (const row of rowsOf(append, index)) {
      if (width !== 0 && row.length !== width) throw new Error(`The rows for conductor_${name} differ in their width`)
      width = row.length
      for (const cell of row) cells.push(cell)
    }
  })
  if (width === 0) return
  names.push(name)
  widths.push(width)
  sizes.push(cells.length - before)
}

/** What the table of runs needs for a run that begins. */
const openOf = ({ epoch, run, steps: [{ logged: { event } }] }: Append) =>
  event._tag !== "RunStarted" ? [] : [{
    run,
    org: event.org,
    epoch,
    session: event.session,
    agent: event.agent,
    definition: event.definition,
    model: event.model
  }]

/** Errors of the data in a batch, as opposed to errors of the connection or the server. */
const isBad = (error: SqlError): boolean => {
  switch (error.reason._tag) {
    case "UniqueViolation":
    case "ConstraintError":
      return true
    case "UnknownError":
      // Data that does not fit (22), and data that is too large for what holds it (54).
      return /^(22|54)/.test(sqlState(error) ?? "")
    default:
      return false
  }
}

const lastOf = (append: Append) => append.steps.at(-1) ?? append.steps[0]

/** The append with its last event as the log has it, which knows what was granted. */
const asWritten = (append: Append, event: RunEvent): Outcome => ({
  _tag: "Appended",
  append: event._tag === "TurnStarted" ? granted(append, event) : append
})

const sqlState = (error: SqlError): string | undefined => {
  const cause: unknown = error.reason.cause
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined
}

/** Errors after which the same may be tried again. */
export const isTransient = (error: SqlError): boolean =>
  error.isRetryable || error.reason._tag === "ConnectionError" || /^(53|57|08)/.test(sqlState(error) ?? "")

/** An error of a statement as that of the operation that it is of. */
export const storageFailed = (operation: string) => (error: SqlError) =>
  new StorageFailed({ operation, problem: problemOf(error), cause: error })

const badBatch = (error: SqlError, batch: ReadonlyArray<Append>): BadBatch => {
  const [append] = batch
  const conflict: AppendError = error.reason._tag === "UniqueViolation" && append !== undefined &&
      error.reason.constraint === "runs_one_active_in_session"
    ? new RunConflict({
      run: append.run,
      problem: `the session "${append.steps[0].after.session}" already has an unfinished run; send it a message, cancel it, or use another session.`
    })
    : new StorageFailed({ operation: "append", problem: problemOf(error), refused: true, cause: error })
  return { _tag: "BadBatch", error: conflict }
}

/** What writes appends to Postgres. */
export interface Options {
  readonly sql: SqlClient
  readonly runner: RunnerId
  readonly gates: ReadonlyArray<Gate>
  readonly projections: ReadonlyArray<Projection>
  readonly patience: Duration.Duration
}

/** Writes appends through the functions of `sql/013_cells.sql`: many of different runs in a transaction of their own, or one with a tool's SQL. */
export const makeFlush = ({ gates, patience, projections, runner, sql }: Options): {
  readonly flush: (batch: ReadonlyArray<Append>) => Effect.Effect<ReadonlyArray<Outcome>, BadBatch | StorageFailed>
  readonly transaction: Transaction
} => {
  const ordered = projections.toSorted((a, b) => a.order - b.order)

  const call = Effect.fnUntraced(function*(batch: ReadonlyArray<Append>) {
    const at: Array<number> = []
    const seq: Array<number> = []
    const index: Array<number> = []
    const tag: Array<string> = []
    const payload: Array<string> = []
    batch.forEach((append, i) => {
      for (const { logged } of append.steps) {
        index.push(i)
        seq.push(logged.seq)
        at.push(logged.at)
        tag.push(logged.event._tag)
        payload.push(payloadOf(logged.event))
      }
    })
    const parts: Parts = { names: [], widths: [], sizes: [], cells: [] }
    for (const { ask, name } of gates) addPart(parts, `gate_${name}`, batch, ask)
    const judged = parts.names.length
    for (const { name, rows } of ordered) addPart(parts, `project_${name}`, batch, rows)
    const states = batch.map((append) => lastOf(append).after)
    const totals = batch.map(totalsOf)
    const open = batch.flatMap(openOf)
    const [result] = yield* sql.unsafe<{ readonly answer: unknown }>(
      `SELECT conductor_flush($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25) AS answer`,
      [
        runner,
        texts(batch.map((append) => append.run)),
        texts(states.map((state) => state.org)),
        integers(batch.map((append) => append.epoch)),
        integers(batch.map((append) => append.steps[0].logged.seq)),
        integers(batch.map((append) => append.steps.length)),
        texts(states.map((state) => state.status)),
        texts(states.map((state) => state.failure?._tag ?? null)),
        texts(states.map((state) => state.status === "parked" ? state.parked : null)),
        integers(totals.map((total) => total.turns)),
        texts(totals.map((total) => total.cost)),
        booleans(totals.map((total) => total.unpriced)),
        bigIntegers(totals.map((total) => total.input)),
        bigIntegers(totals.map((total) => total.output)),
        open.length === 0 ? null : JSON.stringify(open),
        integers(index),
        integers(seq),
        bigIntegers(at.map(BigInt)),
        texts(tag),
        texts(payload),
        judged,
        texts(parts.names),
        integers(parts.widths),
        integers(parts.sizes),
        texts(parts.cells)
      ]
    )
    return result?.answer ?? null
  })

  /** Those of the appends that are in the log: nobody else writes at a place of a run in an epoch of this process. */
  const written = Effect.fnUntraced(function*(batch: ReadonlyArray<Append>) {
    const rows = yield* sql<{ readonly run_id: string; readonly epoch: number; readonly payload: string }>`
      SELECT e.run_id, e.epoch, e.payload
      FROM unnest(${batch.map((append) => append.run)}::text[], ${batch.map((append) => lastOf(append).logged.seq)}::int[]) AS w (run, seq)
      JOIN run_events e ON e.run_id = w.run AND e.seq = w.seq`
    const found = new Map(rows.map((event) => [`${event.run_id}/${event.epoch}`, event.payload]))
    const outcomes = new Map<Append, Outcome>()
    for (const append of batch) {
      const payload = found.get(`${append.run}/${append.epoch}`)
      if (payload !== undefined) outcomes.set(append, asWritten(append, decodeEvent(JSON.parse(payload))))
    }
    return outcomes
  })

  /**
   * Sends a batch, again while the database cannot be reached. The answer to a COMMIT can be lost, and the commit may
   * even be under way while the batch is sent again: so before and after a repetition the log tells what was written.
   */
  const flush = (batch: ReadonlyArray<Append>): Effect.Effect<ReadonlyArray<Outcome>, BadBatch | StorageFailed> =>
    Effect.suspend(() => {
      const known = new Map<Append, Outcome>()
      const left = () => batch.filter((append) => known.get(append)?._tag !== "Appended")
      const learn = (outcomes: ReadonlyMap<Append, Outcome>) => outcomes.forEach((outcome, append) => known.set(append, outcome))
      let again = false
      const send = Effect.gen(function*() {
        if (again) learn(yield* answered(patience, written(left())))
        const appends = left()
        if (appends.length === 0) return
        const repeated = again
        again = true
        const answers = outcomes(gates, appends, yield* answered(patience, call(appends)))
        learn(new Map(appends.flatMap((append, i) => answers[i] === undefined ? [] : [[append, answers[i]] as const])))
        if (repeated && left().length > 0) learn(yield* answered(patience, written(left())))
      })
      return send.pipe(
        Effect.retry({
          while: isTransient,
          schedule: Schedule.upTo(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]), {
            duration: patience
          })
        }),
        Effect.map(() => batch.flatMap((append) => known.get(append) ?? [])),
        Effect.mapError((error) => isBad(error) ? badBatch(error, batch) : storageFailed("append")(error))
      )
    })

  const transaction = makeTransaction({
    sql,
    patience,
    isTransient,
    write: (append) =>
      Effect.map(answered(patience, call([append])), (answer) => outcomes(gates, [append], answer)[0] ?? { _tag: "Appended" as const, append }),
    written: (append) =>
      Effect.map(answered(patience, written([append])), (found) => {
        const outcome = found.get(append)
        return outcome?._tag === "Appended" ? Option.some(outcome.append) : Option.none()
      })
  })

  return { flush, transaction }
}
