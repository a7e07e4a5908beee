import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { approval, comment, json, place } from "./Options.ts"

/** `conductor deny`: refuses a tool call that waits. */
export const deny = Command.make("deny", { id: approval, comment, json, ...place }, Effect.fnUntraced(function*({ comment, id, json, ...place }) {
  const { decideRequest } = yield* Effect.promise(() => import("./Decide.ts"))
  yield* decideRequest({ id, comment, json, decision: { decision: "denied" } }).pipe(at(place))
})).pipe(Command.withDescription("Deny a tool call that waits, and go on with its run; the agent is told, with the comment"))
