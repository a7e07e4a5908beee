import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Entry, entryOf } from "./AuditLog/Entry.ts"
import { type Filter, matches, type Where } from "./AuditLog/Filter.ts"
import { table } from "./AuditLog/Memory.ts"
import { type Action, adminRow, rowsOf, unsealedOf, warningsOf } from "./AuditLog/Row.ts"
import { type Lookup, noteOf } from "./AuditLog/Said.ts"
import { makeSql } from "./AuditLog/Sql.ts"
import { type Anchor, type Report, type Source, verify } from "./AuditLog/Verify.ts"
import type { OrgId, StorageFailed } from "./Run.ts"
import { type Projection, Tables } from "./RunLog.ts"

export type { Entry } from "./AuditLog/Entry.ts"
export type { Filter, Where } from "./AuditLog/Filter.ts"
export type { Action } from "./AuditLog/Row.ts"
export type { Lookup, ToolFacts } from "./AuditLog/Said.ts"
export { isSecretName, redact, redacted, redactLine, redactText, type SecretPath } from "./AuditLog/Redact.ts"
export { sensitivePaths } from "./AuditLog/Sensitive.ts"
export type { Anchor, Problem, Report } from "./AuditLog/Verify.ts"

/** The audit trail as a projection of runs; `lookup` finds what the definitions of tools say about their parameters. */
export const projectionOf = (lookup: Lookup): Projection => {
  const make = unsealedOf(lookup)
  return {
    name: "trail",
    order: 20,
    rows: rowsOf(lookup),
    keep: ({ steps }, tables) => {
      const trail = table(tables)
      for (const step of steps) {
        const note = noteOf(step)
        if (note === undefined) continue
        for (const warning of warningsOf(note)) trail.write(warning)
        trail.keep(note.started.org, () => make(note))
      }
    }
  }
}

/** The audit trail without knowledge of tools: secrets are found by name and look alone, and calls have no target. */
export const projection: Projection = projectionOf(() => undefined)

/**
 * What was done in each organisation, by whom, and with what outcome: rows that are written in the transaction of the events that they
 * are about, chained by hashes, and never changed. The content of a row can be erased, openly, and the chain still holds.
 */
export class AuditLog extends Context.Service<AuditLog, {
  /** The rows that the filter lets through, newest first. */
  readonly list: (filter: Filter) => Effect.Effect<ReadonlyArray<Entry>, StorageFailed>
  /**
   * Checks the chain of an organisation from its first row, and names the first that is not sound. Against somebody who can write the
   * whole chain anew only `expect` helps: the end of an earlier report, kept elsewhere.
   */
  readonly verify: (options: { readonly org: OrgId; readonly expect?: Anchor }) => Effect.Effect<Report, StorageFailed>
  /** Empties the content of rows and appends a row that says so, by whom; how many rows were emptied. */
  readonly erase: (
    options: { readonly org: OrgId; readonly where: Where; readonly by: string }
  ) => Effect.Effect<number, StorageFailed>
  /** Appends a row about something that is not of a run, such as what an administrator did; secrets are taken out. */
  readonly append: (action: Action) => Effect.Effect<void, StorageFailed>
}>()("conductor-ai/AuditLog") {
  /** The audit trail in Postgres. */
  static readonly layer = Layer.effect(AuditLog, Effect.gen(function*() {
    const sql = yield* makeSql
    return AuditLog.of({
      list: Effect.fn("AuditLog.list")((filter) => Effect.map(sql.list(filter), (rows) => rows.map(entryOf))),
      verify: Effect.fn("AuditLog.verify")(({ expect, org }) => verify(sql.source(org), expect)),
      erase: Effect.fn("AuditLog.erase")(({ by, org, where }) => sql.erase(org, where, by)),
      append: Effect.fn("AuditLog.append")((action) =>
        Effect.flatMap(Clock.currentTimeMillis, (at) => sql.append(adminRow(action, at)))
      )
    })
  }))

  /** The audit trail in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(AuditLog, Effect.gen(function*() {
    const trail = table(yield* Tables)
    const source = (org: OrgId): Source => ({
      end: Effect.sync(() => {
        const { head, rows } = trail.read(org)
        return { ...head, last: rows.at(-1)?.n ?? 0 }
      }),
      page: (after, last, limit) =>
        Effect.sync(() => trail.read(org).rows.filter((row) => row.n > after && row.n <= last).slice(0, limit))
    })
    return AuditLog.of({
      list: Effect.fn("AuditLog.list")((filter) =>
        Effect.sync(() =>
          trail.read(filter.org).rows.filter((row) => matches(filter, row)).toReversed().slice(0, filter.limit).map(entryOf)
        )
      ),
      verify: Effect.fn("AuditLog.verify")(({ expect, org }) => verify(source(org), expect)),
      erase: Effect.fn("AuditLog.erase")(({ by, org, where }) =>
        Effect.map(Clock.currentTimeMillis, (at) => trail.erase(org, where, by, at))
      ),
      append: Effect.fn("AuditLog.append")((action) =>
        Effect.map(Clock.currentTimeMillis, (at) => trail.write(adminRow(action, at)))
      )
    })
  }))
}
