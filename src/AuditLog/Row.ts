import * as Money from "../Money.ts"
import type { OrgId } from "../Run.ts"
import type { Append, Row } from "../RunLog.ts"
import { entity, inputOf, line, type Lookup, maxName, name, type Note, noteOf, type Said, saidOf } from "./Said.ts"

/** An identifier, bounded: a model may make up its calls' ids. */
const id = (text: string): string => text.length <= maxName ? text : text.slice(0, maxName).toWellFormed()

/** A row of the trail by its columns; what is left out is null. */
export interface Fields extends Said {
  readonly org_id: string
  readonly at: number
  readonly event: string
  readonly principal: string
  readonly success: boolean
  readonly agent?: string
  readonly session_id?: string
  readonly run_id?: string
  readonly seq?: number
  readonly source_project?: string | null
}

/** The row as `conductor_project_trail` takes it: its metadata in the order of the canonical form, its content, and its execution. */
export const pack = (append: number, row: Fields): Row => ({
  append,
  m: [
    row.org_id, row.at * 1000, row.event, row.action, row.tool_name, row.principal, row.agent ?? null, row.session_id ?? null,
    row.run_id ?? null, row.seq ?? null, row.call_id ?? null, row.source_project ?? null, row.success, row.duration_ms ?? null,
    row.cost_usd ?? null
  ],
  c: [row.output_summary ?? null, row.target_entity ?? null, row.error_message ?? null],
  p: row.input_params ?? null,
  e: row.execution ?? null
})

const packed = ({ logged, started }: Note, said: Said, index: number): Row =>
  pack(index, {
    ...said,
    ...(said.call_id === undefined ? {} : { call_id: id(said.call_id) }),
    principal: id(said.principal ?? started.principal),
    success: said.success ?? true,
    org_id: started.org,
    at: logged.at,
    event: logged.event._tag,
    agent: started.agent,
    session_id: started.session,
    run_id: logged.run,
    seq: logged.seq,
    source_project: started.sourceProject
  })

/** The row of the audit trail for an event; nothing for one that has none. */
export const rowOf = (lookup: Lookup) => (note: Note, index: number): Row | undefined => {
  const said = saidOf(lookup, note)
  return said === undefined ? undefined : packed(note, said, index)
}

/** The rows about budgets that were nearly used up; with the end of the attempt, whose beginning is no row. */
export const warningsOf = (note: Note, index: number): ReadonlyArray<Row> =>
  note.warnings.map(({ limit, period, reserved, scope, spent, until }) =>
    packed(note, {
      action: "budget_warning",
      tool_name: name(scope),
      input_params: {
        limit: Money.format(limit),
        spent: Money.format(spent),
        reserved: Money.format(reserved),
        ...(period === undefined ? {} : { period }),
        ...(until === undefined ? {} : { until })
      }
    }, index))

/** The rows of the audit trail for one append: one for each end of a call or attempt, approval, command and change of a run. */
export const rowsOf = (lookup: Lookup) => {
  const make = rowOf(lookup)
  return (append: Append, index: number): ReadonlyArray<Row> => {
    const rows: Array<Row> = []
    for (const step of append.steps) {
      const note = noteOf(step)
      if (note === undefined) continue
      for (const warning of warningsOf(note, index)) rows.push(warning)
      const row = make(note, index)
      if (row !== undefined) rows.push(row)
    }
    return rows
  }
}

/** Something that was done and is not of a run. */
export interface Action {
  readonly org: OrgId
  /** Who did it. */
  readonly principal: string
  /** What kind of thing it is: `admin`, `scrape`. */
  readonly action: string
  /** What was done: `api-key.revoke`. */
  readonly name: string
  readonly success?: boolean
  readonly target?: string
  readonly input?: unknown
  readonly output?: string
  readonly error?: string
  readonly sourceProject?: string
}

/** The row of the audit trail for something that is not of a run. */
export const adminRow = (action: Action, at: number): Row =>
  pack(0, {
    org_id: action.org,
    at,
    event: "ActionRecorded",
    action: name(action.action),
    tool_name: name(action.name),
    principal: id(action.principal),
    success: action.success ?? true,
    source_project: action.sourceProject ?? null,
    target_entity: entity(action.target ?? null),
    input_params: action.input === undefined ? null : inputOf(action.input),
    output_summary: line(action.output),
    error_message: line(action.error)
  })
