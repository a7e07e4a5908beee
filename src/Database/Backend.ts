import * as Schema from "effect/Schema"
import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import * as path from "node:path"
import { Worker } from "node:worker_threads"
import type { Answer, Request, Settings } from "./EmbeddedWorker.ts"

/** The embedded database could not be opened, or ended. */
export class EmbeddedError extends Schema.TaggedError<EmbeddedError>()("EmbeddedError", {
  /** The directory of the database, or `memory`. */
  where: Schema.String,
  problem: Schema.String,
  remedy: Schema.String
}) {
  override get message() {
    return `The embedded database (${this.where}) ${this.problem}: ${this.remedy}.`
  }
}

/** Why a statement got no answer of the database: an SQLSTATE of Postgres and a sentence. */
export interface Loss {
  readonly code: "57014" | "08006"
  readonly message: string
}

/** One write of the driver: whole protocol messages, which are executed together. */
export interface Job {
  readonly bytes: Uint8Array
  /** Takes a part of the answer. `false` says that nobody reads: the thread waits until `Backend.resume`. */
  readonly onData: (bytes: Uint8Array) => boolean
  /** Called once, when the answer is complete or will never be. */
  readonly onEnd: (loss: Loss | undefined) => void
}

/** A connection of the driver, which ends with the thread that it spoke to. */
export interface Session {
  readonly onLoss: (loss: Loss) => void
}

/** How the main thread looks after the database thread. */
export interface Care {
  /** The directory, or `memory`. */
  readonly where: string
  readonly settings: Omit<Settings, "conductor-ai/Database/EmbeddedWorker" | "flow" | "code">
  /** Milliseconds that one write of the driver may take. */
  readonly deadline: number
  /** Milliseconds that a cancelled statement may still take before the thread is ended. */
  readonly cancelGrace: number
}

/** Milliseconds that closing the data files may take. */
const closeLimit = 5000

/** What is used of the global of that name, which is not among the types of a program for Node. */
declare const WebAssembly: { readonly compile: (bytes: Uint8Array) => Promise<object> }

let code: Promise<object | undefined> | undefined

/**
 * PGlite's code, compiled once for all threads of this process, so that a thread after the first opens in half of the time. Nothing
 * where it is not beside the package, as in a bundle: then each thread finds it for itself.
 */
const compiled = (): Promise<object | undefined> =>
  code ??= Promise.resolve(createRequire(import.meta.url).resolve("@electric-sql/pglite"))
    .then((entry) => readFile(path.join(path.dirname(entry), "pglite.wasm")))
    .then((bytes) => WebAssembly.compile(bytes))
    .catch(() => undefined)

/**
 * The database thread and the queue before it, seen from the main thread.
 *
 * Plain classes and timers instead of fibers: it lives below the driver's socket, which the driver calls in the middle of its own
 * callbacks, and it must end a statement even when every fiber waits for one. Its timers are real time on purpose: the thread that
 * they watch runs in real time too, also in a test with a virtual clock.
 */
export class Backend {
  /** How many threads were started: more than one means that one crashed or that a statement had to be ended. */
  generations = 0
  private readonly care: Care
  private readonly sessions = new Set<Session>()
  private readonly queue: Array<Job> = []
  private worker: Worker | undefined
  private opened: Promise<void> | undefined
  private stopping: Promise<unknown> = Promise.resolve()
  private flow = new Int32Array(new SharedArrayBuffer(8))
  private held = 0
  private current: Job | undefined
  private timer: ReturnType<typeof setTimeout> | undefined
  private reply: ((answer: Answer | undefined) => void) | undefined
  private closed = false

  constructor(care: Care) {
    this.care = care
  }

  /** Whether the database lives in the thread's memory only, and so ends with it. */
  get volatile(): boolean {
    return this.care.settings.dataDir === undefined
  }

  /** Starts the thread unless it runs. Resolves when the database is open, rejects with `EmbeddedError`. */
  open(): Promise<void> {
    if (this.closed) return Promise.reject(this.error("was closed", "build its layer again"))
    if (this.opened !== undefined) return this.opened
    if (this.volatile && this.generations > 0) {
      return Promise.reject(this.error("was lost when its thread ended", "keep it in a directory if it must survive that"))
    }
    const opened = this.stopping.then(compiled).then((code) => this.start(code))
    this.opened = opened
    return opened
  }

  /** Adds a connection, which learns when the thread ends. */
  attach(session: Session): () => void {
    this.sessions.add(session)
    return () => this.sessions.delete(session)
  }

  /** Puts a write of the driver into the queue. */
  submit(job: Job): void {
    this.queue.push(job)
    this.next()
  }

  /** Ends the thread unless the statement that it executes now is done within the grace. In memory, that would lose everything. */
  cancel(): void {
    const job = this.current
    if (job === undefined || this.volatile) return
    const timer = setTimeout(() => {
      if (this.current === job) this.end({ code: "57014", message: "canceling statement due to user request" })
    }, this.care.cancelGrace)
    timer.unref()
  }

  /** Somebody reads again: the thread may send more. */
  resume(): void {
    if (this.held === 0) return
    Atomics.add(this.flow, 1, this.held)
    Atomics.notify(this.flow, 1)
    this.held = 0
    if (this.current !== undefined) this.watch()
  }

  /** A tar file of the data directory, for `load`. No statement may be under way. */
  async dump(): Promise<Uint8Array<ArrayBuffer>> {
    await this.open()
    const answer = await this.ask({ tag: "Dump" })
    if (answer?.tag === "Dumped") return answer.bytes
    throw this.error("could not be dumped", "try again when no statement is under way")
  }

  /** Closes the data files and ends the thread; a statement that is under way is given up. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    const worker = this.worker
    if (worker !== undefined && this.current === undefined) {
      const limit = setTimeout(() => this.reply?.(undefined), closeLimit)
      await this.ask({ tag: "Close" })
      clearTimeout(limit)
    }
    this.end({ code: "08006", message: "the embedded database was closed" })
    await this.stopping
  }

  private error(problem: string, remedy: string): EmbeddedError {
    return new EmbeddedError({ where: this.care.where, problem, remedy })
  }

  private start(code: object | undefined): Promise<void> {
    if (this.closed) throw this.error("was closed", "build its layer again")
    this.generations++
    const flow = new SharedArrayBuffer(8)
    this.flow = new Int32Array(flow)
    this.held = 0
    const settings: Settings = { "conductor-ai/Database/EmbeddedWorker": true, ...this.care.settings, flow, code }
    // The program runs from TypeScript sources in development and from compiled files when installed.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js"
    const worker = new Worker(new URL(`./EmbeddedWorker.${extension}`, import.meta.url), {
      name: "conductor-database",
      workerData: settings,
      // What this process was started with (a debugger, a test runner's loader) is not for the thread.
      execArgv: []
    })
    this.worker = worker
    return new Promise((resolve, reject) => {
      const fail = (cause: string) =>
        reject(this.error(`cannot be opened (${cause})`, "check that the directory is intact, and the memory and disk of this machine"))
      let ready = false
      worker.on("message", (answer: Answer) => {
        if (worker !== this.worker) return
        if (answer.tag === "Ready") {
          ready = true
          // An open database alone does not keep the process alive; a statement under way does.
          worker.unref()
          resolve()
        } else if (ready) {
          this.receive(answer)
        } else if (answer.tag === "Failed") {
          fail(answer.message)
          this.end({ code: "08006", message: answer.message })
        }
      })
      const crashed = (cause: string) => {
        if (worker !== this.worker) return
        fail(cause)
        this.end({ code: "08006", message: `the thread of the embedded database ended (${cause}) and is started anew` })
      }
      worker.on("error", (cause) => crashed(messageOf(cause)))
      worker.on("exit", (code) => crashed(`exit code ${code}`))
    })
  }

  private ask(request: Request): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      this.reply = resolve
      this.worker?.ref()
      this.worker?.postMessage(request)
    })
  }

  private receive(answer: Answer): void {
    switch (answer.tag) {
      case "Data": {
        this.held += answer.bytes.length
        if (this.current === undefined || this.current.onData(answer.bytes)) this.resume()
        // A reader who takes its time is no reason to end the statement.
        else clearTimeout(this.timer)
        return
      }
      case "Done":
        return this.finish(undefined)
      case "Failed":
        return this.end({ code: "08006", message: `the embedded database failed (${answer.message}) and is opened anew` })
      default: {
        this.worker?.unref()
        this.reply?.(answer)
        this.reply = undefined
      }
    }
  }

  private next(): void {
    if (this.current !== undefined) return
    const job = this.queue.shift()
    if (job === undefined) {
      this.worker?.unref()
      return
    }
    this.current = job
    if (this.worker === undefined) return this.finish({ code: "08006", message: "the embedded database is not open" })
    this.worker.ref()
    this.watch()
    // The driver's buffers are parts of a pool: only a copy can be handed over to the thread.
    const bytes = new Uint8Array(job.bytes)
    this.worker.postMessage({ tag: "Exec", bytes } satisfies Request, [bytes.buffer])
  }

  private watch(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.end({
        code: "57014",
        message: `canceling statement due to statement timeout: it ran longer than ${this.care.deadline} ms, the embedded database is opened anew`
      })
    }, this.care.deadline)
  }

  private finish(loss: Loss | undefined): void {
    clearTimeout(this.timer)
    const job = this.current
    this.current = undefined
    job?.onEnd(loss)
    this.next()
  }

  /** Ends the thread, and with it everything that waits for it. The next `open` starts another one. */
  private end(loss: Loss): void {
    const worker = this.worker
    if (worker === undefined) return
    this.worker = undefined
    this.opened = undefined
    this.stopping = worker.terminate()
    clearTimeout(this.timer)
    const jobs = this.current === undefined ? this.queue.splice(0) : [this.current, ...this.queue.splice(0)]
    this.current = undefined
    for (const job of jobs) job.onEnd(loss)
    // A session leaves the set when it hears of its loss.
    for (const session of Array.from(this.sessions)) session.onLoss(loss)
    this.reply?.(undefined)
    this.reply = undefined
  }
}

const messageOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)
