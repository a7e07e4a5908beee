import type { Logged, RunId } from "../Run.ts"

/** A piece of the answer under way. */
export interface Delta {
  readonly _tag: "Delta"
  readonly turn: number
  readonly kind: "text" | "reasoning"
  readonly text: string
}

/** The answer under way as far as it has come, when it is asked for. */
export type Flight = () => ReadonlyArray<Delta>

/** Something that happens in a run and is not kept: seen by watchers in the owner's process, best effort. */
export type Live =
  | Delta
  /** The answer under way failed and is asked for again: its deltas so far do not count. */
  | { readonly _tag: "Reset"; readonly turn: number }
  | { readonly _tag: "Progress"; readonly call: string; readonly tool: string; readonly message: string }

/** What a listener hears: events after they were committed, and live news, in the order in which they happened. */
export type News = { readonly _tag: "Events"; readonly events: ReadonlyArray<Logged> } | Live

/** Tells listeners in this process what happens in a run. Nobody listening costs nothing. */
export interface Hub {
  readonly publish: (run: RunId, news: News) => void
  /** Calls back with the news of a run until the returned function is called. */
  readonly listen: (run: RunId, listener: (news: News) => void) => () => void
  readonly isHeard: (run: RunId) => boolean
  /** Says where the answer under way can be asked for, or that there is none any more. */
  readonly fly: (run: RunId, flight: Flight | undefined) => void
  /** The answer under way as far as it has come. */
  readonly flight: (run: RunId) => ReadonlyArray<Delta>
}

/** A hub without listeners. */
export const makeHub = (): Hub => {
  const listeners = new Map<RunId, Set<(news: News) => void>>()
  const flights = new Map<RunId, Flight>()
  return {
    fly: (run, flight) => {
      if (flight === undefined) flights.delete(run)
      else flights.set(run, flight)
    },
    flight: (run) => flights.get(run)?.() ?? [],
    isHeard: (run) => listeners.has(run),
    publish: (run, news) => {
      const set = listeners.get(run)
      if (set !== undefined) { for (const listener of set) listener(news) }
    },
    listen: (run, listener) => {
      const set = listeners.get(run) ?? new Set()
      listeners.set(run, set.add(listener))
      return () => {
        set.delete(listener)
        if (set.size === 0) listeners.delete(run)
      }
    }
  }
}
