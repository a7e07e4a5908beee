/** The processes that a campaign starts, and nothing of them left behind, also when it fails. */
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import * as readline from "node:readline"
import type { Readable } from "node:stream"
import { bare } from "../support/environment.ts"
import type { Order, Setup } from "./fleet.ts"

const living = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of living) child.kill("SIGKILL")
})

/** A process that reports through a pipe. */
export class Reporter {
  readonly child: ChildProcess
  readonly reports: Array<string> = []
  /** The end of standard output and error. */
  output = ""
  /** The exit code or the signal, once it has ended and every report is read. */
  readonly ended: Promise<number | string>
  private readonly listeners = new Set<() => void>()

  /** Starts a program of this folder. */
  constructor(file: string, args: ReadonlyArray<string> = []) {
    const child = spawn(process.execPath, ["--no-warnings", path.join(import.meta.dirname, file), ...args], {
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      env: bare
    })
    this.child = child
    living.add(child)
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => this.output = `${this.output}${chunk.toString("utf8")}`.slice(-2_000))
    readline.createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      this.reports.push(line)
      for (const listener of this.listeners) listener()
    })
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        living.delete(child)
        resolve(code ?? signal ?? "unknown")
        for (const listener of this.listeners) listener()
      })
    })
    // Who is told something in its last moment is not there to hear it.
    child.stdin?.on("error", () => {})
  }

  /** Gives the process a line of JSON on its standard input. */
  tell(order: object): void {
    this.child.stdin?.write(`${JSON.stringify(order)}\n`)
  }

  /** Waits for a report that was not there at `from`; false where the time is over or the process has ended. */
  until(test: (report: string) => boolean, limit: number, from = 0): Promise<boolean> {
    return new Promise((resolve) => {
      let at = from
      const done = (found: boolean) => {
        clearTimeout(timer)
        this.listeners.delete(look)
        resolve(found)
      }
      const look = () => {
        for (; at < this.reports.length; at++) if (test(this.reports[at] ?? "")) return done(true)
        if (!living.has(this.child)) done(false)
      }
      const timer = setTimeout(() => done(false), limit)
      this.listeners.add(look)
      look()
    })
  }

  /** Waits for a report that begins so; fails with what the process said where none comes within 60 s. */
  saw(beginning: string): Effect.Effect<string> {
    return Effect.promise(async () => {
      const begins = (report: string) => report.startsWith(beginning)
      if (await this.until(begins, 60_000)) return this.reports.find(begins) ?? ""
      throw new Error(`"${beginning}" was not reported: ${this.reports.slice(-20).join(" | ")} ${this.output}`)
    })
  }

  /** Kills the process, by its id, and waits until it is gone and every report is read. */
  async kill(): Promise<void> {
    if (this.child.pid !== undefined && living.has(this.child)) process.kill(this.child.pid, "SIGKILL")
    await this.ended
  }
}

/** A process of `fleet.ts` that is ready; killed at the end of the scope. */
export const started = Effect.fnUntraced(function*(setup: Setup) {
  const reporter = yield* Effect.acquireRelease(
    Effect.sync(() => new Reporter("fleet.ts")),
    (reporter) => Effect.promise(() => reporter.kill())
  )
  reporter.tell(setup)
  yield* reporter.saw("ready")
  return Object.assign(reporter, { order: (order: Order) => reporter.tell(order) })
})
