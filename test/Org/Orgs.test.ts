import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { AuditLog } from "../../src/AuditLog.ts"
import { CurrentPrincipal, Orgs } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import { tenants } from "../support/tenants.ts"

for (const { layer: store, name } of tenants) {
  layer(store)(`Orgs (${name})`, (it) => {
    it.effect("are made once, found and listed by id", () =>
      Effect.gen(function*() {
        const orgs = yield* Orgs
        yield* orgs.create("globex", "Globex")
        const acme = yield* orgs.create("acme", " Acme, Inc. ", { retentionDays: 90 })
        assert.deepInclude(acme, { id: OrgId.make("acme"), name: "Acme, Inc.", retentionDays: 90 })
        assert.deepStrictEqual(yield* orgs.find(acme.id), Option.some(acme))
        assert.deepStrictEqual(yield* orgs.find(OrgId.make("nobody")), Option.none())
        assert.deepStrictEqual((yield* orgs.list).map((org) => org.id), ["acme", "globex"])
        const again = yield* Effect.flip(orgs.create("acme", "Another"))
        assert.strictEqual(again._tag, "OrgExists")
        assert.include(again.message, "choose another id")
      }))

    it.effect("have an id that fits in a URL, and a name", () =>
      Effect.gen(function*() {
        const orgs = yield* Orgs
        for (const [id, name] of [["", "x"], ["a/b", "x"], ["org:x", "x"], ["-a", "x"], ["a".repeat(64), "x"], ["fine", " "], ["fine", "x".repeat(201)]] as const) {
          assert.strictEqual((yield* Effect.flip(orgs.create(id, name)))._tag, "OrgInvalid", `${id} ${name.length}`)
        }
      }))

    it.effect("keep finished runs for as many days as they are told, which the audit trail knows", () =>
      Effect.gen(function*() {
        const orgs = yield* Orgs
        const { id } = yield* Effect.provideService(orgs.create("retained", "Retained"), CurrentPrincipal, "user:ann")
        yield* Effect.provideService(orgs.retain(id, 30), CurrentPrincipal, "user:ben")
        assert.strictEqual(Option.getOrThrow(yield* orgs.find(id)).retentionDays, 30)
        yield* orgs.retain(id, null)
        assert.strictEqual(Option.getOrThrow(yield* orgs.find(id)).retentionDays, null)
        assert.strictEqual((yield* Effect.flip(orgs.retain(OrgId.make("nobody"), 1)))._tag, "OrgNotFound")
        for (const days of [0, -1, 1.5, 2 ** 31, Number.NaN]) {
          const errors = [yield* Effect.flip(orgs.retain(id, days)), yield* Effect.flip(orgs.create("brief", "Brief", { retentionDays: days }))]
          for (const error of errors) {
            assert.strictEqual(error._tag, "OrgInvalid", String(days))
            assert.match(error.message, /a whole number of days from 1/)
          }
        }
        const rows = yield* (yield* AuditLog).list({ org: id, limit: 10 })
        assert.deepStrictEqual(rows.map((row) => [row.tool, row.principal, row.target, row.input]), [
          ["org.retain", "local", "org:retained", { retentionDays: null }],
          ["org.retain", "user:ben", "org:retained", { retentionDays: 30 }],
          ["org.create", "user:ann", "org:retained", { name: "Retained" }]
        ])
      }))
  })
}
