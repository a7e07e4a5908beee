import * as Money from "../Money.ts"
import { AgentName, OrgId, RunId, SessionId } from "../Run.ts"
import type { Json } from "../RunLog.ts"
import type { Stored } from "./Chain.ts"

/** One thing that was done, as the audit trail keeps it. */
export interface Entry {
  /** Its number in the chain of its organisation, from 1 without gaps. */
  readonly n: number
  readonly id: string
  readonly org: OrgId
  /** Milliseconds since 1970. */
  readonly at: number
  /** The event of the run that it is about: `ToolCompleted`. */
  readonly event: string
  /** `tool_call`, `model_attempt`, `approval`, `command`, `run`, `budget_warning`, `erase`, or what was appended by hand. */
  readonly action: string
  /** The tool; where there is none the model, the agent or the command. */
  readonly tool: string
  /** Who did it, or on whose behalf the agent did. */
  readonly principal: string
  readonly agent: AgentName | null
  readonly session: SessionId | null
  readonly run: RunId | null
  readonly seq: number | null
  readonly call: string | null
  readonly sourceProject: string | null
  readonly success: boolean
  readonly durationMs: number | null
  readonly cost: Money.Money | null
  /** What it was about: `lead:123`. */
  readonly target: string | null
  /** What went in, without secrets. */
  readonly input: Json
  /** What came of it, in a line. */
  readonly output: string | null
  readonly error: string | null
  /** When its content was erased, in milliseconds since 1970. */
  readonly erasedAt: number | null
  /** In hex. */
  readonly hash: string
}

const maybe = <A>(make: (text: string) => A, text: string | null): A | null => text === null ? null : make(text)

/** The row as a reader wants it. */
export const entryOf = (row: Stored): Entry => ({
  n: row.n,
  id: row.id,
  org: OrgId.make(row.org),
  at: Math.round(row.at / 1000),
  event: row.event,
  action: row.action,
  tool: row.name,
  principal: row.principal,
  agent: maybe(AgentName.make, row.agent),
  session: maybe(SessionId.make, row.session),
  run: maybe(RunId.make, row.run),
  seq: row.seq,
  call: row.call,
  sourceProject: row.project,
  success: row.success,
  durationMs: row.durationMs,
  cost: maybe(Money.usd, row.cost),
  target: row.target,
  input: row.input === null ? null : JSON.parse(row.input),
  output: row.output,
  error: row.error,
  erasedAt: row.erasedAt === null ? null : Math.round(row.erasedAt / 1000),
  hash: Buffer.from(row.hash).toString("hex")
})
