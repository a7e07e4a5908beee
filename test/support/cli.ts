/** The program in this process, with captured output, and as a process of its own. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { ConfigProvider, Effect, Layer, Sink, Stdio, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import { program } from "../../src/Cli.ts"
import { Output } from "../../src/Cli/Output.ts"
import { makeSignals, Signals } from "../../src/Cli/Signals.ts"
import { end, sse, start, text, toolUse } from "./anthropic.ts"
import { bare } from "./environment.ts"
import type { Script } from "./replay.ts"

/** A line of JSON, as far as tests look into it. */
export interface Line {
  readonly _tag?: string
  readonly event?: { readonly _tag: string; readonly [key: string]: unknown }
  readonly [key: string]: unknown
}

/** What a command gave. */
export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
  /** Standard output as JSON, a line each. */
  readonly lines: ReadonlyArray<Line>
}

/** How a command is run in this process. */
export interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string | ReadonlyArray<Uint8Array>
  readonly terminal?: boolean
  /** Told all of standard output so far, and how to send a signal. */
  readonly onOut?: (out: string, signal: (signal: "SIGINT" | "SIGTERM" | "EPIPE") => void) => void
}

/** Nothing of the machine's own environment, or of a developer's `.env`, is to be seen in a test. */
const nothing = {
  ANTHROPIC_API_KEY: "", ANTHROPIC_BASE_URL: "", OPENROUTER_API_KEY: "", OPENROUTER_BASE_URL: "", GEMINI_API_KEY: "", GOOGLE_API_KEY: "", GEMINI_BASE_URL: "",
  DATABASE_URL: "", SUPABASE_DB_URL: "", CONDUCTOR_MODEL: "", CONDUCTOR_CATALOG: "", CONDUCTOR_DATA_DIR: "/nonexistent/conductor", CONDUCTOR_DATABASE_FSYNC: "false"
}

/** Runs a command in this process; 130 where it was interrupted. */
export const conductor = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Ran> =>
  Effect.suspend(() => {
    let out = ""
    let err = ""
    const signals = makeSignals()
    const sink = (write: (text: string) => void) => () =>
      Sink.forEach((chunk: string | Uint8Array) => Effect.sync(() => write(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"))))
    const { stdin = "" } = options
    const stdio = Stdio.layerTest({
      stdout: sink((text) => {
        out += text
        options.onOut?.(out, (signal) => void signals.receive(signal, 0))
      }),
      stderr: sink((text) => {
        err += text
      }),
      stdin: typeof stdin === "string" ? Stream.succeed(Buffer.from(stdin)) : Stream.fromIterable(stdin),
      stdoutIsTerminal: Effect.succeed(options.terminal === true)
    })
    const services = Output.layer.pipe(
      Layer.merge(Layer.succeed(Signals, signals.service)),
      Layer.provideMerge(stdio),
      Layer.provideMerge(NodeServices.layer)
    )
    return program(args).pipe(
      Effect.provide(services),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromEnv({ env: { ...nothing, ...options.env }, preserveEmptyStrings: true })
      ),
      Effect.map((code) => ({
        code,
        out,
        err,
        get lines() {
          return out.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
        }
      }))
    )
  })

const root = path.join(import.meta.dirname, "../..")

/** The program as a process, in a directory, with an environment of its own; killed at the end of the scope. */
export const launched = (
  args: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>>; readonly main?: string }
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [path.join(root, options.main ?? "src/main.ts"), ...args], {
        cwd: options.cwd,
        env: { ...bare, HOME: options.cwd, ...options.env },
        stdio: ["pipe", "pipe", "pipe"]
      })
      return new Running(child)
    }),
    (running) => Effect.sync(() => running.child.kill("SIGKILL"))
  )

/** A process of the program that is under way. */
export class Running {
  out = ""
  err = ""
  readonly child: ChildProcess
  readonly ended: Promise<number | string>
  private readonly waiting = new Set<() => void>()

  constructor(child: ChildProcess) {
    this.child = child
    child.stdin?.end()
    const take = (name: "out" | "err") => (chunk: Buffer) => {
      this[name] += chunk.toString("utf8")
      for (const look of this.waiting) look()
    }
    child.stdout?.on("data", take("out"))
    child.stderr?.on("data", take("err"))
    this.ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal ?? "unknown")))
  }

  /** Waits until standard output or error contains a text. */
  says(text: string): Effect.Effect<void> {
    return Effect.promise(() =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (!`${this.out}${this.err}`.includes(text)) return
          this.waiting.delete(look)
          resolve()
        }
        this.waiting.add(look)
        look()
        void this.ended.then((code) => reject(new Error(`ended with ${code} before it said "${text}": ${this.out}${this.err}`)))
      })
    )
  }

  /** The exit code, or the signal that ended it. */
  get code(): Effect.Effect<number | string> {
    return Effect.promise(() => this.ended)
  }
}

/** An answer of Claude with a text. */
export const says = (...deltas: ReadonlyArray<string>) => ({ body: sse([start(), ...text(0, ...deltas), ...end("end_turn")]) })

/** An answer of Claude that calls tools. */
export const calls = (said: string, ...tools: ReadonlyArray<readonly [name: string, parameters: object]>) => ({
  body: sse([
    start(),
    ...text(0, said),
    ...tools.flatMap(([name, parameters], index) => toolUse(index + 1, `toolu_${index + 1}`, name, JSON.stringify(parameters))),
    ...end("tool_use")
  ])
})

/** An answer of Claude that calls `sql_query`. */
export const queries = (query: string) => calls("I look.", ["sql_query", { query }])

/** An answer of Claude that begins and does not end. */
export const hangs: Script = {
  body: sse([start(), { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }, {
    type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Well, " }
  }]),
  // oxlint-disable-next-line unicorn/no-thenable -- the word of the replayer, which nobody awaits
  then: "hang"
}
