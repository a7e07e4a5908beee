import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import { at } from "./Environment.ts"
import { age, json, place } from "./Options.ts"

const scopes = ["runs:write", "runs:read", "approvals:decide", "admin"] as const
type Scope = (typeof scopes)[number]

/** Scopes as they are typed. */
const scopesOf = (text: string): Option.Option<ReadonlyArray<Scope>> => {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "")
  const known = scopes.filter((scope) => names.includes(scope))
  return names.length > 0 && new Set(names).size === known.length ? Option.some(known) : Option.none()
}

const create = Command.make("create", {
  name: Argument.String("name").pipe(Argument.withDescription("What the key is for, to know it by")),
  scopes: Flag.String("scopes").pipe(
    Flag.withMetavar("LIST"),
    Flag.withDescription(`What it may be used for: some of ${scopes.join(", ")}, separated by commas (default runs:write,runs:read)`),
    Flag.filterMap(scopesOf, () => `Expected some of ${scopes.join(", ")}, separated by commas`),
    Flag.withDefault<ReadonlyArray<Scope>>(["runs:write", "runs:read"])
  ),
  expires: age("expires", "After how long it is refused; without it it has no end"),
  rate: Flag.Int("rate").pipe(
    Flag.filter((number) => number >= 1 && number <= 1_000_000, () => "Expected a number from 1 to 1000000"),
    Flag.withMetavar("N"),
    Flag.withDescription("How many requests a minute it may make at all servers of the database together (default what the server allows)"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { createKey } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* createKey(input).pipe(at(input))
})).pipe(
  Command.withDescription("Make a key and print it, once: it cannot be found out again"),
  Command.withExamples([
    { command: "conductor keys create ci --expires 90d", description: "A key that starts and reads runs, for 90 days" },
    { command: "conductor keys create ann --scopes admin --org acme", description: "A key that may do everything in acme" }
  ])
)

const revoke = Command.make("revoke", {
  id: Argument.String("id").pipe(Argument.withDescription("The id of a key, as conductor keys lists it")),
  ...place
}, Effect.fnUntraced(function*(input) {
  const { revokeKey } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* revokeKey(input.id).pipe(at(input))
})).pipe(Command.withDescription("Refuse a key from now on; servers that run have heard of it within five seconds"))

/** `conductor keys`: the API keys of an organisation. */
export const keys = Command.make("keys", { json, ...place }, Effect.fnUntraced(function*(input) {
  const { printKeys } = yield* Effect.promise(() => import("./Tenancy.ts"))
  yield* printKeys(input.json).pipe(at(input))
})).pipe(
  Command.withDescription("List the API keys of an organisation, make one, or revoke one"),
  Command.withSubcommands([create, revoke])
)
