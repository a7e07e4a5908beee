import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { json, limit, place } from "./Options.ts"

const anchor = /^(\d{1,15}):([0-9a-f]{64})$/i

/** An anchor as it is typed: `N:HASH`. */
const anchorOf = (text: string) =>
  Option.map(Option.fromNullishOr(anchor.exec(text.trim())), ([, n = "", hash = ""]) => ({ n: Number(n), hash: hash.toLowerCase() }))

const list = Command.make("list", {
  limit,
  run: Flag.String("run").pipe(Flag.withMetavar("RUN"), Flag.withDescription("Only rows about this run"), Flag.optional),
  tool: Flag.String("tool").pipe(Flag.withMetavar("NAME"), Flag.withDescription("Only rows about this tool"), Flag.optional),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { printAudit } = yield* Effect.promise(() => import("./AuditTrail.ts"))
  yield* printAudit(input).pipe(at(input))
})).pipe(Command.withDescription("List what was done, newest first"))

const verify = Command.make("verify", {
  expect: Flag.String("expect").pipe(
    Flag.withMetavar("N:HASH"),
    Flag.withDescription("The end of the chain as an earlier verify gave it, kept elsewhere"),
    Flag.filterMap(anchorOf, () => "Expected a row's number, a colon and its hash of 64 digits"),
    Flag.optional
  ),
  json,
  ...place
}, Effect.fnUntraced(function*(input) {
  const { verifyAudit } = yield* Effect.promise(() => import("./AuditTrail.ts"))
  yield* verifyAudit(input).pipe(at(input))
})).pipe(Command.withDescription("Check that nothing in the audit trail was changed; exit code 1 names the first row that was"))

/** `conductor audit`: the audit trail. */
export const audit = Command.make("audit").pipe(
  Command.withDescription("Read and verify the audit trail"),
  Command.withSubcommands([list, verify])
)
