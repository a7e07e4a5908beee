import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { approval, comment, json, place } from "./Options.ts"

/** `conductor approve`: lets a tool call that waits be made. */
export const approve = Command.make("approve", {
  id: approval,
  comment,
  params: Flag.String("params").pipe(
    Flag.withMetavar("JSON"),
    Flag.withDescription("Other parameters than the agent asked for; it is told"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*({ comment, id, json, params, ...place }) {
  const { decideRequest, parametersOf } = yield* Effect.promise(() => import("./Decide.ts"))
  const parameters = Option.isSome(params) ? { parameters: yield* parametersOf(params.value) } : {}
  yield* decideRequest({ id, comment, json, decision: { decision: "approved", ...parameters } }).pipe(at(place))
})).pipe(
  Command.withDescription("Approve a tool call that waits, as it is or with other parameters, and go on with its run"),
  Command.withExamples([
    { command: `conductor approve ID --params '{"order": "A-1", "dollars": 50}'`, description: "Approve less than was asked for" }
  ])
)
