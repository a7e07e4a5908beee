import { randomUUID } from "node:crypto"
import * as Money from "../Money.ts"
import type { OrgId } from "../Run.ts"
import { type Append, cell, type Json, type Row } from "../RunLog.ts"
import { type Content, type Metadata, metadata } from "./Chain.ts"
import { entity, type Execution, inputOf, line, type Lookup, maxName, name, type Note, noteOf, type Said, saidOf } from "./Said.ts"

/** An identifier, bounded: a model may make up its calls' ids. */
const id = (text: string): string => text.length <= maxName ? text : text.slice(0, maxName).toWellFormed()

/** A row of the trail before it has a number and a hash. */
export interface Unsealed extends Metadata, Omit<Content, "input"> {
  readonly input: Json
  readonly execution: Execution | null
}

/** A UUIDv7 of a time in milliseconds since 1970: the time, then chance, so that rows of one time lie together in the index. */
const timedId = (at: number): string => {
  const time = at.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}

/** The row as `conductor_project_trail` takes it. */
export const cellsOf = (row: Unsealed, append: number): Row => {
  const { call, execution, run, seq } = row
  return [
    String(append), timedId(row.at / 1000), metadata(row), row.org, String(row.at), row.event, row.action, row.name, row.principal, row.agent,
    row.session, run, cell(seq), call, row.project, String(row.success), cell(row.durationMs), row.cost, row.output, row.target, row.error,
    row.input === null ? null : JSON.stringify(row.input),
    ...(execution === null ? [null, null, null, null, null] : [
      JSON.stringify({ run, turn: execution.turn, call }),
      execution.completed === null ? null : JSON.stringify({ run, seq }),
      String(execution.started),
      cell(execution.completed),
      String(execution.retries)
    ])
  ]
}

const unsealed = ({ logged, started }: Note, said: Said): Unsealed => ({
  org: started.org,
  at: logged.at * 1000,
  event: logged.event._tag,
  action: said.action,
  name: said.tool_name,
  principal: id(said.principal ?? started.principal),
  agent: started.agent,
  session: started.session,
  run: logged.run,
  seq: logged.seq,
  call: said.call_id === undefined ? null : id(said.call_id),
  project: started.sourceProject,
  success: said.success ?? true,
  durationMs: said.duration_ms ?? null,
  cost: said.cost_usd ?? null,
  input: said.input_params ?? null,
  output: said.output_summary ?? null,
  target: said.target_entity ?? null,
  error: said.error_message ?? null,
  execution: said.execution ?? null
})

/** The row of the audit trail for an event; nothing for one that has none. */
export const unsealedOf = (lookup: Lookup) => (note: Note): Unsealed | undefined => {
  const said = saidOf(lookup, note)
  return said === undefined ? undefined : unsealed(note, said)
}

/** The rows about budgets that were nearly used up; with the end of the attempt, whose beginning is no row. */
export const warningsOf = (note: Note): ReadonlyArray<Unsealed> =>
  note.warnings.map(({ limit, period, reserved, scope, spent, until }) =>
    unsealed(note, {
      action: "budget_warning",
      tool_name: name(scope),
      input_params: {
        limit: Money.format(limit),
        spent: Money.format(spent),
        reserved: Money.format(reserved),
        ...(period === undefined ? {} : { period }),
        ...(until === undefined ? {} : { until })
      }
    }))

/** The rows of the audit trail for one append: one for each end of a call or attempt, approval, command and change of a run. */
export const rowsOf = (lookup: Lookup) => {
  const make = unsealedOf(lookup)
  return (append: Append, index: number): ReadonlyArray<Row> => {
    const rows: Array<Row> = []
    for (const step of append.steps) {
      const note = noteOf(step)
      if (note === undefined) continue
      for (const warning of warningsOf(note)) rows.push(cellsOf(warning, index))
      const row = make(note)
      if (row !== undefined) rows.push(cellsOf(row, index))
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
export const adminRow = (action: Action, at: number): Unsealed => ({
  org: action.org,
  at: at * 1000,
  event: "ActionRecorded",
  action: name(action.action),
  name: name(action.name),
  principal: id(action.principal),
  agent: null,
  session: null,
  run: null,
  seq: null,
  call: null,
  project: action.sourceProject ?? null,
  success: action.success ?? true,
  durationMs: null,
  cost: null,
  input: action.input === undefined ? null : inputOf(action.input),
  output: line(action.output),
  target: entity(action.target ?? null),
  error: line(action.error),
  execution: null
})
