import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { database, json } from "./Options.ts"

/** `conductor doctor`: what is wrong here, and what to do about it. */
export const doctor = Command.make("doctor", { json, ...database }, Effect.fnUntraced(function*(input) {
  const { examine } = yield* Effect.promise(() => import("./Checks.ts"))
  yield* examine(input.json).pipe(at(input))
})).pipe(Command.withDescription("Check keys, database, migrations, Node and unfinished runs; exit code 1 if something is wrong"))
