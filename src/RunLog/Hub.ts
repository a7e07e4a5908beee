import type { Logged, RunId } from "../Run.ts"

/** Something that happens in a run and is not kept: seen by watchers in the owner's process, best effort. */
export type Live =
  /** A piece of the answer under way. */
  | { readonly _tag: "Delta"; readonly turn: number; readonly kind: "text" | "reasoning"; readonly text: string }
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
}

/** A hub without listeners. */
export const makeHub = (): Hub => {
  const listeners = new Map<RunId, Set<(news: News) => void>>()
  return {
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
