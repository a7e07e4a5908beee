import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { given, json } from "./Options.ts"

const tasks = ["coding", "reasoning", "agents", "fast", "long-context", "vision", "multilingual", "general"] as const
const budgets = ["free", "budget", "standard", "premium", "flagship"] as const

/** The names of a list such as `deepseek,qwen`. */
const namesOf = (list: string): Option.Option<ReadonlyArray<string>> => {
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "")
  return names.length === 0 ? Option.none() : Option.some(names)
}

/** `conductor models pick`: the model that an agent would get which asks for this. */
const pick = Command.make("pick", {
  task: Flag.Literals("task", tasks).pipe(Flag.withDescription("What the model is to be good at")),
  budget: Flag.Literals("budget", budgets).pipe(
    Flag.withDescription("How dear it may be at most; a million tokens of which three in four are input cost up to 1, 5 and 10 dollars in budget, standard and premium"),
    Flag.withDefault("standard" as const)
  ),
  prefer: Flag.String("prefer").pipe(
    Flag.withMetavar("A,B"),
    Flag.withDescription("Providers, makers or models in order of preference, such as deepseek,qwen"),
    Flag.filterMap(namesOf, () => "Expected names such as deepseek,qwen"),
    Flag.optional
  ),
  vision: given("vision", "It must take images"),
  longContext: given("long-context", "Its context must be 500,000 tokens at least"),
  tools: given("tools", "It must take tools"),
  reasoning: given("reasoning", "It must reason before it answers"),
  json
}, Effect.fnUntraced(function*({ json, prefer, ...criteria }) {
  const { printPick } = yield* Effect.promise(() => import("./Catalogue.ts"))
  yield* printPick({ ...criteria, prefer: Option.getOrElse(prefer, () => []) }, json)
})).pipe(
  Command.withDescription("Say which model fits best, at what price, and why"),
  Command.withExamples([
    { command: "conductor models pick --task coding --budget budget", description: "The strongest cheap model for coding" },
    { command: "conductor models pick --task agents --prefer claude,kimi --vision", description: "Claude, or else Kimi, with images" }
  ])
)

/** `conductor models`: the models that there are prices for. */
export const models = Command.make("models", { json }, Effect.fnUntraced(function*(input) {
  const { printModels } = yield* Effect.promise(() => import("./Catalogue.ts"))
  yield* printModels(input.json)
})).pipe(
  Command.withDescription("List the models with their prices, and what they are good at"),
  Command.withSubcommands([pick])
)
