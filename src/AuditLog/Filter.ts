import type { OrgId, RunId, SessionId } from "../Run.ts"
import type { Stored } from "./Chain.ts"

/** Which rows to list, newest first. */
export interface Filter {
  readonly org: OrgId
  readonly run?: RunId
  readonly session?: SessionId
  readonly tool?: string
  readonly action?: string
  readonly target?: string
  readonly success?: boolean
  /** Rows with a lower number than this. */
  readonly before?: number
  readonly limit: number
}

/** What an erasure is about: a run, everything about a target, or one row by its number. */
export type Where = { readonly run: RunId } | { readonly target: string } | { readonly n: number }

/** True where the filter, its limit aside, lets the row through. */
export const matches = (filter: Filter, row: Stored): boolean =>
  (filter.run === undefined || row.run === filter.run) &&
  (filter.session === undefined || row.session === filter.session) &&
  (filter.tool === undefined || row.name === filter.tool) &&
  (filter.action === undefined || row.action === filter.action) &&
  (filter.target === undefined || row.target === filter.target) &&
  (filter.success === undefined || row.success === filter.success) &&
  (filter.before === undefined || row.n < filter.before)
