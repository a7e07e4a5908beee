import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { Output } from "./Output.ts"
import { makeSignals, type Signal, Signals } from "./Signals.ts"

/** How long the program may take to clean up after a signal. */
const patience = "5 seconds"

/** The part of the process that {@link launch} needs. */
export interface Host {
  readonly on: (signal: "SIGINT" | "SIGTERM", listener: () => void) => unknown
  readonly exit: (code: number) => void
  readonly stdout: { readonly on: (event: "error", listener: () => void) => unknown; readonly write: (text: string, done: () => void) => unknown }
  readonly stderr: { readonly on: (event: "error", listener: () => void) => unknown }
}

type Services = Output | Signals | Layer.Success<typeof NodeServices.layer>

/**
 * Runs the program as this host. Its result is the exit code. Ctrl-C interrupts it unless a command takes care of it, the second one
 * ends the process at once; a request to end interrupts it, and so does the end of whoever reads its output.
 */
export const launch = (program: Effect.Effect<number, never, Services>, host: Host = process): void => {
  const signals = makeSignals()
  const leave = (code: number): void => {
    // Where writing is asynchronous, what was written last must get out first.
    host.stdout.write("", () => host.exit(code))
  }
  const main = Runtime.makeRunMain(({ fiber, teardown }) => {
    const receive = (signal: Signal) => {
      const reaction = signals.receive(signal, Effect.runSync(Clock.currentTimeMillis))
      if (reaction === "exit") return host.exit(130)
      if (reaction !== "interrupt") return
      fiber.interruptUnsafe()
      Effect.runFork(Effect.andThen(Effect.sleep(patience), Effect.sync(() => host.exit(signals.code()))))
    }
    host.on("SIGINT", () => receive("SIGINT"))
    host.on("SIGTERM", () => receive("SIGTERM"))
    host.stdout.on("error", () => receive("EPIPE"))
    host.stderr.on("error", () => {})
    fiber.addObserver((exit) => teardown(exit, leave))
  })
  program.pipe(
    Effect.provide(Output.layer.pipe(
      Layer.merge(Layer.succeed(Signals, signals.service)),
      Layer.provideMerge(NodeServices.layer)
    )),
    main({
      disableErrorReporting: true,
      teardown: (exit, onExit) => {
        const value: unknown = Exit.isSuccess(exit) ? exit.value : undefined
        onExit(typeof value === "number" ? value : signals.code())
      }
    })
  )
}
