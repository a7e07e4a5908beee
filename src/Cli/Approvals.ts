import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { json, limit, place } from "./Options.ts"

/** `conductor approvals`: the tool calls that wait for a person. */
export const approvals = Command.make("approvals", { limit, json, ...place }, Effect.fnUntraced(function*(input) {
  const { printApprovals } = yield* Effect.promise(() => import("./Requests.ts"))
  yield* printApprovals(input).pipe(at(input))
})).pipe(Command.withDescription("List the tool calls that wait for approval, oldest first"))
