import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { fold, type Logged, type RunId, RunNotFound, type RunState, type StorageFailed } from "../Run.ts"
import type { Reads, RunFilter, RunRow } from "./Store.ts"
import type { Watch, Watchers } from "./Watch.ts"

/** What is read from the store at a time. */
const size = { events: 500, bytes: 4 * 1024 * 1024 }

/** What can be read of runs. */
export interface Reading {
  /** All events of a run after a sequence number, in order. */
  readonly read: (run: RunId, after?: number) => Stream.Stream<Logged, StorageFailed>
  /** The run, folded. */
  readonly state: (run: RunId) => Effect.Effect<RunState, RunNotFound | StorageFailed>
  /**
   * The events of a run after a sequence number as they come, each once and in order, until the run is over; between
   * them, where the run is performed in this process, what is live, from the beginning of the answer under way. `first` is
   * done once somebody listens, so that nothing live of what it begins is missed.
   */
  readonly watch: Watch
  readonly find: (run: RunId) => Effect.Effect<RunRow, RunNotFound | StorageFailed>
  readonly list: (filter: RunFilter) => Effect.Effect<ReadonlyArray<RunRow>, StorageFailed>
}

// Made once: a reading is made for every request of an organisation.
const findIn = Effect.fnUntraced(function*(reads: Reads, run: RunId) {
  const row = yield* reads.find(run)
  return Option.isSome(row) ? row.value : yield* new RunNotFound({ run })
})

const stateOf = Effect.fn("RunLog.state")(function*(run: RunId, events: Stream.Stream<Logged, StorageFailed>) {
  let folded: RunState | undefined
  yield* Stream.runForEach(events, (logged) => Effect.sync(() => folded = fold(folded, logged)))
  return folded ?? (yield* new RunNotFound({ run }))
})

const listIn = Effect.fn("RunLog.list")((reads: Reads, filter: RunFilter) => reads.list(filter))

const pageOf = Effect.fnUntraced(function*(reads: Reads, run: RunId, cursor: number) {
  const { events, isLast } = yield* reads.read(run, cursor, size)
  const last = events.at(-1)
  return [events, isLast || last === undefined ? Option.none<number>() : Option.some(last.seq)] as const
})

/** Reads runs from a store, and what is live from this process. */
export const makeReading = (reads: Reads, watchOf: Watchers): Reading => {
  const read = (run: RunId, after = 0) => Stream.paginate(after, (cursor: number) => pageOf(reads, run, cursor))
  const find = (run: RunId) => findIn(reads, run)
  return { read, state: (run) => stateOf(run, read(run)), watch: watchOf(reads.read, find), find, list: (filter) => listIn(reads, filter) }
}
