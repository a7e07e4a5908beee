import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { AuditLog } from "../AuditLog.ts"
import { clean, OrgId, type StorageFailed } from "../Run.ts"
import { CurrentPrincipal } from "./Current.ts"
import { KeyInvalid, KeyNotFound, KeyRefused, OrgNotFound, type RateLimited } from "./Error.ts"
import { makeMemory } from "./Memory.ts"
import { maxName } from "./Orgs.ts"
import { makeRate } from "./Rate.ts"
import { hashOf, makeKey, maxLength, minLength, prefixOf } from "./Secret.ts"
import { makeSql } from "./Sql.ts"
import { type ApiKey, KeyId, type Scope, type Tenants } from "./Tenants.ts"

/** For how long what is known of a key is taken for true: within this time its revocation reaches the other processes. */
export const KeyMemory = Context.Reference<Duration.Duration>("conductor-ai/Org/KeyMemory", { defaultValue: () => Duration.seconds(5) })

/** Requests a minute that a key may make which says nothing of its own. */
export const KeyRate = Context.Reference<number>("conductor-ai/Org/KeyRate", { defaultValue: () => 6_000 })

/** The most requests a minute, which is as much as the database counts. */
const maxRate = 2_147_483_647

/** Keys that are remembered at a time. */
const capacity = 10_000

/** Who makes a request: a key, for its organisation. */
export interface Principal {
  readonly org: OrgId
  readonly id: KeyId
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  readonly requestsPerMinute: number
}

/** The principal as runs and the audit trail name it. */
export const principalOf = ({ id }: Pick<Principal, "id">): string => `key:${id}`

/** The key that such a name is of; nothing where it is of somebody else. */
export const keyOf = (principal: string): KeyId | undefined =>
  principal.startsWith("key:") ? KeyId.make(principal.slice("key:".length)) : undefined

/** Whether somebody may do what needs a scope; an administrator may do everything. */
export const allows = ({ scopes }: Pick<Principal, "scopes">, scope: Scope): boolean =>
  scopes.includes(scope) || scopes.includes("admin")

/** A key to make. */
export interface NewKey {
  readonly org: OrgId
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  /** Milliseconds since 1970; a key without it has no end. */
  readonly expiresAt?: number
  readonly requestsPerMinute?: number
}

/** A key that was just made. */
export interface Made {
  /** Shown once: it is not kept, and cannot be found out again. */
  readonly key: Redacted.Redacted
  readonly record: ApiKey
}

/** What the first start of a server made. */
export interface Bootstrapped {
  readonly org: OrgId
  /** The first key, where it was made just now; nothing where there are keys, or where the environment gave one. */
  readonly key: Option.Option<Made>
}

const problemOf = ({ expiresAt, name, requestsPerMinute, scopes }: NewKey, now: number): string | undefined => {
  if (name.trim() === "" || name.length > maxName) return `its name has 1 to ${maxName} characters.`
  if (scopes.length === 0) return "it has no scope, so nothing could be done with it; give it one of runs:write, runs:read, approvals:decide and admin."
  if (expiresAt !== undefined && expiresAt <= now) return `it would have expired at ${DateTime.formatIso(DateTime.makeUnsafe(expiresAt))}; give a time to come.`
  if (requestsPerMinute !== undefined && (!Number.isSafeInteger(requestsPerMinute) || requestsPerMinute < 1 || requestsPerMinute > maxRate)) {
    return `its requests a minute are a whole number from 1 to ${maxRate}.`
  }
  return undefined
}

/** Why a key lets nobody in, if so. */
const refusalOf = ({ expiresAt, revokedAt }: Pick<ApiKey, "expiresAt" | "revokedAt">, now: number): "revoked" | "expired" | undefined => {
  if (revokedAt !== null) return "revoked"
  return expiresAt !== null && expiresAt <= now ? "expired" : undefined
}

const makeKeys = Effect.fnUntraced(function*(tenants: Tenants) {
  const audit = yield* AuditLog
  const random = yield* SecureRandom.SecureRandom
  const letThrough = makeRate(tenants)
  const memory = yield* KeyMemory
  const rate = yield* KeyRate

  /** Keys by the hex of their hash. Failures, and keys that are not there, are not remembered. */
  const known = yield* Cache.makeWith((hash: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => tenants.used(Buffer.from(hash, "hex"), now)), {
    capacity,
    timeToLive: (exit) => Exit.isSuccess(exit) && Option.isSome(exit.value) ? memory : Duration.zero
  })

  const keysOf = yield* Cache.makeWith((org: OrgId) => tenants.keys(org), {
    capacity,
    timeToLive: (exit) => Exit.isSuccess(exit) ? memory : Duration.zero
  })

  /** Writes a key and the row of the audit trail about it, within a transaction. */
  const write = Effect.fnUntraced(function*(wanted: NewKey, key: Redacted.Redacted, principal: string) {
    const createdAt = yield* Clock.currentTimeMillis
    const record: ApiKey = {
      id: KeyId.make(yield* random.uuidV7()),
      org: wanted.org,
      name: clean(wanted.name.trim()),
      prefix: prefixOf(key),
      scopes: [...new Set(wanted.scopes)],
      requestsPerMinute: wanted.requestsPerMinute ?? null,
      createdAt,
      createdBy: principal,
      expiresAt: wanted.expiresAt ?? null,
      revokedAt: null,
      revokedBy: null,
      lastUsedAt: null
    }
    yield* tenants.insertKey(record, hashOf(key))
    const { expiresAt, name, prefix, requestsPerMinute, scopes } = record
    yield* audit.append({
      org: record.org,
      principal,
      action: "admin",
      name: "key.create",
      target: principalOf(record),
      input: { name, prefix, scopes, expiresAt, requestsPerMinute }
    })
    return { key, record }
  })

  const create = Effect.fn("Keys.create")(function*(wanted: NewKey) {
    const problem = problemOf(wanted, yield* Clock.currentTimeMillis)
    if (problem !== undefined) return yield* new KeyInvalid({ problem })
    const key = yield* Effect.provideService(makeKey, SecureRandom.SecureRandom, random)
    const principal = yield* CurrentPrincipal
    return yield* tenants.atomic(Effect.gen(function*() {
      if (Option.isNone(yield* tenants.org(wanted.org))) return yield* new OrgNotFound({ org: wanted.org })
      return yield* write(wanted, key, principal)
    }))
  })

  const revoke = Effect.fn("Keys.revoke")(function*(org: OrgId, id: string, by: string) {
    const at = yield* Clock.currentTimeMillis
    return yield* tenants.atomic(Effect.gen(function*() {
      const revoked = yield* tenants.revoke(org, KeyId.make(id), by, at)
      if (Option.isNone(revoked)) return yield* new KeyNotFound({ key: id })
      const { isFirst, key } = revoked.value
      if (isFirst) yield* audit.append({ org, principal: by, action: "admin", name: "key.revoke", target: principalOf(key), input: { name: key.name } })
      return key
    })).pipe(
      // Also where whoever asked for it did not wait for the answer.
      Effect.ensuring(Effect.andThen(Cache.invalidateAll(known), Cache.invalidateAll(keysOf)))
    )
  })

  const verify = Effect.fn("Keys.verify")(function*(key: Redacted.Redacted): Effect.fn.Return<Principal, KeyRefused | StorageFailed> {
    const { length } = Redacted.value(key)
    if (length < minLength || length > maxLength) return yield* new KeyRefused({ reason: "unknown" })
    const hash = Buffer.from(hashOf(key)).toString("hex")
    const found = yield* Cache.get(known, hash)
    if (Option.isNone(found)) return yield* new KeyRefused({ reason: "unknown" })
    const { id, name, org, requestsPerMinute, scopes } = found.value
    const reason = refusalOf(found.value, yield* Clock.currentTimeMillis)
    if (reason !== undefined) return yield* new KeyRefused({ reason })
    return { org, id, name, scopes, requestsPerMinute: requestsPerMinute ?? rate }
  })

  const stands = Effect.fn("Keys.stands")(function*(org: OrgId, id: KeyId) {
    const now = yield* Clock.currentTimeMillis
    const key = (yield* Cache.get(keysOf, org)).find((one) => one.id === id)
    return key !== undefined && refusalOf(key, now) === undefined
  })

  const bootstrap = Effect.fn("Keys.bootstrap")(function*(given: Option.Option<Redacted.Redacted>) {
    const org = OrgId.make("local")
    const now = yield* Clock.currentTimeMillis
    if (Option.isSome(given)) {
      const text = Redacted.value(given.value)
      if (text.length < minLength || text.length > maxLength || /\s/.test(text)) {
        const problem = `CONDUCTOR_API_KEY has ${minLength} to ${maxLength} characters and no space; take what "openssl rand -hex 32" prints, or leave it out to have a key made.`
        return yield* new KeyInvalid({ problem })
      }
    }
    const principal = "bootstrap"
    const key = Option.isSome(given) ? given.value : yield* Effect.provideService(makeKey, SecureRandom.SecureRandom, random)
    return yield* tenants.atomic(Effect.gen(function*(): Effect.fn.Return<Bootstrapped, StorageFailed> {
      const none: Bootstrapped = { org, key: Option.none() }
      yield* tenants.insertOrg({ id: org, name: org, createdAt: now, retentionDays: null })
      // Two processes that start at the same time make one first key.
      yield* tenants.lock(org)
      if (Option.isSome(given)) {
        const known = yield* tenants.used(hashOf(key), now)
        if (Option.isNone(known)) yield* write({ org, name: "CONDUCTOR_API_KEY", scopes: ["admin"] }, key, principal)
        return none
      }
      if ((yield* tenants.keys(org)).length > 0) return none
      return { org, key: Option.some(yield* write({ org, name: "first key", scopes: ["admin"] }, key, principal)) }
    }))
  })

  return Keys.of({
    create,
    list: Effect.fn("Keys.list")((org) => tenants.keys(org)),
    revoke,
    verify,
    stands,
    admit: ({ id, requestsPerMinute }) => letThrough(id, requestsPerMinute),
    bootstrap
  })
})

/** The keys by which programs and people are let in, each for one organisation. */
export class Keys extends Context.Service<Keys, {
  /** Makes a key, as the current principal. It is answered once, and only its hash is kept. */
  readonly create: (key: NewKey) => Effect.Effect<Made, KeyInvalid | OrgNotFound | StorageFailed>
  /** The keys of an organisation, newest first, also those that are revoked or expired. */
  readonly list: (org: OrgId) => Effect.Effect<ReadonlyArray<ApiKey>, StorageFailed>
  /** Revokes a key: at once in this process, in others within `KeyMemory` (5 s). Again is harmless. */
  readonly revoke: (org: OrgId, id: string, by: string) => Effect.Effect<ApiKey, KeyNotFound | StorageFailed>
  /** Who a key stands for. Its use is written down at most once a minute. */
  readonly verify: (key: Redacted.Redacted) => Effect.Effect<Principal, KeyRefused | StorageFailed>
  /** Whether a key of an organisation would let anybody in, as far as is known (`KeyMemory`). */
  readonly stands: (org: OrgId, id: KeyId) => Effect.Effect<boolean, StorageFailed>
  /** Counts a request of a key against its requests a minute, of which it may make all at once. All processes count together. */
  readonly admit: (principal: Pick<Principal, "id" | "requestsPerMinute">) => Effect.Effect<void, RateLimited | StorageFailed>
  /**
   * Makes the organisation `local` and its first key, unless it has one: a new key, which is answered, or the given one, which is
   * written down if it is not known yet and stays refused if it was revoked. What starts twice makes one key.
   */
  readonly bootstrap: (given: Option.Option<Redacted.Redacted>) => Effect.Effect<Bootstrapped, KeyInvalid | StorageFailed>
}>()("conductor-ai/Org/Keys") {
  /** Keys in Postgres. */
  static readonly layer = Layer.effect(Keys, Effect.flatMap(makeSql, makeKeys))

  /** Keys in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Keys, Effect.flatMap(makeMemory, makeKeys))
}
