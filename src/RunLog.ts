import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { OrgId, RunId } from "./Run.ts"
import type { Append, AppendError, Gate, Projection } from "./RunLog/Append.ts"
import type { Pending } from "./RunLog/Group.ts"
import { type Flight, type Live, makeHub } from "./RunLog/Hub.ts"
import { layerMemory } from "./RunLog/Memory.ts"
import { layerSql } from "./RunLog/Sql.ts"
import { makeReading, type Reading } from "./RunLog/Reading.ts"
import { Store } from "./RunLog/Store.ts"
import { Tables } from "./RunLog/Tables.ts"
import type { Transaction } from "./RunLog/Transaction.ts"
import { makeWatchers } from "./RunLog/Watch.ts"
import { makeWriter } from "./RunLog/Writer.ts"

export * from "./RunLog/Append.ts"
export type { Pending } from "./RunLog/Group.ts"
export type { Delta, Flight, Live } from "./RunLog/Hub.ts"
export { LeaseRenewal, LeaseTime } from "./RunLog/Lease.ts"
export { FlushPatience } from "./RunLog/Flush.ts"
export { type Correction, correctRun, rewriteRun } from "./RunLog/Memory.ts"
export type { Reading } from "./RunLog/Reading.ts"
export { BetweenStore, type Reads, type RunFilter, type RunRow, Store } from "./RunLog/Store.ts"
export { Tables } from "./RunLog/Tables.ts"
export type { Transaction } from "./RunLog/Transaction.ts"
export type { Watch } from "./RunLog/Watch.ts"

/** Told of each append of this process once it is written, within the writing: it must be quick and must not fail. */
export const Observer = Context.Reference<(append: Append) => void>("conductor-ai/RunLog/Observer", { defaultValue: () => () => {} })

/** The logs of all runs: appended to in groups, read, and followed. */
export class RunLog extends Context.Service<RunLog, Reading & {
  /** Reads as an organisation: what is another's is not there. On a database it is the database that holds this line. */
  readonly as: (org: OrgId) => Reading
  /** Puts events on their way without waiting; appends of one run keep their order. */
  readonly submit: (append: Append) => Pending
  /** Appends events and waits until they are durable; the append as it was written. */
  readonly append: (append: Append) => Effect.Effect<Append, AppendError>
  /** SQL that commits together with events of a run; nothing where the log is in memory. */
  readonly transaction: Transaction | undefined
  /** Says where watchers can ask for the answer under way, or that there is none any more. */
  readonly fly: (run: RunId, flight: Flight | undefined) => void
  /** Tells watchers in this process what is not kept. */
  readonly announce: (run: RunId, live: Live) => void
  /** True while somebody in this process watches the run. */
  readonly isWatched: (run: RunId) => boolean
}>()("conductor-ai/RunLog") {
  /** The log over any store. */
  static readonly layer = Layer.effect(RunLog, Effect.gen(function*() {
    const store = yield* Store
    const hub = makeHub()
    const observe = yield* Observer
    const submit = yield* makeWriter(store, hub, observe)

    const heard = ({ perform, sql }: Transaction): Transaction => ({
      sql,
      perform: (effect, appendOf, learn) =>
        perform(effect, appendOf, (append) => {
          learn(append)
          observe(append)
          hub.publish(append.run, { _tag: "Events", events: append.steps.map((step) => step.logged) })
        })
    })

    const watchers = yield* makeWatchers(store, hub)

    return RunLog.of({
      submit,
      transaction: store.transaction === undefined ? undefined : heard(store.transaction),
      append: (append) => Effect.suspend(() => Deferred.await(submit(append))),
      ...makeReading(store, watchers),
      as: (org) => makeReading(store.as(org), watchers),
      announce: hub.publish,
      isWatched: hub.isHeard,
      fly: hub.fly
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

