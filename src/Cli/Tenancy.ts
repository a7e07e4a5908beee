import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { AuditLog } from "../AuditLog.ts"
import { type ApiKey, CurrentOrg, CurrentPrincipal, type Gone, Keys, type Org, OrgNotFound, Orgs, Retention, type Scope } from "../Org.ts"
import { OrgId } from "../Run.ts"
import { failed } from "./Failure.ts"
import { counted, time } from "./Format.ts"
import { printList } from "./Lists.ts"
import { Output, plain } from "./Output.ts"
import { database } from "./Runtime.ts"

const day = 86_400_000

/** Organisations, keys and retention on the database of the settings, without a runtime. */
const tenancy = Layer.mergeAll(Keys.layer, Orgs.layer, Retention.layer).pipe(
  Layer.provide(AuditLog.layer),
  Layer.provide(SecureRandom.layerWebCrypto),
  Layer.provide(Layer.suspend(() => database))
)

const maybe = (at: number | null, otherwise: string): string => at === null ? otherwise : time(at)

const standing = ({ expiresAt, revokedAt, revokedBy }: ApiKey, now: number): string => {
  if (revokedAt !== null) return `revoked${revokedBy === null ? "" : ` by ${plain(revokedBy)}`}`
  return expiresAt !== null && expiresAt <= now ? "expired" : "good"
}

/** `conductor keys`. */
export const printKeys = Effect.fnUntraced(function*(json: boolean) {
  const org = yield* CurrentOrg
  const now = yield* Clock.currentTimeMillis
  yield* printList(yield* (yield* Keys).list(org), {
    json,
    head: ["ID", "NAME", "KEY", "SCOPES", "EXPIRES (UTC)", "LAST USE (UTC)", "STATUS"],
    cells: (key) => [
      key.id, plain(key.name), `${plain(key.prefix)}…`, key.scopes.join(","), maybe(key.expiresAt, "never"), maybe(key.lastUsedAt, "never"),
      standing(key, now)
    ],
    encode: (key) => ({ ...key, status: standing(key, now).split(" ")[0] }),
    empty: `The organisation "${plain(org)}" has no keys: make one with conductor keys create NAME.`
  })
}, Effect.provide(tenancy))

/** `conductor keys create`. The key alone is standard output, so that a script can take it. */
export const createKey = Effect.fnUntraced(function*(input: {
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  readonly expires: Option.Option<number>
  readonly rate: Option.Option<number>
  readonly json: boolean
}) {
  const output = yield* Output
  const org = yield* CurrentOrg
  // The organisation of an embedded runtime need not be made by hand.
  if (org === "local") yield* Effect.catchTag((yield* Orgs).create(org, org), "OrgExists", () => Effect.void)
  const now = yield* Clock.currentTimeMillis
  const { key, record } = yield* (yield* Keys).create({
    org,
    name: input.name,
    scopes: input.scopes,
    ...(Option.isSome(input.expires) ? { expiresAt: now + input.expires.value } : {}),
    ...(Option.isSome(input.rate) ? { requestsPerMinute: input.rate.value } : {})
  })
  if (input.json) return yield* output.line(JSON.stringify({ key: Redacted.value(key), ...record }))
  yield* output.line(Redacted.value(key))
  yield* output.note(`This is the only time that the key is shown. Its id is ${record.id}; refuse it with conductor keys revoke ${record.id}.`)
}, Effect.provide(tenancy))

/** `conductor keys revoke`. */
export const revokeKey = Effect.fnUntraced(function*(id: string) {
  const output = yield* Output
  const before = yield* Clock.currentTimeMillis
  const key = yield* (yield* Keys).revoke(yield* CurrentOrg, id.trim(), yield* CurrentPrincipal)
  yield* output.line((key.revokedAt ?? before) < before
    ? `The key "${plain(key.name)}" was revoked before, at ${maybe(key.revokedAt, "an unknown time")} UTC.`
    : `The key "${plain(key.name)}" is revoked; servers that run refuse it within five seconds.`)
}, Effect.provide(tenancy))

const kept = (days: number | null): string => days === null ? "for good" : counted(days, "day")

/** `conductor orgs`. */
export const printOrgs = Effect.fnUntraced(function*(json: boolean) {
  yield* printList<Org>(yield* (yield* Orgs).list, {
    json,
    head: ["ID", "NAME", "MADE (UTC)", "RUNS ARE KEPT"],
    cells: (org) => [plain(org.id), plain(org.name), time(org.createdAt), kept(org.retentionDays)],
    encode: (org) => org,
    empty: "There are no organisations here yet: make one with conductor orgs create ID."
  })
}, Effect.provide(tenancy))

/** `conductor orgs create`. */
export const createOrg = Effect.fnUntraced(function*(input: {
  readonly id: string
  readonly name: Option.Option<string>
  readonly keep: Option.Option<number>
}) {
  const output = yield* Output
  const org = yield* (yield* Orgs).create(
    input.id,
    Option.getOrElse(input.name, () => input.id),
    Option.isSome(input.keep) ? { retentionDays: input.keep.value } : {}
  )
  yield* output.line(`The organisation "${plain(org.id)}" is there; its runs are kept ${kept(org.retentionDays)}. Make it a key with conductor keys create NAME --org ${plain(org.id)}.`)
}, Effect.provide(tenancy))

/** `conductor orgs keep`. */
export const keepRuns = Effect.fnUntraced(function*(id: string, days: number | null) {
  const output = yield* Output
  yield* (yield* Orgs).retain(OrgId.make(id), days)
  yield* output.line(`Finished runs of "${plain(id)}" are kept ${kept(days)}.`)
}, Effect.provide(tenancy))

const told = (gone: Gone): string =>
  `${counted(gone.runs, "run")} (${counted(gone.events, "event")}, ${counted(gone.calls, "attempt")}, ${counted(gone.commands, "message")}), ${counted(gone.sessions, "session")}`

/** `conductor prune`. */
export const pruneRuns = Effect.fnUntraced(function*(input: {
  readonly olderThan: Option.Option<number>
  readonly dryRun: boolean
  readonly json: boolean
  readonly org: Option.Option<string>
}) {
  const output = yield* Output
  const orgs = yield* Orgs
  const retention = yield* Retention
  const now = yield* Clock.currentTimeMillis
  const one = yield* CurrentOrg
  const all = Option.isNone(input.org) ? yield* orgs.list : Option.toArray(yield* orgs.find(one))
  if (Option.isSome(input.org) && all.length === 0) return yield* new OrgNotFound({ org: one })
  const due = all.flatMap((org) => {
    const age = Option.getOrElse(input.olderThan, () => org.retentionDays === null ? undefined : org.retentionDays * day)
    return age === undefined ? [] : [{ org, before: now - age }]
  })
  if (due.length === 0) {
    return yield* failed(`Nothing says how long runs are kept${Option.isSome(input.org) ? ` in "${plain(one)}"` : ""}: give --older-than 90d, or set it with conductor orgs keep ${Option.isSome(input.org) ? plain(one) : "ORG"} 90d.`)
  }
  for (const { before, org } of due) {
    const gone = yield* input.dryRun ? retention.count(org.id, before) : retention.prune(org.id, before)
    yield* output.line(input.json
      ? JSON.stringify({ org: org.id, before, dryRun: input.dryRun, ...gone })
      : `${plain(org.id)}: ${told(gone)} ${input.dryRun ? "would be" : "were"} deleted, of before ${time(before)} UTC`)
  }
  const left = all.length - due.length
  if (left > 0 && !input.json) yield* output.note(`${counted(left, "other organisation")} ${left === 1 ? "keeps its" : "keep their"} runs for good: see conductor orgs.`)
}, Effect.provide(tenancy))
