import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { json, place, run } from "./Options.ts"

/** `conductor retry`: lets a failed or interrupted run go on from its log. */
export const retry = Command.make("retry", { run, json, ...place }, Effect.fnUntraced(function*(input) {
  const { retryRun } = yield* Effect.promise(() => import("./Steer.ts"))
  yield* retryRun(input).pipe(at(input))
})).pipe(Command.withDescription("Let a failed or interrupted run go on from its log"))
