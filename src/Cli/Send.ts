import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { usage } from "./Failure.ts"
import { given, json, place, run } from "./Options.ts"
import { promptOf } from "./Run.ts"

/** `conductor send`: says something to a run that is not over. */
export const send = Command.make("send", {
  run,
  text: Argument.String("text").pipe(Argument.withDescription("What the agent is told; - reads it from standard input")),
  queue: given("queue", "Heard once the agent has nothing more to do, instead of before its next turn"),
  interrupt: given("interrupt", "Heard at once: breaks off what is under way"),
  reject: given("reject", "Not sent to a run that is at work"),
  json,
  ...place
}, Effect.fnUntraced(function*({ interrupt, json, queue, reject, run, text: typed, ...place }) {
  const modes = [...(queue ? ["queue" as const] : []), ...(interrupt ? ["interrupt" as const] : []), ...(reject ? ["reject" as const] : [])]
  const [mode = "steer", ...more] = modes
  if (more.length > 0) return yield* usage("--queue, --interrupt and --reject exclude each other: give one, or none to be heard before the next turn.")
  const text = yield* promptOf(typed)
  if (text.trim() === "") return yield* usage("The message is empty: say what the agent is to be told.")
  const { sendTo } = yield* Effect.promise(() => import("./Steer.ts"))
  yield* sendTo({ run, text, mode, json }).pipe(at(place))
})).pipe(Command.withDescription("Say something to a run that is not over"))
