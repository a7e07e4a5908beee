import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { place } from "./Options.ts"

/** `conductor dashboard`: a way into the dashboard of a server. */
export const dashboard = Command.make("dashboard", { ...place }, Effect.fnUntraced(function*(input) {
  const { printLink } = yield* Effect.promise(() => import("./Link.ts"))
  yield* printLink.pipe(at(input))
})).pipe(
  Command.withDescription("Print a link to the dashboard of the server that holds the data directory"),
  Command.withExamples([
    { command: "conductor dashboard", description: "A link that is good for ten minutes and for one browser" },
    { command: "conductor dashboard --org acme", description: "For the runs of acme" }
  ])
)
