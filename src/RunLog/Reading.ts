import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { fold, isOver, type Logged, type RunId, RunNotFound, type RunState, type StorageFailed } from "../Run.ts"
import type { Delta, Hub, Live, News } from "./Hub.ts"
import type { Reads, RunFilter, RunRow } from "./Store.ts"

/** Events read from the store at a time. */
const page = 500

const isEnd = (logged: Logged): boolean =>
  logged.event._tag === "RunCompleted" || logged.event._tag === "RunFailed" || logged.event._tag === "RunCancelled"

/** How often a watcher looks for events that another process has written. */
const pollInterval = "1 second"

/** Follows a run; see {@link Reading}. */
export type Watch = <E = never>(
  run: RunId,
  after?: number,
  first?: Effect.Effect<unknown, E>
) => Stream.Stream<Logged | Live, E | StorageFailed | RunNotFound>

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
  const events = yield* reads.read(run, cursor, page)
  const last = events.at(-1)
  return [events, events.length < page || last === undefined ? Option.none<number>() : Option.some(last.seq)] as const
})

/** Reads runs from a store, and what is live from this process. */
export const makeReading = (reads: Reads, hub: Hub): Reading => {
  const read = (run: RunId, after = 0) => Stream.paginate(after, (cursor: number) => pageOf(reads, run, cursor))

  const find = (run: RunId) => findIn(reads, run)

  /**
   * Listens before it reads, so that nothing falls between. A reader that is slower than the run loses what the
   * queue cannot hold, and reads the events among it from the store instead.
   */
  const watch = <E = never>(
    run: RunId,
    after = 0,
    first?: Effect.Effect<unknown, E>
  ): Stream.Stream<Logged | Live, E | StorageFailed | RunNotFound> =>
    Stream.unwrap(Effect.gen(function*() {
      const queue = yield* Queue.sliding<News>(1024)
      let flight: ReadonlyArray<Delta> = []
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          flight = hub.flight(run)
          return hub.listen(run, (news) => void Queue.offerUnsafe(queue, news))
        }),
        (stop) => Effect.sync(stop)
      )
      if (first !== undefined) yield* first
      yield* find(run)
      let cursor = after
      let ended = false
      let answered = 0
      /** True for a piece of an answer that the events have already brought whole. */
      const isLate = (live: Live) => live._tag !== "Progress" && live.turn <= answered
      const advance = (events: ReadonlyArray<Logged>) => {
        const fresh = events.filter((logged) => logged.seq > cursor)
        const last = fresh.at(-1)
        for (const { event } of fresh) if (event._tag === "TurnCompleted") answered = event.turn
        if (last !== undefined) {
          cursor = last.seq
          ended = isEnd(last)
        }
        return fresh
      }
      const stored = Effect.suspend(() => Stream.runCollect(read(run, cursor)))
      const goOn = Effect.fnUntraced(function*(events: ReadonlyArray<Logged>) {
        const fresh = advance(events)
        if (fresh.length === 0) {
          const row = yield* find(run)
          ended = isOver(row.status) && row.seq <= cursor
        }
        return fresh
      })
      const catchUp = Effect.flatMap(stored, goOn)
      const hear = (news: ReadonlyArray<News>) =>
        Effect.gen(function*() {
          const heard: Array<Logged | Live> = []
          for (const item of news) {
            if (item._tag !== "Events") {
              if (!isLate(item)) heard.push(item)
            } else if ((item.events[0]?.seq ?? 0) > cursor + 1) {
              heard.push(...(yield* catchUp))
            } else {
              heard.push(...advance(item.events))
            }
          }
          return heard
        })
      // Of a run that began while somebody listened everything has been heard.
      return Stream.paginate(first === undefined, Effect.fnUntraced(function*(backlog: boolean) {
        if (backlog) return [[...(yield* catchUp), ...flight.filter((delta) => !isLate(delta))], ended ? Option.none() : Option.some(false)] as const
        const news = yield* Effect.timeoutOption(Queue.takeAll(queue), pollInterval)
        // What came in the last moment, or while the store was asked, tells the same events, with what is live between them.
        let late = Option.isSome(news) ? news.value : yield* Queue.clear(queue)
        let found: ReadonlyArray<Logged> = []
        if (late.length === 0) {
          found = yield* stored
          late = yield* Queue.clear(queue)
        }
        const items: ReadonlyArray<Logged | Live> = late.length > 0 ? yield* hear(late) : yield* goOn(found)
        return [items, ended ? Option.none() : Option.some(false)] as const
      }))
    }))

  return { read, state: (run) => stateOf(run, read(run)), watch, find, list: (filter) => listIn(reads, filter) }
}
