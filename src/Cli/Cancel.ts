import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { place, run } from "./Options.ts"

/** `conductor cancel`: ends a run. */
export const cancel = Command.make("cancel", { run, ...place }, Effect.fnUntraced(function*(input) {
  const { cancelRun } = yield* Effect.promise(() => import("./Steer.ts"))
  yield* cancelRun(input.run).pipe(at(input))
})).pipe(Command.withDescription("Cancel a run"))
