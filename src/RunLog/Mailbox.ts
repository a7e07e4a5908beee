import * as Latch from "effect/Latch"
import type { Logged } from "../Run.ts"
import type { Delta, Live, News } from "./Hub.ts"
import { weigh } from "./Page.ts"

/** What has come for a watcher since it last looked, in order. */
export interface Mail {
  readonly items: ReadonlyArray<Logged | Live>
  /** True where events did not fit: they are to be read from the store. */
  readonly isBehind: boolean
  /** True where pieces of the answer under way did not fit: it is to be asked for anew. */
  readonly isStale: boolean
}

/** Characters of live pieces that are kept for a watcher, and of events; beyond that it reads again what it missed. */
const most = { live: 256 * 1024, events: 1024 * 1024 } as const

/** Events that are kept for a watcher at most. */
const mostEvents = 256

const isMore = (last: Logged | Live | undefined, live: Live): last is Delta =>
  last !== undefined && "_tag" in last && last._tag === "Delta" && live._tag === "Delta" && last.turn === live.turn && last.kind === live.kind

/**
 * What waits for one watcher, within bounds however slow it is: pieces of one text become one, then pieces are dropped, then events,
 * which are in the store.
 */
export const makeMailbox = (after: number) => {
  const latch = Latch.makeUnsafe(false)
  let items: Array<Logged | Live> = []
  let weight = { live: 0, events: 0 }
  let events = 0
  let isBehind = false
  let isStale = false
  let heard = after

  const dropLive = () => {
    items = items.filter((item) => "event" in item)
    weight.live = 0
    isStale = true
  }
  const dropAll = () => {
    items = []
    weight = { live: 0, events: 0 }
    events = 0
    isBehind = true
    isStale = true
  }
  const putLive = (live: Live) => {
    // It is asked for as a whole anyway.
    if (isStale && live._tag === "Delta") return
    const last = items.at(-1)
    if (isMore(last, live) && live._tag === "Delta") items[items.length - 1] = { ...last, text: last.text + live.text }
    else items.push(live)
    weight.live += live._tag === "Delta" ? live.text.length : 64
    if (weight.live > most.live) dropLive()
  }
  const putEvents = (logged: ReadonlyArray<Logged>) => {
    for (const one of logged) {
      heard = Math.max(heard, one.seq)
      if (isBehind) continue
      items.push(one)
      events++
      weight.events += weigh(one.event)
      if (events > mostEvents || weight.events > most.events) dropAll()
    }
  }

  return {
    put: (news: News): void => {
      if (news._tag === "Events") putEvents(news.events)
      else putLive(news)
      latch.openUnsafe()
    },
    /** Says how far the log has come, as the store tells; null where it does not answer, so that the watcher finds out itself. */
    look: (seq: number | null): void => {
      if (seq !== null && seq <= heard) return
      isBehind = true
      latch.openUnsafe()
    },
    /** Done once there is something. */
    wait: latch.await,
    /** What there is. */
    take: (): Mail => {
      latch.closeUnsafe()
      const mail = { items, isBehind, isStale }
      items = []
      weight = { live: 0, events: 0 }
      events = 0
      isBehind = false
      isStale = false
      return mail
    },
    /** Takes note that the watcher has read so far from the store. */
    reached: (seq: number): void => {
      heard = Math.max(heard, seq)
    }
  }
}
