import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Conductor, type SendOptions } from "../Conductor.ts"
import { isOver, type RunId } from "../Run.ts"
import { type RunRow, Store } from "../RunLog.ts"
import { failed } from "./Failure.ts"
import { agentOf, carryOut, followed, say } from "./Onward.ts"
import { Output } from "./Output.ts"
import { conductor, database, findRun } from "./Runtime.ts"
import { Within } from "./Within.ts"

/** How long a run may take to end after it was cancelled: here, and in another process, if there is one. */
const patience = { here: "10 seconds", elsewhere: "3 seconds" } as const

const finalStatus = Effect.fnUntraced(function*(run: RunId) {
  const { find, watch } = yield* Conductor
  yield* Stream.runDrain(watch(run))
  return (yield* find(run)).status
})

const cancelAndWait = Effect.fnUntraced(function*(run: RunId, limit: (typeof patience)[keyof typeof patience]) {
  const runtime = yield* Conductor
  const output = yield* Output
  yield* runtime.cancel(run, "conductor cancel")
  const status = yield* Effect.timeoutOption(finalStatus(run), limit)
  if (Option.isSome(status) && status.value === "cancelled") return yield* output.line(`Run ${run} is cancelled.`)
  if (Option.isSome(status)) return yield* failed(`Run ${run} was ${status.value} before it could be cancelled.`)
  yield* output.line(`The command is kept: run ${run} will be cancelled by the process that performs it, as soon as one does.`)
})

/** `conductor cancel`: a run that nobody performs is taken over in order to end it. */
export const cancelRun = Effect.fnUntraced(function*(text: string) {
  const row = yield* findRun(text)
  const agent = yield* agentOf(row)
  const isOurs = agent !== undefined && !isOver(row.status)
  yield* cancelAndWait(row.run, isOurs ? patience.here : patience.elsewhere).pipe(Effect.provide(conductor(isOurs ? [agent] : [])))
}, Effect.provide(database))

/** `conductor retry`: a failed run goes on under fresh limits, an interrupted one under its own. */
export const retryRun = Effect.fnUntraced(function*(input: { readonly run: string; readonly json: boolean }) {
  const row = yield* findRun(input.run)
  const agent = yield* agentOf(row)
  if (agent === undefined) {
    return yield* failed(`The agent "${row.agent}" of run ${row.run} is not one of this program: retry it where that agent is registered.`)
  }
  if (row.status === "completed" || row.status === "cancelled") {
    return yield* failed(`Run ${row.run} is ${row.status}, and only a failed or interrupted run can go on: start another with conductor run.`)
  }
  const command = Effect.gen(function*() {
    const runtime = yield* Conductor
    if (row.status === "failed") yield* runtime.retry(row.run)
    else yield* runtime.attend(row.run)
  })
  yield* followed(row, agent, command, input.json)
}, Effect.provide(database))

/** Whether a process with a valid lease performs the run, as far as a runtime can know that performs nothing. */
const isPerformed = Effect.fnUntraced(function*(row: RunRow) {
  if (row.status !== "running") return false
  if (Option.isSome(yield* Within)) return true
  const { orphans } = yield* Store
  return !(yield* orphans([row.agent], [], 10_000)).includes(row.run)
}, Effect.provide(conductor([])))

const heard = {
  steer: "before the next turn",
  reject: "before the next turn",
  queue: "once the agent has nothing more to do",
  interrupt: "at once"
} as const

/** `conductor send`: the process that performs the run hears of it; where nobody does, it goes on here. */
export const sendTo = Effect.fnUntraced(function*(input: {
  readonly run: string
  readonly text: string
  readonly mode: NonNullable<SendOptions["mode"]>
  readonly json: boolean
}) {
  const row = yield* findRun(input.run)
  const command = Effect.flatMap(Conductor, (runtime) => runtime.send(row.run, input.text, { mode: input.mode }))
  if (isOver(row.status) || !(yield* isPerformed(row))) return yield* carryOut(row, command, { done: "The message is kept", json: input.json })
  yield* Effect.provide(command, conductor([]))
  yield* say(`The message is kept; run ${row.run} is performed by another process, where it is heard ${heard[input.mode]}.`, input.json)
}, Effect.provide(database))
