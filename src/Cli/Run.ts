import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Money from "../Money.ts"
import { at } from "./Environment.ts"
import { usage } from "./Failure.ts"
import { json, place } from "./Options.ts"

/** Bytes of a prompt on standard input at most; far beyond what a run takes, so that its own limit can speak. */
const maxBytes = 64_000_000

/** The prompt as it was typed, or all of standard input for `-`. */
export const promptOf = Effect.fnUntraced(function*(typed: string) {
  if (typed !== "-") return typed
  const stdio = yield* Stdio.Stdio
  const chunks: Array<Uint8Array> = []
  let size = 0
  yield* stdio.stdin.pipe(
    Stream.takeUntil((chunk) => {
      chunks.push(chunk)
      size += chunk.length
      return size > maxBytes
    }),
    Stream.runDrain
  )
  if (size > maxBytes) return yield* usage(`The prompt on standard input is longer than ${maxBytes / 1e6} MB: put long material where a tool of the agent can read it.`)
  return Buffer.concat(chunks).toString("utf8")
})

/** `conductor run`: runs an agent on a prompt and streams what it does. */
export const run = Command.make("run", {
  prompt: Argument.String("prompt").pipe(Argument.withDescription("What the agent is to do; - reads it from standard input")),
  agent: Flag.String("agent").pipe(Flag.withMetavar("NAME"), Flag.withDescription("assistant, or dealers of the demonstration"), Flag.withDefault("assistant")),
  model: Flag.String("model").pipe(
    Flag.withMetavar("REF"),
    Flag.withDescription("Such as anthropic:claude-sonnet-5-5; see conductor models (default CONDUCTOR_MODEL, or the first provider with a key)"),
    Flag.optional
  ),
  tools: Flag.String("tools").pipe(Flag.withMetavar("A,B"), Flag.withDescription("Only these tools; see conductor tools"), Flag.optional),
  session: Flag.String("session").pipe(Flag.withMetavar("NAME"), Flag.withDescription("Goes on with a conversation, or begins one of that name"), Flag.optional),
  budget: Flag.String("budget").pipe(
    Flag.withMetavar("USD"),
    Flag.withDescription("Dollars that the run may cost at most, such as 0.50"),
    Flag.filterMap(Money.parse, () => "Expected an amount of dollars such as 0.50"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const prompt = yield* promptOf(input.prompt)
  if (prompt.trim() === "") return yield* usage("The prompt is empty: say what the agent is to do.")
  if (Option.isSome(input.session) && input.session.value.trim() === "") return yield* usage("--session is empty: name the conversation.")
  const { perform } = yield* Effect.promise(() => import("./Perform.ts"))
  yield* perform({ ...input, prompt }).pipe(at(input))
})).pipe(
  Command.withDescription("Run an agent on a prompt"),
  Command.withExamples([
    { command: `conductor run "How many dealers are there in Texas?" --budget 0.20`, description: "Ask, for twenty cents at most" },
    { command: "conductor run - --json < prompt.txt", description: "Read the prompt from a file, print events as JSON lines" }
  ])
)
