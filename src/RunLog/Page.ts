import type { Logged } from "../Run.ts"

/** How much of a log is read at a time: at most so many events, and no more of them than so many bytes hold, but always one. */
export interface PageSize {
  readonly events: number
  readonly bytes: number
}

/** Events of a run that follow each other. */
export interface Page {
  readonly events: ReadonlyArray<Logged>
  /** True where there were no more when they were read. */
  readonly isLast: boolean
}

/** About how many characters a value has. */
export const weigh = (value: unknown): number => {
  if (typeof value === "string") return value.length
  if (typeof value !== "object" || value === null) return 8
  let weight = 16
  for (const part of Array.isArray(value) ? value : Object.values(value)) weight += weigh(part)
  return weight
}

/** The page of a log in memory that begins at an index. */
export const pageOf = (log: ReadonlyArray<Logged>, from: number, size: PageSize): Page => {
  let end = from
  let weight = 0
  while (end < log.length && end - from < size.events && weight < size.bytes) weight += weigh(log[end++]?.event)
  return { events: log.slice(from, end), isLast: end >= log.length }
}
