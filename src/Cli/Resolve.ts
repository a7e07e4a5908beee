import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { usage } from "./Failure.ts"
import { comment, given, json, place, run, saying } from "./Options.ts"

/** `conductor resolve`: says what became of a tool call of which nobody knows whether it happened. */
export const resolve = Command.make("resolve", {
  run,
  call: Argument.String("call").pipe(Argument.withDescription("The id of the call in doubt, as conductor show tells it")),
  happened: given("happened", "It happened: the agent is told so, and what it gave (--result)"),
  didNot: given("did-not-happen", "It did not happen: the agent is told so"),
  again: given("run-again", "Run it once more, at your risk"),
  result: Flag.String("result").pipe(
    Flag.withMetavar("TEXT"),
    Flag.withDescription("What the agent is told that the call gave: JSON or a sentence"),
    saying,
    Flag.optional
  ),
  comment,
  json,
  ...place
}, Effect.fnUntraced(function*({ again, call, comment, didNot, happened, json, result, run, ...place }) {
  const said = [
    ...(happened ? ["happened" as const] : []), ...(didNot ? ["did-not-happen" as const] : []), ...(again ? ["run-again" as const] : [])
  ]
  const [resolution, ...more] = said
  if (resolution === undefined || more.length > 0) {
    return yield* usage("Say what became of the call with exactly one of --happened, --did-not-happen and --run-again.")
  }
  if (again && Option.isSome(result)) return yield* usage("--run-again lets the tool say what it gives: leave --result out.")
  const { resolveCall } = yield* Effect.promise(() => import("./Decide.ts"))
  yield* resolveCall({ run, call, resolution, result, comment, json }).pipe(at(place))
})).pipe(Command.withDescription("Say what became of a tool call that may or may not have happened, and go on with its run"))
