import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import { at } from "./Environment.ts"
import { ageOf, database, json } from "./Options.ts"

const id = Argument.String("id").pipe(Argument.withDescription("Its id: letters, digits, dots, dashes and underscores"))

const day = 86_400_000

/** Whole days as they are typed. */
const daysOf = (text: string) => Option.filter(Option.map(ageOf(text), (milliseconds) => milliseconds / day), Number.isInteger)

const create = Command.make("create", {
  id,
  name: Flag.String("name").pipe(Flag.withMetavar("NAME"), Flag.withDescription("What people call it (default its id)"), Flag.optional),
  keep: Flag.String("keep").pipe(
    Flag.withMetavar("DAYS"),
    Flag.withDescription("How long its finished runs are kept, such as 90d; see conductor prune"),
    Flag.filterMap(daysOf, () => "Expected whole days, such as 90d or 12w"),
    Flag.optional
  ),
  ...database
}, Effect.fnUntraced(function*(input) {
  const { createOrg } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* createOrg(input).pipe(at(input))
})).pipe(Command.withDescription("Make an organisation"))

const keep = Command.make("keep", {
  id,
  days: Argument.String("days").pipe(
    Argument.withDescription("How long its finished runs are kept, such as 90d, or forever"),
    Argument.filterMap(
      (text) => text === "forever" ? Option.some(null) : daysOf(text),
      () => "Expected whole days, such as 90d or 12w, or forever"
    )
  ),
  ...database
}, Effect.fnUntraced(function*(input) {
  const { keepRuns } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* keepRuns(input.id, input.days).pipe(at(input))
})).pipe(Command.withDescription("Say for how long the finished runs of an organisation are kept; conductor prune deletes the others"))

/** `conductor orgs`: the organisations. */
export const orgs = Command.make("orgs", { json, ...database }, Effect.fnUntraced(function*(input) {
  const { printOrgs } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* printOrgs(input.json).pipe(at(input))
})).pipe(
  Command.withDescription("List the organisations, make one, or say how long its runs are kept"),
  Command.withSubcommands([create, keep])
)
