import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Conductor } from "../Conductor.ts"
import { isOver, type RunId, waitingOf } from "../Run.ts"
import { Output } from "./Output.ts"
import { Within } from "./Within.ts"

/** How a run is left that this program was performing. */
const farewell = Effect.fnUntraced(function*(run: RunId) {
  const { state } = yield* Conductor
  const left = yield* state(run)
  if (left.status === "parked") return waitingOf(left).message
  return isOver(left.status)
    ? `Run ${run} is ${left.status}: see it with conductor show ${run}.`
    : `Run ${run} could not be parked in time: go on with it with conductor retry ${run}, a quarter of a minute from now.`
}, (effect, run) =>
  Effect.orElseSucceed(effect, () =>
    `Run ${run} is left as it is, because the database does not answer: go on with it with conductor retry ${run}, when it does.`))

/**
 * Parks what this program performs when it is interrupted, and says of each run how to go on with it. What a server performs is not this
 * program's.
 */
export const leaving = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Conductor | Output> =>
  Effect.onInterrupt(effect, Effect.fnUntraced(function*() {
    if (Option.isSome(yield* Within)) return
    const { drain } = yield* Conductor
    const output = yield* Output
    const { finished, parked } = yield* drain(0)
    for (const run of [...finished, ...parked]) yield* output.note(yield* farewell(run))
  }))
