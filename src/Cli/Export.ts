import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { place, run } from "./Options.ts"

/** `conductor export`: a stored run as a document that `conductor replay` and tests take. */
export const exportRun = Command.make("export", {
  run,
  out: Flag.String("out").pipe(Flag.withMetavar("FILE"), Flag.withDescription("Write it to this file; standard output by default"), Flag.optional),
  ...place
}, Effect.fnUntraced(function*(input) {
  const { write } = yield* Effect.promise(() => import("./Replaying.ts"))
  yield* write(input).pipe(at(input))
})).pipe(
  Command.withDescription(
    "Print a stored run as JSON: its events, the definition of its agent, and what its conversation goes on from. The content is as it was " +
      "stored: prompts, answers, parameters and results, with whatever secret is in them"
  ),
  Command.withExamples([{ command: "conductor export RUN --out run.json", description: "Keep a run, to replay it in a test" }])
)
