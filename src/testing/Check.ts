import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { AuditLog } from "../AuditLog.ts"
import { Budget } from "../Budget.ts"
import * as Money from "../Money.ts"
import {
  type Logged, type RunEvent, type RunId, type RunNotFound, type RunState, type StorageFailed, type ToolOutcome, Transcript
} from "../Run.ts"
import { RunLog } from "../RunLog.ts"

/** The events of a run so far. */
export const events = (run: RunId): Effect.Effect<ReadonlyArray<Logged>, StorageFailed, RunLog> =>
  Effect.flatMap(RunLog, (log) => Stream.runCollect(log.read(run)))

/** The tags of the events of a run so far, for a quick look at what happened in which order. */
export const tags = (run: RunId): Effect.Effect<ReadonlyArray<RunEvent["_tag"]>, StorageFailed, RunLog> =>
  Effect.map(events(run), (all) => all.map((logged) => logged.event._tag))

/** A tool call of a run, with how it ended. */
export interface ToolCall {
  readonly id: string
  readonly name: string
  /** The JSON text that the model wrote. */
  readonly arguments: string
  readonly outcome: ToolOutcome | "unknown" | "open"
  readonly result: string | null
}

/** The tool calls of a run in the order in which the model asked for them. */
export const toolCalls = (run: RunId): Effect.Effect<ReadonlyArray<ToolCall>, StorageFailed, RunLog> =>
  Effect.map(events(run), (all) => {
    const calls = new Map<string, ToolCall>()
    for (const { event } of all) {
      if (event._tag === "TurnCompleted") {
        for (const part of Transcript.toolCallsOf(event.parts)) {
          calls.set(part.id, { id: part.id, name: part.name, arguments: part.arguments, outcome: "open", result: null })
        }
      }
      const known = "call" in event ? calls.get(event.call) : undefined
      if (known === undefined) continue
      if (event._tag === "ToolCompleted") calls.set(known.id, { ...known, outcome: event.outcome, result: event.result })
      if (event._tag === "ToolUnknown") calls.set(known.id, { ...known, outcome: "unknown" })
    }
    return [...calls.values()]
  })

/** A run does not keep what every run must keep. */
export class UnsoundRun extends Schema.TaggedError<UnsoundRun>()("UnsoundRun", {
  run: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `Run ${this.run} is unsound: ${this.problem}`
  }
}

/**
 * Checks what must hold of every run: its sequence has no gap, its conversation is valid, nothing of its budget stays
 * reserved once it is over, its row agrees with its log, and the audit chain of its organisation verifies.
 */
export const check = Effect.fn("testing.check")(function*(run: RunId): Effect.fn.Return<
  RunState,
  UnsoundRun | RunNotFound | StorageFailed,
  RunLog | Budget | AuditLog
> {
  const log = yield* RunLog
  const all = yield* events(run)
  const state = yield* log.state(run)
  const row = yield* log.find(run)
  const unsound = (problem: string) => new UnsoundRun({ run, problem })
  const gap = all.findIndex((logged, index) => logged.seq !== index + 1)
  if (gap !== -1) return yield* unsound(`its sequence has a gap before event ${gap + 1}`)
  const invalid = Transcript.problem(state.messages)
  if (invalid !== undefined) return yield* unsound(`its conversation is not valid: ${invalid}`)
  if (row.seq !== state.seq || row.status !== state.status || row.cost !== state.cost) {
    return yield* unsound(`its row (${row.status}, ${row.seq} events) does not agree with its log (${state.status}, ${state.seq})`)
  }
  const balances = yield* (yield* Budget).list(state.org)
  const held = balances.find((balance) => balance.scope === `run:${run}` && balance.reserved !== 0n)
  if (state.endedAt !== null && held !== undefined) {
    return yield* unsound(`${Money.format(held.reserved)} USD stay reserved in ${held.scope}`)
  }
  if (state.endedAt !== null && state.attempt !== null) return yield* unsound(`its attempt ${state.attempt.id} was never settled`)
  const report = yield* (yield* AuditLog).verify({ org: state.org })
  if (report.broken !== undefined) return yield* unsound(`the audit chain breaks at row ${report.broken.n}`)
  return state
})
