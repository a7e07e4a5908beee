import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { json, place } from "./Options.ts"

/** `conductor replay`: whether an agent still does what a stored run says. */
export const replay = Command.make("replay", {
  run: Argument.String("run").pipe(Argument.withDescription("The id of a run, or a file that conductor export wrote")),
  agent: Flag.String("agent").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Replays it with this agent of the program; that of the run's own name by default"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { play } = yield* Effect.promise(() => import("./Replaying.ts"))
  yield* play(input).pipe(at(input))
})).pipe(
  Command.withDescription("Run an agent again on a stored run, with every answer and result from its log, and show the first difference; needs no key"),
  Command.withExamples([
    { command: "conductor replay RUN", description: "Has the agent changed since?" },
    { command: "conductor replay run.json", description: "The same, from a file" }
  ])
)
