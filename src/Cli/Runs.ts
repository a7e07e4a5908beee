import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { json, limit, place } from "./Options.ts"

/** `conductor runs`: the runs that there are, newest first. */
export const runs = Command.make("runs", {
  limit,
  status: Flag.Literals("status", ["running", "parked", "completed", "failed", "cancelled"]).pipe(
    Flag.withDescription("Only runs that stand so"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { printRuns } = yield* Effect.promise(() => import("./Lists.ts"))
  yield* printRuns(input).pipe(at(input))
})).pipe(Command.withDescription("List runs, newest first"))
