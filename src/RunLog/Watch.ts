import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { isOver, type Logged, type RunId, type RunNotFound, type StorageFailed } from "../Run.ts"
import type { Hub, Live } from "./Hub.ts"
import { makeMailbox } from "./Mailbox.ts"
import type { Reads, RunRow, Store } from "./Store.ts"

/** Follows a run; see `Reading`. `isFound` says that whoever reads has just found it and `after` in it, so that neither need be looked for. */
export type Watch = <E = never>(
  run: RunId,
  after?: number,
  first?: Effect.Effect<unknown, E>,
  isFound?: boolean
) => Stream.Stream<Logged | Live, E | StorageFailed | RunNotFound>

/** How to follow runs as somebody reads them. */
export type Watchers = (read: Reads["read"], find: (run: RunId) => Effect.Effect<RunRow, RunNotFound | StorageFailed>) => Watch

/** What a watcher reads from the store at a time, and holds until it is taken. */
const size = { events: 100, bytes: 256 * 1024 }

/** How often it is looked how far the logs of all watched runs have come, because another process may write them. */
const pollInterval = "1 second"

const isEnd = ({ event }: Logged): boolean =>
  event._tag === "RunCompleted" || event._tag === "RunFailed" || event._tag === "RunCancelled"

/**
 * Watchers over a store and what happens in this process. Each listens before it reads, so that nothing falls between, and is told in
 * one question for all of them how far their logs have come.
 */
export const makeWatchers = Effect.fnUntraced(function*(store: Store["Service"], hub: Hub) {
  const watched = new Map<RunId, Set<(seq: number | null) => void>>()
  const listen = (run: RunId, look: (seq: number | null) => void) => {
    const set = watched.get(run) ?? new Set()
    watched.set(run, set.add(look))
    return () => {
      set.delete(look)
      if (set.size === 0) watched.delete(run)
    }
  }
  const tell = (seqOf: (run: RunId) => number | null) => {
    for (const [run, looks] of watched) for (const look of looks) look(seqOf(run))
  }
  const poll = Effect.suspend(() => {
    const runs = [...watched.keys()]
    if (runs.length === 0) return Effect.void
    return Effect.match(store.heads(runs), {
      onFailure: () => tell(() => null),
      // A run that is gone is for its watcher to find out.
      onSuccess: (heads) => tell((run) => heads.get(run) ?? (runs.includes(run) ? null : -1))
    })
  })
  yield* Effect.forkScoped(Effect.repeat(poll, Schedule.spaced(pollInterval)))

  const watchers: Watchers = (read, find) => <E = never>(run: RunId, after = 0, first?: Effect.Effect<unknown, E>, isFound = false) =>
    Stream.unwrap(Effect.gen(function*() {
      const mailbox = makeMailbox(0)
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          // What has been said of the answer under way, and then what comes: nothing between.
          for (const delta of hub.flight(run)) mailbox.put(delta)
          return [hub.listen(run, mailbox.put), listen(run, mailbox.look)]
        }),
        (stops) => Effect.sync(() => stops.forEach((stop) => stop()))
      )
      if (first !== undefined) yield* first
      // Who waits for what comes much later is told all the same when the run ends before.
      mailbox.reached(isFound ? after : Math.min(after, (yield* find(run)).seq))
      let cursor = after
      let ended = false
      /** The last turn of which the events have brought the whole answer. */
      let answered = 0
      /** The turn of which pieces were told. */
      let told = 0
      // Of a run that began while somebody listened everything has been heard.
      let isBehind = first === undefined
      let isStale = false

      const advance = (logged: Logged): boolean => {
        if (logged.seq <= cursor) return false
        cursor = logged.seq
        ended = isEnd(logged)
        if (logged.event._tag === "TurnCompleted") answered = logged.event.turn
        return true
      }
      /** What the store has more, a page at a time; after the last one nobody is behind. */
      const catchUp = Effect.gen(function*(): Effect.fn.Return<ReadonlyArray<Logged | Live>, RunNotFound | StorageFailed> {
        const page = yield* read(run, cursor, size)
        const events = page.events.filter(advance)
        mailbox.reached(page.events.at(-1)?.seq ?? 0)
        if (!page.isLast) return events
        isBehind = false
        if (events.length === 0) {
          const row = yield* find(run)
          ended = isOver(row.status) && row.seq <= cursor
        }
        return events
      })
      /** Pieces of an answer that the events have not brought whole. */
      const isDue = (live: Live) => live._tag === "Progress" || live.turn > answered
      /** The answer under way as far as it has come, in place of what was told of it. */
      const flight = () => {
        const due = hub.flight(run).filter(isDue)
        const [piece] = due
        return piece !== undefined && piece.turn === told ? [{ _tag: "Reset", turn: told } as const, ...due] : due
      }
      const hear = (): ReadonlyArray<Logged | Live> => {
        const mail = mailbox.take()
        isStale ||= mail.isStale
        const heard: Array<Logged | Live> = []
        /** True where the run may be over before what is waited for: the store knows. */
        let isOverBefore = false
        for (const item of mail.items) {
          if (!("event" in item)) {
            if (isDue(item) && !(isStale && item._tag === "Delta")) heard.push(item)
          } else if (item.seq > cursor + 1) {
            isBehind = true
            isStale = true
            return heard
          } else if (advance(item)) {
            heard.push(item)
          } else {
            isOverBefore ||= isEnd(item)
          }
        }
        isBehind = mail.isBehind || isOverBefore
        if (isStale && !isBehind) {
          heard.push(...flight())
          isStale = false
        }
        for (const item of heard) if (!("event" in item) && item._tag === "Delta") told = item.turn
        return heard
      }
      return Stream.paginate(undefined, Effect.fnUntraced(function*() {
        for (;;) {
          if (!isBehind && !isStale) yield* mailbox.wait
          const items = isBehind ? yield* catchUp : hear()
          if (items.length > 0 || ended) return [items, ended ? Option.none() : Option.some(undefined)] as const
        }
      }))
    }))
  return watchers
})
