import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { json } from "./Options.ts"

/** `conductor models`: the models that there are prices for. */
export const models = Command.make("models", { json }, Effect.fnUntraced(function*(input) {
  const { printModels } = yield* Effect.promise(() => import("./Lists.ts"))
  yield* printModels(input.json)
})).pipe(Command.withDescription("List the models with their prices and limits"))
