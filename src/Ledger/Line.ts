import * as Money from "../Money.ts"
import type { OrgId, Usage } from "../Run.ts"

/** What costs can be added up by; a day is one of UTC. */
export type By = "org" | "session" | "agent" | "model" | "day"

/** The attempts of an organisation that ended within a time, in milliseconds since 1970: from `since` on, and before `until`. */
export interface Range {
  readonly org: OrgId
  readonly since?: number
  readonly until?: number
}

/** What attempts add up to. A correction counts where the attempt is that it corrects, at that attempt's time. */
export interface Totals {
  /** Attempts, those that failed included. */
  readonly calls: number
  readonly failed: number
  /** Attempts without a known price: what they cost is not in `cost`. */
  readonly unpriced: number
  /** Exactly `reported + priced + bound`. */
  readonly cost: Money.Money
  /** What providers themselves say that attempts cost. */
  readonly reported: Money.Money
  /** By list price. */
  readonly priced: Money.Money
  /** The most that attempts can have cost whose end nobody saw. */
  readonly bound: Money.Money
  readonly usage: Required<Usage>
}

/** The totals of one organisation, session, agent, model or day, by its name; a day is `2026-11-22`. */
export interface Line extends Totals {
  readonly key: string
}

/**
 * What a tool had to do with costs. The cost of an attempt is split evenly among the calls that its answer made; what that
 * leaves over, at most as many 10⁻¹² USD as it made calls, and the cost of attempts without calls are of no tool, so that all
 * lines together are exactly the cost of all attempts.
 */
export interface ToolLine {
  /** Null for what is of no tool. */
  readonly tool: string | null
  readonly cost: Money.Money
  /** Calls that have a result. */
  readonly calls: number
  /** Those whose result is no success. */
  readonly failed: number
  /** Milliseconds that they took together. */
  readonly timeMs: number
}

/** What a run cost. */
export interface RunCost {
  readonly own: Totals
  /** Its own, and that of all runs below it. */
  readonly subtree: Totals
  /** How many runs that are, itself included. */
  readonly runs: number
}

/** The totals of no attempts. */
export const nothing: Totals = {
  calls: 0,
  failed: 0,
  unpriced: 0,
  cost: Money.zero,
  reported: Money.zero,
  priced: Money.zero,
  bound: Money.zero,
  usage: { uncached: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 0, reasoning: 0, webSearches: 0 }
}

/** Both together. */
export const plus = (a: Totals, b: Totals): Totals => ({
  calls: a.calls + b.calls,
  failed: a.failed + b.failed,
  unpriced: a.unpriced + b.unpriced,
  cost: Money.add(a.cost, b.cost),
  reported: Money.add(a.reported, b.reported),
  priced: Money.add(a.priced, b.priced),
  bound: Money.add(a.bound, b.bound),
  usage: {
    uncached: a.usage.uncached + b.usage.uncached,
    cacheRead: a.usage.cacheRead + b.usage.cacheRead,
    cacheWrite: a.usage.cacheWrite + b.usage.cacheWrite,
    cacheWriteHour: a.usage.cacheWriteHour + b.usage.cacheWriteHour,
    output: a.usage.output + b.usage.output,
    reasoning: a.usage.reasoning + b.usage.reasoning,
    webSearches: a.usage.webSearches + b.usage.webSearches
  }
})

/** The part of the prompt that came out of a cache, from 0 to 1; 0 where there was no prompt. */
export const cacheHitRate = ({ usage }: Pick<Totals, "usage">): number => {
  const prompt = usage.uncached + usage.cacheRead + usage.cacheWrite + usage.cacheWriteHour
  return prompt === 0 ? 0 : usage.cacheRead / prompt
}

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/** Dearest first, and by name where they cost the same; days in their order. */
export const ordered = (by: By, lines: ReadonlyArray<Line>): ReadonlyArray<Line> =>
  lines.toSorted((a, b) => by === "day" || a.cost === b.cost ? compare(a.key, b.key) : a.cost > b.cost ? -1 : 1)

/** Dearest first, and by name where they cost the same; what is of no tool comes last. */
export const orderedTools = (lines: ReadonlyArray<ToolLine>): ReadonlyArray<ToolLine> =>
  lines.toSorted((a, b) => {
    if (a.tool === null || b.tool === null) return a.tool === b.tool ? 0 : a.tool === null ? 1 : -1
    return a.cost === b.cost ? compare(a.tool, b.tool) : a.cost > b.cost ? -1 : 1
  })
