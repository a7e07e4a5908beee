import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Conductor } from "../Conductor.ts"
import { type RunId, type RunState, waitingOf } from "../Run.ts"
import { Ended, failed } from "./Failure.ts"
import { Output } from "./Output.ts"
import { Signals } from "./Signals.ts"
import { advance, humanView, jsonView } from "./View.ts"

/** How long a cancelled run may take to end before the program does not wait for it any more. */
const patience = "10 seconds"

/** How a run is watched. */
export interface Options {
  readonly json: boolean
  /** Only what comes after this sequence number is written. */
  readonly after?: number
}

/**
 * Watches a run until it is over or parked and writes what happens. Ctrl-C, and the end of whoever reads, cancel the run. Ends with
 * exit code 1 for a failed run, 130 for a cancelled one; the state of a completed one.
 */
export const follow = Effect.fnUntraced(function*(run: RunId, options: Options) {
  const conductor = yield* Conductor
  const output = yield* Output
  const signals = yield* Signals
  const after = options.after ?? 0
  const view = options.json ? jsonView : humanView(output.paint, { after })
  let state: RunState | undefined

  const isParked = () => state?.status === "parked" && state.seq > after
  const watching = conductor.watch(run).pipe(
    Stream.tap((item) => {
      state = advance(state, item)
      if (!options.json || !("event" in item) || item.seq > after) return output.write(view.next(item))
      return Effect.void
    }),
    Stream.takeUntil(isParked),
    Stream.runDrain
  )

  const cancel = Effect.fnUntraced(function*(watcher: Fiber.Fiber<void, unknown>, signal: "SIGINT" | "EPIPE") {
    yield* output.note(`\nCancelling run ${run} … (Ctrl-C again ends at once)`)
    const reason = signal === "SIGINT" ? "Ctrl-C" : "nobody reads its output any more"
    // A run that was over in the meantime takes no commands, and the watcher says how it ended.
    yield* conductor.cancel(run, reason).pipe(Effect.catchTag("RunConflict", () => Effect.void))
    const ended = yield* Effect.timeoutOption(Fiber.await(watcher), patience)
    if (Option.isNone(ended)) {
      return yield* new Ended({ code: 130, sentence: `Run ${run} has not ended yet; the command to cancel it is kept and will be applied.` })
    }
  })

  yield* signals.heeding(Effect.gen(function*() {
    const watcher = yield* Effect.forkChild(watching)
    yield* Effect.raceFirst(
      Fiber.join(watcher),
      Effect.flatMap(signals.stop, (signal) => cancel(watcher, signal))
    )
  }))
  if (state === undefined) return yield* failed(`The log of run ${run} is empty.`)
  return yield* conclude(state, options, view.end(state))
})

const conclude = Effect.fnUntraced(function*(state: RunState, options: Options, last: string) {
  const output = yield* Output
  yield* output.write(last)
  switch (state.status) {
    case "completed":
      return state
    case "cancelled":
      return yield* new Ended({ code: 130, sentence: options.json ? `Run ${state.run} was cancelled.` : "" })
    case "failed":
      return yield* failed(`${state.failure?.message ?? "The run failed."} Go on from its log: conductor retry ${state.run}`)
    default:
      return yield* waitingOf(state)
  }
})
