import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { DirectoryLocked, holderOf } from "../Database.ts"
import { CurrentOrg, OrgNotFound, Orgs } from "../Org.ts"
import * as Server from "../Server.ts"
import { failed } from "./Failure.ts"
import { Output, plain } from "./Output.ts"
import { whereabouts } from "./Schema.ts"
import { Within } from "./Within.ts"

/** Hands the command on to the server that holds the directory, or says that there is none. */
const elsewhere = Effect.gen(function*() {
  const { dir, url } = yield* whereabouts
  if (Option.isSome(url)) {
    return yield* failed(
      "A server on a Postgres is not found by its database: ask it itself, with curl -X POST ADDRESS/v1/dashboard -H \"Authorization: Bearer $CONDUCTOR_API_KEY\"."
    )
  }
  const holder = yield* holderOf(dir)
  if (Option.isSome(holder) && holder.value.address !== null) {
    return yield* new DirectoryLocked({ dir, pid: holder.value.pid, address: holder.value.address })
  }
  return yield* failed(`No server holds the data directory ${plain(dir)}: start one with conductor serve, or name its directory with --data-dir.`)
})

/** `conductor dashboard`. The link alone is standard output, so that a script can open it. */
export const printLink = Effect.gen(function*() {
  const output = yield* Output
  const within = yield* Within
  if (Option.isNone(within)) return yield* elsewhere
  yield* Effect.gen(function*() {
    const org = yield* CurrentOrg
    const { find } = yield* Orgs
    if (Option.isNone(yield* find(org))) return yield* new OrgNotFound({ org })
    yield* output.line(Redacted.value(yield* Server.link(org)))
    yield* output.note("The link is good for ten minutes and for one browser.")
  }).pipe(Effect.provideContext(within.value))
})
