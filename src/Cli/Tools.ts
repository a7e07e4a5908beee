import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { json } from "./Options.ts"

/** `conductor tools`: what the agents of the program can use. */
export const tools = Command.make("tools", { json }, Effect.fnUntraced(function*(input) {
  const { printTools } = yield* Effect.promise(() => import("./Lists.ts"))
  yield* printTools(input.json)
})).pipe(Command.withDescription("List the tools: what each is about, and what it does to the world"))
