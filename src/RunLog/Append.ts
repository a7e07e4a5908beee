import * as Schema from "effect/Schema"
import type * as Money from "../Money.ts"
import { BudgetExceeded, type BudgetWarning, Fenced, type InboxId, type Logged, RunConflict, type RunId, type RunState, StorageFailed, UnpricedModel } from "../Run.ts"
import type { Tables } from "./Tables.ts"

/** One event with the run before and after it. */
export interface Step {
  readonly logged: Logged
  readonly before: RunState | undefined
  readonly after: RunState
}

/** Events of one run that are written together or not at all, by the owner of that epoch. */
export interface Append {
  readonly run: RunId
  readonly epoch: number
  readonly steps: readonly [Step, ...ReadonlyArray<Step>]
  /** The commands that these events record. */
  readonly consumes: ReadonlyArray<{ readonly id: InboxId; readonly seq: number }>
  /** What the attempt that these events start may cost. */
  readonly reserve?: Reserve
}

/** What an attempt may cost at most, as far as that can be said before it is made. */
export interface Reserve {
  /** The dearest that the input can be. */
  readonly input: Money.Money
  /** The price of a million tokens of output. */
  readonly rate: Money.Money
  /** Output tokens wanted. */
  readonly max: number
  /** The fewest output tokens that are worth a request. */
  readonly min: number
  readonly priced: boolean
}

/** Commands wait in the run's inbox, so it cannot end yet. */
export class CommandsWaiting extends Schema.TaggedError<CommandsWaiting>()("CommandsWaiting", { run: Schema.String }) {
  override get message() {
    return `Run ${this.run} has commands waiting, so it goes on.`
  }
}

/** Why an append was not written; each append has its own outcome. */
export const AppendError = Schema.Union([Fenced, BudgetExceeded, UnpricedModel, RunConflict, CommandsWaiting, StorageFailed])
export type AppendError = typeof AppendError.Type
export const isAppendError = Schema.is(AppendError)

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** A row for a function of the database, as wide as that wants it; its first cell is the number of the append within the batch. */
export type Row = ReadonlyArray<string | null>

/** A number as a cell. */
export const cell = (value: number | null): string | null => value === null ? null : String(value)

/** What a gate says of an append: refused, or admitted with another grant than its last event tells. No verdict admits it as it is. */
export type Verdict =
  | { readonly append: number; readonly refuse: { readonly [key: string]: Json } }
  | { readonly append: number; readonly grant: Grant }

/** What an attempt was granted: its place in the budgets, and how much output they pay for. */
export interface Grant {
  readonly maxOutput: number
  readonly reserved: Money.Money
  readonly scopes: ReadonlyArray<string>
  /** The budgets among them that are nearly used up, where nobody was told yet. */
  readonly warnings?: ReadonlyArray<BudgetWarning>
}

/**
 * Decides within the flush, under lock, whether an append may be written. In SQL the function `conductor_gate_<name>` judges
 * the rows of {@link Gate.ask}; in memory {@link Gate.judge} judges the appends themselves. Both decide alike.
 */
export interface Gate {
  readonly name: string
  /** The question as rows; none where the gate has nothing to say of the append. */
  readonly ask: (append: Append, index: number) => ReadonlyArray<Row>
  /**
   * The verdicts, in the order of the appends, of which `isOut` tells those that are refused already; `at` is the time of the store, in
   * milliseconds since 1970.
   */
  readonly judge: (
    appends: ReadonlyArray<Append>,
    isOut: (index: number) => boolean,
    tables: Tables["Service"],
    at: number
  ) => ReadonlyArray<Verdict>
  /** The error that a refusal stands for; nothing where another gate refused. */
  readonly refusal: (refuse: { readonly [key: string]: Json }, append: Append) => AppendError | undefined
}

/**
 * Rows that follow from events, written in their transaction. In SQL the function `conductor_project_<name>` writes them;
 * in memory {@link Projection.keep} does. Lower `order` first.
 */
export interface Projection {
  readonly name: string
  readonly order: number
  readonly rows: (append: Append, index: number) => ReadonlyArray<Row>
  /** Takes the append itself, so that what hangs on it is made only when somebody reads it. */
  readonly keep: (append: Append, tables: Tables["Service"]) => void
}

/** The steps with the last one replaced. */
export const replaceLast = (steps: Append["steps"], step: Step): Append["steps"] => {
  const [first, ...rest] = steps
  return rest.length === 0 ? [step] : [first, ...rest.slice(0, -1), step]
}

/** The append as it was written, with what its last event, the start of an attempt, was granted. */
export const granted = (append: Append, grant: Grant): Append => {
  const { after, before, logged } = append.steps.at(-1) ?? append.steps[0]
  if (logged.event._tag !== "TurnStarted" || after.attempt === null) return append
  const step: Step = {
    before,
    logged: { ...logged, event: { ...logged.event, ...grant } },
    after: { ...after, maxOutput: grant.maxOutput, attempt: { ...after.attempt, ...grant } }
  }
  return { ...append, steps: replaceLast(append.steps, step) }
}
