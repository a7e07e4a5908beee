import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/** What tells the program to stop: Ctrl-C, a request to end, or that nobody reads its output any more. */
export type Signal = "SIGINT" | "SIGTERM" | "EPIPE"

/** What the program does about a signal. */
export type Reaction =
  /** Nothing: a command takes care of it. */
  | "heard"
  /** The program is interrupted and cleans up. */
  | "interrupt"
  /** The program ends at once. */
  | "exit"

interface Heard {
  /** Waits for Ctrl-C, or for the end of whoever reads; only under `heeding`. */
  readonly stop: Effect.Effect<"SIGINT" | "EPIPE">
  /** Runs an effect that takes care of `stop` itself, so that the program is not interrupted by it. */
  readonly heeding: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Waits for Ctrl-C or a request to end; only under `serving`. */
  readonly end: Effect.Effect<"SIGINT" | "SIGTERM">
  /** Runs an effect that takes care of `end` itself. The end of whoever reads is nothing to it. */
  readonly serving: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Signals as a command sees them. */
export class Signals extends Context.Service<Signals, Heard>()("conductor-ai/Cli/Signals") {}

/** Milliseconds in which a signal is taken for the one before: npm passes on a Ctrl-C that the terminal has sent to everybody already. */
const echo = 300

/** Signals and what receives them from the system. */
export const makeSignals = () => {
  const stopped = Deferred.makeUnsafe<"SIGINT" | "EPIPE">()
  const ended = Deferred.makeUnsafe<"SIGINT" | "SIGTERM">()
  let heeding = 0
  let serving = 0
  let received = 0
  let last: { readonly signal: Signal; readonly at: number } | undefined
  const service = Signals.of({
    stop: Deferred.await(stopped),
    heeding: (effect) =>
      Effect.acquireUseRelease(
        Effect.sync(() => heeding++),
        () => effect,
        () => Effect.sync(() => heeding--)
      ),
    end: Deferred.await(ended),
    serving: (effect) =>
      Effect.acquireUseRelease(
        Effect.sync(() => serving++),
        () => effect,
        () => Effect.sync(() => serving--)
      )
  })
  /** Takes a signal that came at some millisecond and says what is to be done about it. */
  const receive = (signal: Signal, at: number): Reaction => {
    if (last !== undefined && (signal === "EPIPE" || at - last.at < echo)) return "heard"
    last = { signal, at }
    if (signal !== "EPIPE") received++
    if (received > 1) return "exit"
    if (serving > 0) {
      if (signal !== "EPIPE") Deferred.doneUnsafe(ended, Effect.succeed(signal))
      return "heard"
    }
    if (signal === "SIGTERM" || heeding === 0) return "interrupt"
    Deferred.doneUnsafe(stopped, Effect.succeed(signal))
    return "heard"
  }
  /** The exit code of a program that a signal has interrupted. */
  const code = () => last?.signal === "SIGTERM" ? 143 : last?.signal === "EPIPE" ? 0 : 130
  return { service, receive, code }
}
