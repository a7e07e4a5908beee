import * as Option from "effect/Option"
import type { RunRow, RunStep, RunView } from "../Api.ts"
import { answerOf, fold, isOver, type Logged, type RunEvent, type RunState, Transcript, waitingOf } from "../Run.ts"
import type * as RunLog from "../RunLog.ts"

/** A run as lists show it. */
export const rowOf = (row: RunLog.RunRow): RunRow => ({
  run: row.run,
  session: row.session,
  agent: row.agent,
  model: row.model,
  status: row.status,
  turns: row.turns,
  inputTokens: row.inputTokens,
  outputTokens: row.outputTokens,
  cost: row.cost,
  priced: row.priced,
  error: row.error,
  parked: row.parked,
  createdAt: row.createdAt,
  endedAt: row.endedAt
})

type Event<Tag extends RunEvent["_tag"]> = Extract<RunEvent, { readonly _tag: Tag }>

const stepOf = (at: number, { bill, parts, turn }: Event<"TurnCompleted">): RunStep => ({
  turn,
  at,
  model: bill.model,
  text: Transcript.textOf(parts),
  calls: Transcript.toolCallsOf(parts).map((part) => ({
    call: part.id,
    tool: part.name,
    arguments: part.arguments,
    outcome: null,
    result: null,
    durationMs: null
  })),
  usage: bill.usage,
  cost: bill.cost
})

/** The step with one of its calls ended. */
const ended = (step: RunStep, { call, durationMs, outcome, result }: Event<"ToolCompleted">): RunStep => ({
  ...step,
  calls: step.calls.map((one) => one.call === call ? { ...one, outcome, result, durationMs } : one)
})

/** The waiting of a parked run, as JSON. */
const waitingIn = (state: RunState): RunView["waiting"] => {
  if (state.status !== "parked") return null
  const { approvals = [], reason, unknown = [] } = waitingOf(state)
  return { reason, approvals, unknown }
}

/** The answer: JSON where the agent has a schema for it, else text. */
const outputOf = (state: RunState, isStructured: boolean): RunView["output"] => {
  if (state.status !== "completed") return null
  const text = answerOf(state)
  // The run completed, so its answer was decoded once and is JSON.
  return isStructured ? Option.getOrElse(Option.liftThrowable(() => JSON.parse(text))(), () => text) : text
}

/** A run with everything that came of it so far, put together from its events one by one. */
export const makeView = () => {
  const steps: Array<RunStep> = []
  let state: RunState | undefined
  let createdAt = 0
  return {
    learn: (logged: Logged): void => {
      const { at, event } = logged
      if (state === undefined) createdAt = at
      state = fold(state, logged)
      if (event._tag === "TurnCompleted") steps.push(stepOf(at, event))
      if (event._tag === "ToolCompleted") {
        const index = steps.findLastIndex((step) => step.turn === event.turn)
        const step = steps[index]
        if (step !== undefined) steps[index] = ended(step, event)
      }
    },
    /** Nothing before the first event. `isStructured` says whether an agent answers by a schema. */
    view: (isStructured: (agent: string) => boolean): RunView | undefined =>
      state === undefined ? undefined : {
        run: state.run,
        session: state.session,
        agent: state.agent,
        model: state.model,
        status: state.status,
        seq: state.seq,
        steps,
        turns: state.turns,
        usage: state.usage,
        cost: state.cost,
        priced: state.priced,
        limits: state.limits,
        text: state.status === "completed" ? answerOf(state) : null,
        output: outputOf(state, isStructured(state.agent)),
        error: state.failure,
        waiting: waitingIn(state),
        cancelled: state.status === "cancelled" ? state.cancel : null,
        metadata: state.started.metadata ?? {},
        createdAt,
        endedAt: isOver(state.status) ? state.endedAt : null
      }
  }
}
