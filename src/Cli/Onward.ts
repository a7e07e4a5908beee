import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Conductor } from "../Conductor.ts"
import { isOver } from "../Run.ts"
import type { RunRow } from "../RunLog.ts"
import { Agents } from "./Agents.ts"
import { choose, models, scripted } from "./Choice.ts"
import { follow } from "./Follow.ts"
import { leaving } from "./Leave.ts"
import { Output } from "./Output.ts"
import { conductor } from "./Runtime.ts"
import { Within } from "./Within.ts"

/** The agent of a run, where it is one of this program. */
export const agentOf = (row: RunRow) => Effect.map(Agents, (agents) => agents(row.agent, row.model))

/** Fails where the model of a run cannot be asked here, before anything is done to the run. */
export const checkModel = (row: RunRow) =>
  row.model === scripted ? Effect.void : Effect.asVoid(choose(Option.some(row.model))).pipe(Effect.provide(models))

/** Does something to a run and follows it to its end, in a runtime with that agent. */
export const followed = Effect.fnUntraced(function*<E>(
  row: RunRow,
  agent: Parameters<typeof conductor>[0][number],
  command: Effect.Effect<unknown, E, Conductor>,
  json: boolean
) {
  yield* checkModel(row)
  yield* Effect.andThen(command, follow(row.run, { json, after: row.seq })).pipe(leaving, Effect.provide(conductor([agent])))
})

/** Says what was done: on standard error where standard output is for JSON. */
export const say = Effect.fnUntraced(function*(sentence: string, json: boolean) {
  const output = yield* Output
  yield* json ? output.note(sentence) : output.line(sentence)
})

/**
 * Does something to a run. Where its agent is one of this program, the run then goes on here and is followed to its end; else
 * `done`, a beginning of a sentence, is said, and who goes on with the run.
 */
export const carryOut = Effect.fnUntraced(function*<E>(
  row: RunRow,
  command: Effect.Effect<unknown, E, Conductor>,
  options: { readonly done: string; readonly json: boolean }
) {
  const agent = yield* agentOf(row)
  if (Option.isSome(yield* Within)) {
    yield* Effect.provide(command, conductor([]))
    return yield* say(`${options.done}; run ${row.run} goes on in the server.`, options.json)
  }
  // A run that is over says so itself.
  if (agent !== undefined && !isOver(row.status)) return yield* followed(row, agent, command, options.json)
  yield* Effect.provide(command, conductor([]))
  yield* say(`${options.done}; run ${row.run} goes on in the process that has the agent "${row.agent}", as soon as there is one.`, options.json)
})
