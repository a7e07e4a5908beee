import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { json, place, run } from "./Options.ts"

/** `conductor show`: what happened in a run, from its log. */
export const show = Command.make("show", { run, json, ...place }, Effect.fnUntraced(function*(input) {
  const { showRun } = yield* Effect.promise(() => import("./Lists.ts"))
  yield* showRun(input).pipe(at(input))
})).pipe(Command.withDescription("Show the timeline of a run: turns, tool calls, results, cost"))
