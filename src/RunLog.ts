import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Logged, type RunId, RunNotFound, type RunState, fold, type StorageFailed } from "./Run.ts"
import type { Append, AppendError, Gate, Projection } from "./RunLog/Append.ts"
import { type Flight, type Live, makeHub } from "./RunLog/Hub.ts"
import { layerMemory } from "./RunLog/Memory.ts"
import { layerSql } from "./RunLog/Sql.ts"
import { type RunFilter, type RunRow, Store } from "./RunLog/Store.ts"
import { Tables } from "./RunLog/Tables.ts"
import type { Transaction } from "./RunLog/Transaction.ts"
import { makeWatch, type Watch } from "./RunLog/Watch.ts"
import { makeWriter, type Pending } from "./RunLog/Writer.ts"

export * from "./RunLog/Append.ts"
export type { Delta, Flight, Live } from "./RunLog/Hub.ts"
export { LeaseRenewal, LeaseTime } from "./RunLog/Lease.ts"
export { FlushPatience } from "./RunLog/Flush.ts"
export { type Correction, correctRun } from "./RunLog/Memory.ts"
export { BetweenStore, type RunFilter, type RunRow, Store } from "./RunLog/Store.ts"
export { Tables } from "./RunLog/Tables.ts"
export type { Transaction } from "./RunLog/Transaction.ts"
export type { Watch } from "./RunLog/Watch.ts"
export type { Pending } from "./RunLog/Writer.ts"

/** Events read from the store at a time. */
const page = 500

/** Told of each append of this process once it is written, within the writing: it must be quick and must not fail. */
export const Observer = Context.Reference<(append: Append) => void>("conductor-ai/RunLog/Observer", { defaultValue: () => () => {} })

/** The logs of all runs: appended to in groups, read, and followed. */
export class RunLog extends Context.Service<RunLog, {
  /** Puts events on their way without waiting; appends of one run keep their order. */
  readonly submit: (append: Append) => Pending
  /** Appends events and waits until they are durable; the append as it was written. */
  readonly append: (append: Append) => Effect.Effect<Append, AppendError>
  /** SQL that commits together with events of a run; nothing where the log is in memory. */
  readonly transaction: Transaction | undefined
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
  /** Says where watchers can ask for the answer under way, or that there is none any more. */
  readonly fly: (run: RunId, flight: Flight | undefined) => void
  /** Tells watchers in this process what is not kept. */
  readonly announce: (run: RunId, live: Live) => void
  /** True while somebody in this process watches the run. */
  readonly isWatched: (run: RunId) => boolean
  readonly find: (run: RunId) => Effect.Effect<RunRow, RunNotFound | StorageFailed>
  readonly list: (filter: RunFilter) => Effect.Effect<ReadonlyArray<RunRow>, StorageFailed>
}>()("conductor-ai/RunLog") {
  /** The log over any store. */
  static readonly layer = Layer.effect(RunLog, Effect.gen(function*() {
    const store = yield* Store
    const hub = makeHub()
    const observe = yield* Observer
    const submit = yield* makeWriter(store, hub, observe)

    const read = (run: RunId, after = 0): Stream.Stream<Logged, StorageFailed> =>
      Stream.paginate(after, Effect.fnUntraced(function*(cursor: number) {
        const events = yield* store.read(run, cursor, page)
        const last = events.at(-1)
        return [events, events.length < page || last === undefined ? Option.none() : Option.some(last.seq)] as const
      }))

    const find = Effect.fn("RunLog.find")(function*(run: RunId) {
      const row = yield* store.find(run)
      return Option.isSome(row) ? row.value : yield* new RunNotFound({ run })
    })

    const state = Effect.fn("RunLog.state")(function*(run: RunId) {
      let folded: RunState | undefined
      yield* Stream.runForEach(read(run), (logged) => Effect.sync(() => folded = fold(folded, logged)))
      return folded ?? (yield* new RunNotFound({ run }))
    })

    const watch = yield* makeWatch(store, hub, find)

    const heard = ({ perform, sql }: Transaction): Transaction => ({
      sql,
      perform: (effect, appendOf, learn) =>
        perform(effect, appendOf, (append) => {
          learn(append)
          observe(append)
          hub.publish(append.run, { _tag: "Events", events: append.steps.map((step) => step.logged) })
        })
    })

    return RunLog.of({
      submit,
      transaction: store.transaction === undefined ? undefined : heard(store.transaction),
      append: (append) => Effect.suspend(() => Deferred.await(submit(append))),
      read,
      state,
      watch,
      announce: hub.publish,
      isWatched: hub.isHeard,
      fly: hub.fly,
      find,
      list: Effect.fn("RunLog.list")((filter) => store.list(filter))
    })
  }))

  /** The log in Postgres: needs a `SqlClient` and `SecureRandom`. */
  static readonly layerSql = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
    RunLog.layer.pipe(Layer.provideMerge(layerSql(gates, projections)))

  /** The log in tables of this process, which are there already. */
  static readonly layerTables = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
    RunLog.layer.pipe(Layer.provideMerge(layerMemory(gates, projections)))

  /** The log in process memory. */
  static readonly layerMemory = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
    RunLog.layerTables(gates, projections).pipe(Layer.provideMerge(Tables.layer))
}

