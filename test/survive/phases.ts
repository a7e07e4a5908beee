/**
 * Where a worker is. It reports each beginning and end of a phase through a pipe, synchronously, so that the last report
 * before SIGKILL tells what was hit; and it can be made to stand still at a place until it is killed there.
 */
import { Tracer } from "effect"
import type { Exit } from "effect"
import * as fs from "node:fs"

/** Where a kill can hit. */
export const phases = [
  "starting up", "in a start", "in a claim", "before a commit", "in a flush", "after a commit", "in a transaction", "in a model call",
  "in a pure handler", "in an idempotent handler", "in a transactional handler", "in a reconcilable handler", "in an unsafe handler",
  "in a reconciliation", "idle"
] as const
export type Phase = typeof phases[number]

/** Kill at the nth place of that phase from now. */
export interface Aim {
  readonly phase: Phase
  readonly nth: number
}

/** The descriptor of the pipe to the parent. */
const pipe = 3

/** Tells the parent a line. Done when the kernel has it, so that it outlives this process. */
export const say = (line: string): void => void fs.writeSync(pipe, `${line}\n`)

let aim: { readonly phase: Phase; left: number } | undefined

/** Stands still at the place aimed at, from now on. */
export const aimAt = ({ nth, phase }: Aim): void => {
  aim = { phase, left: nth }
}

/** Milliseconds that a process stands still when nobody kills it after all. */
const patience = 3_000

/** Stands still until this process is killed, or nobody kills it. */
export const standStill = (): void => {
  aim = undefined
  say("@")
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, patience)
}

/** A place of a phase: if it is the one aimed at, the process stands still there. */
export const place = (phase: Phase | undefined): void => {
  if (aim !== undefined && aim.phase === phase && --aim.left <= 0) standStill()
}

/** The same a moment later, when what was begun is on its way. */
const placeSoon = (phase: Phase): void => {
  if (aim?.phase === phase && --aim.left <= 0) setImmediate(standStill)
}

/** The phase of a tool of that effect class. */
export const handlerPhase = (effect: string): Phase | undefined => phases.find((phase) => phase.endsWith(` ${effect} handler`))

const phaseOf = (name: string): Phase | undefined => {
  if (name.startsWith("chat ")) return "in a model call"
  if (name === "sql.transaction") return "in a transaction"
  return name.startsWith("execute_tool ") ? handlerPhase(name.slice("execute_tool ".length)) : undefined
}

/** What a statement is part of, as far as that is watched. */
const statementOf = (sql: string): Phase | undefined =>
  sql.includes("conductor_flush") ? "in a flush" : /UPDATE runs r\s+SET owner/.test(sql) ? "in a claim" : undefined

class Watched extends Tracer.NativeSpan {
  phase: Phase | undefined

  constructor(options: ConstructorParameters<typeof Tracer.NativeSpan>[0]) {
    super(options)
    this.begin(phaseOf(this.name))
  }

  private begin(phase: Phase | undefined): void {
    this.phase = phase
    if (phase !== undefined) say(`+ ${phase}`)
  }

  override attribute(key: string, value: unknown): void {
    super.attribute(key, value)
    if (key === "db.query.text") {
      this.begin(statementOf(String(value)))
      // Nothing of the statement has left yet.
      if (this.phase === "in a flush") place("before a commit")
    }
    // The statement has its connection and is sent right after this.
    if (key === "db.client.connection.wait_time_ms" && this.phase !== undefined) placeSoon(this.phase)
  }

  override end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    super.end(endTime, exit)
    if (this.phase === undefined) return
    say(`- ${this.phase}`)
    if (this.phase === "in a flush" || this.phase === "in a transaction") place("after a commit")
  }
}

/** Reports the phases that the runtime's own spans tell of. */
export const tracer: Tracer.Tracer = Tracer.make({ span: (options) => new Watched(options) })

/** What a worker was in the middle of when it was killed, from its reports. */
export const hit = (reports: ReadonlyArray<string>): ReadonlySet<Phase> => {
  if (!reports.includes("ready")) return new Set(["starting up"])
  const open = new Map<string, number>()
  // Things that happened and that no commit has told of: how many, and how many of them the flush under way may hold.
  let untold = 0
  let flushing = 0
  for (const report of reports) {
    const [mark = "", phase = ""] = [report.slice(0, 1), report.slice(2)]
    if (mark !== "+" && mark !== "-") continue
    open.set(phase, (open.get(phase) ?? 0) + (mark === "+" ? 1 : -1))
    if (phase === "in a flush") {
      if (mark === "+") flushing = untold
      else untold -= flushing
      if (mark === "-") flushing = 0
    } else if (mark === "-" && (phase === "in a model call" || phase.endsWith("handler"))) {
      untold++
    }
  }
  const found = new Set(phases.filter((phase) => (open.get(phase) ?? 0) > 0))
  if (untold > 0) found.add("before a commit")
  const last = reports.findLast((report) => report !== "@")
  if (last === "- in a flush" || last === "- in a transaction") found.add("after a commit")
  return found.size === 0 ? new Set(["idle"]) : found
}
