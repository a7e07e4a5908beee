import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { age, given, json, place } from "./Options.ts"

/** `conductor prune`: deletes what is kept no longer. */
export const prune = Command.make("prune", {
  olderThan: age("older-than", "How long ago a run must have ended (default what conductor orgs keep says of each organisation)"),
  dryRun: given("dry-run", "Say what would be deleted, and delete nothing"),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { pruneRuns } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* pruneRuns(input).pipe(at(input))
})).pipe(
  Command.withDescription(
    "Delete finished runs of all organisations, or of one, that are older than they are kept, with their events, attempts and messages, and " +
      "sessions without runs. The audit trail stays"
  ),
  Command.withExamples([
    { command: "conductor prune --dry-run", description: "What would go by what each organisation says" },
    { command: "conductor prune --older-than 90d --org acme", description: "What acme's runs of before 90 days said" }
  ])
)
