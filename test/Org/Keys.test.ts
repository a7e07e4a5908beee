import { assert, layer } from "@effect/vitest"
import { Clock, Effect, Option, Redacted, Result } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { AuditLog } from "../../src/AuditLog.ts"
import { allows, CurrentPrincipal, keyOf, Keys, type NewKey, Orgs, principalOf, RateLimited } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import { Another, tenants } from "../support/tenants.ts"

let count = 0

/** A key of an organisation of its own. */
const made = Effect.fnUntraced(function*(more: Partial<NewKey> = {}) {
  const { id } = yield* (yield* Orgs).create(`org-${++count}`, "An organisation")
  return yield* (yield* Keys).create({ org: id, name: "deploy", scopes: ["runs:write", "runs:read"], ...more })
})

const reasonOf = Effect.fnUntraced(function*(key: Redacted.Redacted) {
  const error = yield* Effect.flip((yield* Keys).verify(key))
  assert(error._tag === "KeyRefused")
  return error.reason
})

/** How a request was refused. */
const limitOf = Effect.fnUntraced(function*<A, E extends { readonly _tag: string }>(admitting: Effect.Effect<A, E>) {
  const error: { readonly _tag: string } = yield* Effect.flip(admitting)
  assert(error instanceof RateLimited)
  return { limit: error.limit, retryAfterMs: error.retryAfterMs }
})

const lastUse = Effect.fnUntraced(function*(org: OrgId) {
  const [key] = yield* (yield* Keys).list(org)
  return key?.lastUsedAt
})

for (const { layer: store, name } of tenants) {
  layer(store)(`Keys (${name})`, (it) => {
    it.effect("let in whom they stand for, with their scopes", () =>
      Effect.gen(function*() {
        const { key, record } = yield* made({ requestsPerMinute: 10 })
        assert.match(Redacted.value(key), /^ck_[0-9A-Za-z]{8}_[0-9A-Za-z]{40}$/)
        const principal = yield* (yield* Keys).verify(key)
        assert.deepStrictEqual(principal, {
          org: record.org,
          id: record.id,
          name: "deploy",
          scopes: ["runs:write", "runs:read"],
          requestsPerMinute: 10
        })
        assert.strictEqual(principalOf(principal), `key:${record.id}`)
        assert.deepStrictEqual([allows(principal, "runs:read"), allows(principal, "approvals:decide")], [true, false])
        assert.isTrue(allows({ scopes: ["admin"] }, "approvals:decide"))
      }))

    it.effect("are nowhere to be found again: what is kept and told is their prefix", () =>
      Effect.gen(function*() {
        const { key, record } = yield* made()
        const secret = Redacted.value(key)
        const listed = yield* (yield* Keys).list(record.org)
        const rows = yield* (yield* AuditLog).list({ org: record.org, limit: 10 })
        assert.deepStrictEqual(listed, [record])
        assert.isTrue(secret.startsWith(`${record.prefix}_`))
        assert.notInclude(JSON.stringify([listed, rows, key]), secret.slice(12))
        assert.include(JSON.stringify(rows), record.prefix)
      }))

    it.effect("that are unknown, also by one character, are refused", () =>
      Effect.gen(function*() {
        const { key } = yield* made()
        const text = Redacted.value(key)
        const wrong = text.slice(0, -1) + (text.endsWith("a") ? "b" : "a")
        for (const one of [wrong, text.slice(0, -1), `${text} `, "", "ck_", "x".repeat(10_000), "ck_12345678_" + "é".repeat(40), text.replace("_", "\u0000")]) {
          assert.strictEqual(yield* reasonOf(Redacted.make(one)), "unknown", one.slice(0, 60))
        }
        const error = yield* Effect.flip((yield* Keys).verify(Redacted.make(wrong)))
        assert.notInclude(`${JSON.stringify(error)} ${error.message}`, wrong.slice(12))
      }))

    it.effect("are refused once revoked, which is remembered with whoever did it first", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { key, record } = yield* made()
        yield* keys.verify(key)
        yield* keys.revoke(record.org, record.id, "user:ann")
        assert.strictEqual(yield* reasonOf(key), "revoked")
        const again = yield* keys.revoke(record.org, record.id, "user:ben")
        assert.strictEqual(again.revokedBy, "user:ann")
        const rows = yield* (yield* AuditLog).list({ org: record.org, limit: 10 })
        assert.deepStrictEqual(rows.map((row) => [row.tool, row.principal, row.target]), [
          ["key.revoke", "user:ann", principalOf(record)],
          ["key.create", "local", principalOf(record)],
          ["org.create", "local", `org:${record.org}`]
        ])
      }))

    it.effect("that are revoked are refused by every other process within five seconds", () =>
      Effect.gen(function*() {
        const another = yield* Another
        const { key, record } = yield* made()
        yield* another.verify(key)
        yield* (yield* Keys).revoke(record.org, record.id, "user:ann")
        yield* TestClock.adjust("5 seconds")
        assert.deepInclude(yield* Effect.flip(another.verify(key)), { reason: "revoked" })
      }))

    it.effect("stand until they are revoked or expire, for what was done in their name, in every process within five seconds", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const another = yield* Another
        const { record } = yield* made()
        const brief = yield* made({ expiresAt: 60_000 + (yield* Clock.currentTimeMillis) })
        const id = keyOf(principalOf(record))
        assert(id !== undefined)
        assert.deepStrictEqual([keyOf("user:ann"), keyOf("dashboard:1")], [undefined, undefined])
        for (const one of [keys, another]) {
          assert.isTrue(yield* one.stands(record.org, id))
          assert.isTrue(yield* one.stands(brief.record.org, brief.record.id))
        }
        assert.isFalse(yield* keys.stands(brief.record.org, id))
        yield* keys.revoke(record.org, record.id, "user:ann")
        assert.isFalse(yield* keys.stands(record.org, id))
        yield* TestClock.adjust("5 seconds")
        assert.isFalse(yield* another.stands(record.org, id))
        yield* TestClock.adjust("55 seconds")
        assert.isFalse(yield* keys.stands(brief.record.org, brief.record.id))
      }))

    it.effect("of another organisation are not there", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { key, record } = yield* made()
        const other = yield* made()
        assert.strictEqual((yield* Effect.flip(keys.revoke(other.record.org, record.id, "user:eve")))._tag, "KeyNotFound")
        assert.deepStrictEqual((yield* keys.list(other.record.org)).map(({ id }) => id), [other.record.id])
        assert.strictEqual((yield* keys.verify(key)).org, record.org)
      }))

    it.effect("are refused from the moment that they expire", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { key } = yield* made({ expiresAt: 60_000 + (yield* Clock.currentTimeMillis) })
        yield* TestClock.adjust("59 seconds")
        yield* keys.verify(key)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* reasonOf(key), "expired")
      }))

    it.effect("write down their last use at most once a minute", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { key, record } = yield* made()
        assert.strictEqual(yield* lastUse(record.org), null)
        const at = yield* Clock.currentTimeMillis
        yield* keys.verify(key)
        assert.strictEqual(yield* lastUse(record.org), at)
        for (let second = 0; second < 59; second++) {
          yield* TestClock.adjust("1 second")
          yield* keys.verify(key)
        }
        assert.strictEqual(yield* lastUse(record.org), at)
        yield* TestClock.adjust("6 seconds")
        yield* keys.verify(key)
        assert.strictEqual(yield* lastUse(record.org), at + 65_000)
      }))

    it.effect("are not made without a name, a scope, an organisation, or a time to come", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { record } = yield* made()
        const fine: NewKey = { org: record.org, name: "fine", scopes: ["admin"] }
        for (const wrong of [{ name: "" }, { name: "x".repeat(201) }, { scopes: [] }, { expiresAt: 0 }, { requestsPerMinute: 0 }, { requestsPerMinute: 1.5 }, { requestsPerMinute: 2 ** 31 }]) {
          const error = yield* Effect.flip(keys.create({ ...fine, ...wrong }))
          assert.strictEqual(error._tag, "KeyInvalid", JSON.stringify(wrong))
        }
        assert.strictEqual((yield* Effect.flip(keys.create({ ...fine, org: OrgId.make("nobody") })))._tag, "OrgNotFound")
        assert.deepStrictEqual((yield* keys.list(record.org)).map(({ name }) => name), ["deploy"])
      }))

    it.effect("make so many requests a minute, all at once or one after the other", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const { key } = yield* made({ requestsPerMinute: 3 })
        const principal = yield* keys.verify(key)
        yield* Effect.replicateEffect(keys.admit(principal), 3)
        assert.deepStrictEqual(yield* limitOf(keys.admit(principal)), { limit: 3, retryAfterMs: 20_000 })
        yield* TestClock.adjust("20 seconds")
        yield* keys.admit(principal)
        assert.deepStrictEqual(yield* limitOf(keys.admit(principal)), { limit: 3, retryAfterMs: 20_000 })
        // Another key has requests of its own.
        yield* keys.admit(yield* keys.verify((yield* made({ requestsPerMinute: 1 })).key))
      }))

    it.effect("make so many requests a minute at all processes together", () =>
      Effect.gen(function*() {
        const [keys, another] = [yield* Keys, yield* Another]
        const { key } = yield* made({ requestsPerMinute: 600 })
        const principal = yield* keys.verify(key)
        const admitted = (count: number) =>
          Effect.map(
            Effect.forEach(Array.from({ length: count }, (_, index) => index % 3 === 0 ? another : keys), (one) => Effect.result(one.admit(principal)), { concurrency: 20 }),
            (results) => results.filter(Result.isSuccess).length
          )
        assert.strictEqual(yield* admitted(900), 600)
        // What each has taken ahead and not used is given back, and lost to nobody.
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* admitted(300), 100)
        for (let second = 0; second < 60; second++) {
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* admitted(3), 3)
        }
        assert.strictEqual(yield* admitted(900), 600 - 60 * 3)
      }))

    it.effect("begin with one for the organisation local, made once also by two that start at the same time", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const both = yield* Effect.all([keys.bootstrap(Option.none()), keys.bootstrap(Option.none())], { concurrency: 2 })
        const first = both.flatMap(({ key }) => Option.isSome(key) ? [key.value] : [])
        assert.strictEqual(first.length, 1)
        assert.isTrue(Option.isNone((yield* keys.bootstrap(Option.none())).key))
        const [one] = first
        assert.isDefined(one)
        assert.deepInclude(yield* keys.verify(one.key), { org: OrgId.make("local"), scopes: ["admin"] as const })
        // Whoever revoked it does not get another by starting again.
        yield* Effect.provideService(keys.revoke(one.record.org, one.record.id, "user:ann"), CurrentPrincipal, "user:ann")
        assert.isTrue(Option.isNone((yield* keys.bootstrap(Option.none())).key))
      }))

    it.effect("begin with the one of the environment where it gives one, which stays refused once it was revoked", () =>
      Effect.gen(function*() {
        const keys = yield* Keys
        const given = Redacted.make("a-secret-of-the-deployment-7f3a9c21")
        for (let start = 0; start < 2; start++) assert.isTrue(Option.isNone((yield* keys.bootstrap(Option.some(given))).key))
        const { id, org } = yield* keys.verify(given)
        const mine = (yield* keys.list(org)).filter((key) => key.name === "CONDUCTOR_API_KEY")
        assert.deepStrictEqual(mine.map((key) => [key.id, key.prefix, key.createdBy]), [[id, "a-se…", "bootstrap"]])
        yield* keys.revoke(org, id, "user:ann")
        yield* keys.bootstrap(Option.some(given))
        assert.strictEqual(yield* reasonOf(given), "revoked")
        for (const weak of ["short", "x".repeat(31), "with a space ".repeat(4)]) {
          const error = yield* Effect.flip(keys.bootstrap(Option.some(Redacted.make(weak))))
          assert.include(error.message, "openssl rand")
          assert.notInclude(error.message, weak)
        }
      }))
  })
}
