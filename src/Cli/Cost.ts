import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { given, json, place } from "./Options.ts"

/** `conductor cost`: what was spent, and on what. */
export const cost = Command.make("cost", {
  by: Flag.Literals("by", ["org", "session", "agent", "model", "tool", "day"]).pipe(
    Flag.withDescription("What to add up by"),
    Flag.withDefault("model" as const)
  ),
  since: Flag.String("since").pipe(
    Flag.withMetavar("WHEN"),
    Flag.withDescription("Only what ended since then: a date or time (UTC) such as 2026-11-01, or so long ago, such as 12h, 7d or 4w"),
    Flag.optional
  ),
  csv: given("csv", "Print comma-separated values (RFC 4180), every figure exact"),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { printCost } = yield* Effect.promise(() => import("./Costs.ts"))
  yield* printCost(input).pipe(at(input))
})).pipe(Command.withDescription("Show what was spent, and on what, with where each figure is from"))
