import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import { at } from "./Environment.ts"
import { age, json, limit, place, saying } from "./Options.ts"

type Scope = "org" | `agent:${string}` | `user:${string}`

const isScope = (text: string): text is Scope => /^(org|(agent|user):.{1,300})$/s.test(text)

const scope = Flag.String("scope").pipe(
  Flag.withMetavar("SCOPE"),
  Flag.withDescription("Whose: org, agent:NAME or user:ID"),
  Flag.filterMap((text) => Option.liftPredicate(text.trim(), isScope), () => "Expected org, agent:NAME or user:ID"),
  Flag.optional
)

const recall = Command.make("recall", {
  query: Argument.String("query").pipe(Argument.withDescription("A few words; not all of them need to be in a memory")),
  scope,
  limit,
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { recallMemories } = yield* Effect.promise(() => import("./MemoryList.ts"))
  yield* recallMemories(input).pipe(at(input))
})).pipe(Command.withDescription("Look for words in what is remembered, what has most of them first"))

const remember = Command.make("remember", {
  text: Argument.String("text").pipe(Argument.withDescription("What to remember, in one to three sentences")),
  scope,
  expires: age("expires", "For how long it is of use; without it for good"),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { rememberText } = yield* Effect.promise(() => import("./MemoryList.ts"))
  yield* rememberText(input).pipe(at(input))
})).pipe(Command.withDescription("Remember something for the organisation, an agent or a user"))

const forget = Command.make("forget", {
  id: Argument.String("id").pipe(Argument.withDescription("The id of a memory, as conductor memories lists it"), Argument.optional),
  text: Flag.String("text").pipe(
    Flag.withMetavar("TEXT"),
    Flag.withDescription("Every memory that contains it, and it itself wherever it was said"),
    saying,
    Flag.optional
  ),
  scope,
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { forgetMemories } = yield* Effect.promise(() => import("./MemoryList.ts"))
  yield* forgetMemories(input).pipe(at(input))
})).pipe(
  Command.withDescription(
    "Forget a memory, all of a scope, or whatever contains a text; what it said is taken out, word for word, of the logs of runs and of the audit " +
      "trail, which still verifies"
  ),
  Command.withExamples([
    { command: "conductor memories forget --text 'ann@example.com'", description: "That address, wherever it was said" },
    { command: "conductor memories forget --scope user:ann", description: "All that is remembered of one user" }
  ])
)

/** `conductor memories`: what is remembered. */
export const memories = Command.make("memories", { scope, limit, json, ...place }, Effect.fnUntraced(function*(input) {
  const { printMemories } = yield* Effect.promise(() => import("./MemoryList.ts"))
  yield* printMemories(input).pipe(at(input))
})).pipe(
  Command.withDescription("List what agents remember, newest first; look for words in it, remember something, or forget it for good"),
  Command.withSubcommands([recall, remember, forget])
)
