import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OrgId } from "../Run.ts"
import { Tables } from "../RunLog.ts"
import { filled } from "./Rate.ts"
import { type Allowance, type ApiKey, type KeyId, type Org, type Tenants, useInterval } from "./Tenants.ts"

const textOf = (hash: Uint8Array) => Buffer.from(hash).toString("hex")

/** Organisations and keys in process memory. */
export const makeMemory = Effect.map(Tables, (tables): Tenants => {
  const orgs = tables.get("organizations", () => new Map<OrgId, Org>())
  const keys = tables.get("api_keys", () => new Map<KeyId, ApiKey>())
  const hashes = tables.get("api_key_hashes", () => new Map<string, KeyId>())
  const allowances = tables.get("api_key_rates", () => new Map<KeyId, Allowance>())
  const find = (id: KeyId | undefined) => id === undefined ? undefined : keys.get(id)
  const change = (key: ApiKey, change: Partial<ApiKey>): ApiKey => {
    const changed = { ...key, ...change }
    keys.set(key.id, changed)
    return changed
  }
  return {
    atomic: (effect) => effect,
    insertOrg: (org) =>
      Effect.sync(() => {
        if (orgs.has(org.id)) return false
        orgs.set(org.id, org)
        return true
      }),
    org: (id) => Effect.sync(() => Option.fromUndefinedOr(orgs.get(id))),
    orgs: Effect.sync(() => [...orgs.values()].toSorted((a, b) => a.id < b.id ? -1 : 1)),
    retain: (id, retentionDays) =>
      Effect.sync(() => {
        const org = orgs.get(id)
        if (org !== undefined) orgs.set(id, { ...org, retentionDays })
        return org !== undefined
      }),
    lock: () => Effect.void,
    insertKey: (key, hash) =>
      Effect.sync(() => {
        keys.set(key.id, key)
        hashes.set(textOf(hash), key.id)
      }),
    used: (hash, at) =>
      Effect.sync(() => {
        const key = find(hashes.get(textOf(hash)))
        if (key === undefined) return Option.none()
        const isGood = key.revokedAt === null && (key.expiresAt === null || key.expiresAt > at)
        if (isGood && (key.lastUsedAt === null || key.lastUsedAt <= at - useInterval)) change(key, { lastUsedAt: at })
        return Option.some(key)
      }),
    take: (id, { at, back, count, limit }) =>
      Effect.sync(() => {
        const before = allowances.get(id) ?? { tokens: limit, at }
        const there = Math.min(limit, filled(before, limit, at) + back)
        const taken = Math.min(count, Math.floor(there))
        allowances.set(id, { tokens: there - taken, at: Math.max(before.at, at) })
        return { taken, tokens: there - taken }
      }),
    keys: (org) =>
      Effect.sync(() =>
        [...keys.values()].filter((key) => key.org === org)
          .toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1))),
    revoke: (org, id, revokedBy, revokedAt) =>
      Effect.sync(() => {
        const key = keys.get(id)
        if (key?.org !== org) return Option.none()
        return key.revokedAt === null
          ? Option.some({ key: change(key, { revokedAt, revokedBy }), isFirst: true })
          : Option.some({ key, isFirst: false })
      })
  }
})
