import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Approval, ApprovalNotFound } from "../Approval.ts"
import { Conductor, type Decision, type Resolution } from "../Conductor.ts"
import { CurrentOrg } from "../Org.ts"
import { usage } from "./Failure.ts"
import { carryOut } from "./Onward.ts"
import { conductor, database, findRun } from "./Runtime.ts"

/** Edited parameters as they are typed. */
export const parametersOf = (text: string) =>
  Effect.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) => usage(`--params is not JSON (${error instanceof Error ? error.message : "it cannot be read"}): write it as '{"name": "value"}'.`)
  })

/** The run that a request for approval is of. */
const runOf = Effect.fnUntraced(function*(id: string) {
  const org = yield* CurrentOrg
  const found = yield* (yield* Approval).find(org, id)
  if (Option.isNone(found)) return yield* new ApprovalNotFound({ approval: id })
  return found.value.run
}, Effect.provide(conductor([])))

/** `conductor approve` and `conductor deny`: decides, and goes on with the run where its agent is one of this program. */
export const decideRequest = Effect.fnUntraced(function*(input: {
  readonly id: string
  readonly decision: Pick<Decision, "decision" | "parameters">
  readonly comment: Option.Option<string>
  readonly json: boolean
}) {
  const id = input.id.trim().toLowerCase()
  const row = yield* findRun(yield* runOf(id))
  const decision: Decision = Option.isSome(input.comment) ? { ...input.decision, comment: input.comment.value } : input.decision
  const command = Effect.flatMap(Conductor, (runtime) => runtime.decide(id, decision))
  yield* carryOut(row, command, { done: `The call is ${input.decision.decision}`, json: input.json })
}, Effect.provide(database))

/** `conductor resolve`: says what became of a call, and goes on with the run likewise. */
export const resolveCall = Effect.fnUntraced(function*(input: {
  readonly run: string
  readonly call: string
  readonly resolution: Resolution["resolution"]
  readonly result: Option.Option<string>
  readonly comment: Option.Option<string>
  readonly json: boolean
}) {
  const row = yield* findRun(input.run)
  const resolution: Resolution = {
    resolution: input.resolution,
    ...(Option.isSome(input.result) ? { result: input.result.value } : {}),
    ...(Option.isSome(input.comment) ? { comment: input.comment.value } : {})
  }
  const command = Effect.flatMap(Conductor, (runtime) => runtime.resolve(row.run, input.call, resolution))
  const done = { "happened": "It is noted that the call happened", "did-not-happen": "It is noted that the call did not happen", "run-again": "The call will be made again" }
  yield* carryOut(row, command, { done: done[input.resolution], json: input.json })
}, Effect.provide(database))
