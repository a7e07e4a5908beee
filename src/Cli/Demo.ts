import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { json, place } from "./Options.ts"

/** `conductor demo`: some invented dealers, an agent, a question about them, and the audit trail of it all. */
export const demo = Command.make("demo", { json, ...place }, Effect.fnUntraced(function*(input) {
  const { perform } = yield* Effect.promise(() => import("./DemoRun.ts"))
  yield* perform(input).pipe(at(input))
})).pipe(
  Command.withDescription("See it work: an agent answers a question about 200 invented dealers; needs no key")
)
