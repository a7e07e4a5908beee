import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { getOrUndefined, isSome } from "effect/Option"
import { Conductor, type RunOptions } from "../Conductor.ts"
import type * as Money from "../Money.ts"
import { agentOf } from "./Agents.ts"
import { follow } from "./Follow.ts"
import { choose, models, named } from "./Choice.ts"
import { leaving } from "./Leave.ts"
import { conductor } from "./Runtime.ts"
import { Within } from "./Within.ts"

/** What `conductor run` was asked for. */
export interface Input {
  readonly prompt: string
  readonly agent: string
  readonly model: Option.Option<string>
  readonly tools: Option.Option<string>
  readonly session: Option.Option<string>
  readonly budget: Option.Option<Money.Money>
  readonly json: boolean
}

/** Checks everything that can be checked first, then opens the database, starts the run and follows it. */
export const perform = Effect.fnUntraced(function*(input: Input) {
  // Whether agent and tools exist is known before a model is chosen, and costs nothing.
  yield* agentOf(input.agent, "none:none", getOrUndefined(input.tools))
  const model = yield* named(input.model).pipe(Effect.flatMap(choose), Effect.provide(models))
  const agent = yield* agentOf(input.agent, model, getOrUndefined(input.tools))
  const options: RunOptions = {
    model,
    sourceProject: "cli",
    ...(isSome(input.session) ? { session: input.session.value } : {}),
    ...(isSome(input.budget) ? { limits: { cost: input.budget.value } } : {})
  }
  const isWithin = isSome(yield* Within)
  return yield* Effect.gen(function*() {
    const runtime = yield* Conductor
    // A server has the agent with all its tools, of which the run may use some.
    const run = yield* isWithin
      ? runtime.start(input.agent, input.prompt, { ...options, tools: agent.plugins.flatMap((plugin) => plugin.tools.map((tool) => tool.name)) })
      : runtime.start(agent.name, input.prompt, options)
    return yield* follow(run, { json: input.json })
  }).pipe(leaving, Effect.provide(conductor([agent])))
})
