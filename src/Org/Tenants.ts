import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { OrgId, StorageFailed } from "../Run.ts"

/** Identifies an API key; a UUIDv7. It is no secret. */
export const KeyId = Schema.String.pipe(Schema.brand("KeyId"))
export type KeyId = typeof KeyId.Type

/** What a key may be used for; `admin` is everything. */
export const Scope = Schema.Literals(["runs:write", "runs:read", "approvals:decide", "admin"])
export type Scope = typeof Scope.Type

/** An organisation. Times are milliseconds since 1970. */
export interface Org {
  readonly id: OrgId
  readonly name: string
  readonly createdAt: number
  /** Days for which its finished runs are kept at least; null keeps them for good. */
  readonly retentionDays: number | null
}

/** What is known of an API key, which is not the key itself. Times are milliseconds since 1970. */
export interface ApiKey {
  readonly id: KeyId
  readonly org: OrgId
  readonly name: string
  /** The beginning of the key, to recognise it by. */
  readonly prefix: string
  readonly scopes: ReadonlyArray<Scope>
  /** Null is the default of the server. */
  readonly requestsPerMinute: number | null
  readonly createdAt: number
  readonly createdBy: string | null
  /** Null for a key without an end. */
  readonly expiresAt: number | null
  readonly revokedAt: number | null
  readonly revokedBy: string | null
  /** To the minute. */
  readonly lastUsedAt: number | null
}

/** Milliseconds within which the use of a key is written down once. */
export const useInterval = 60_000

/** The requests that a key may still make at a time, in milliseconds since 1970. */
export interface Allowance {
  readonly tokens: number
  readonly at: number
}

/** Requests that a process takes ahead of a key's allowance. */
export interface Take {
  /** Requests a minute. */
  readonly limit: number
  /** How many are wanted, 1 at least. */
  readonly count: number
  /** How many were taken before and not made. */
  readonly back: number
  readonly at: number
}

/** Where organisations and keys are kept: the part that differs between Postgres and memory. */
export interface Tenants {
  /** Everything in it is written or nothing is. */
  readonly atomic: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageFailed, R>
  /** False where there is one of that id. */
  readonly insertOrg: (org: Org) => Effect.Effect<boolean, StorageFailed>
  readonly org: (id: OrgId) => Effect.Effect<Option.Option<Org>, StorageFailed>
  readonly orgs: Effect.Effect<ReadonlyArray<Org>, StorageFailed>
  /** False where there is none of that id. */
  readonly retain: (id: OrgId, days: number | null) => Effect.Effect<boolean, StorageFailed>
  /** Holds an organisation until the end of the transaction. */
  readonly lock: (id: OrgId) => Effect.Effect<void, StorageFailed>
  readonly insertKey: (key: ApiKey, hash: Uint8Array) => Effect.Effect<void, StorageFailed>
  /** The key of a hash, whatever has become of it. One that is good has been used now, which is written down once a minute. */
  readonly used: (hash: Uint8Array, at: number) => Effect.Effect<Option.Option<ApiKey>, StorageFailed>
  /** Takes requests out of a key's allowance, as many as there are; how many, and what part of one is left where there is none. */
  readonly take: (id: KeyId, take: Take) => Effect.Effect<{ readonly taken: number; readonly tokens: number }, StorageFailed>
  /** The keys of an organisation, newest first. */
  readonly keys: (org: OrgId) => Effect.Effect<ReadonlyArray<ApiKey>, StorageFailed>
  /** The key as it then is; `isFirst` is false where it was revoked before. */
  readonly revoke: (org: OrgId, id: KeyId, by: string, at: number) => Effect.Effect<
    Option.Option<{ readonly key: ApiKey; readonly isFirst: boolean }>,
    StorageFailed
  >
}
