import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { AuditLog } from "../AuditLog.ts"
import { clean, OrgId, type StorageFailed } from "../Run.ts"
import { CurrentPrincipal } from "./Current.ts"
import { OrgExists, OrgInvalid, OrgNotFound } from "./Error.ts"
import { makeMemory } from "./Memory.ts"
import { makeSql } from "./Sql.ts"
import type { Org, Tenants } from "./Tenants.ts"

const pattern = /^[a-z0-9][a-z0-9._-]{0,62}$/i

/** The longest name of an organisation or a key, in characters. */
export const maxName = 200

/** The most days that the database counts; more than five million years. */
const maxDays = 2_147_483_647

const checkDays = (org: string, days: number | null): Effect.Effect<void, OrgInvalid> =>
  days === null || (Number.isSafeInteger(days) && days >= 1 && days <= maxDays)
    ? Effect.void
    : Effect.fail(new OrgInvalid({ org, problem: `its runs are kept for a whole number of days from 1 to ${maxDays}, or for good.` }))

const makeOrgs = Effect.fnUntraced(function*(tenants: Tenants) {
  const audit = yield* AuditLog

  const create = Effect.fn("Orgs.create")(function*(id: string, name: string, options?: { readonly retentionDays?: number }) {
    if (!pattern.test(id)) {
      const problem = "an id has 1 to 63 letters, digits, dots, dashes or underscores, and begins with a letter or a digit."
      return yield* new OrgInvalid({ org: id, problem })
    }
    if (name.trim() === "" || name.length > maxName) {
      return yield* new OrgInvalid({ org: id, problem: `its name has 1 to ${maxName} characters.` })
    }
    const retentionDays = options?.retentionDays ?? null
    yield* checkDays(id, retentionDays)
    const org: Org = { id: OrgId.make(id), name: clean(name.trim()), createdAt: yield* Clock.currentTimeMillis, retentionDays }
    const principal = yield* CurrentPrincipal
    return yield* tenants.atomic(Effect.gen(function*() {
      if (!(yield* tenants.insertOrg(org))) return yield* new OrgExists({ org: id })
      const input = { name: org.name, ...(retentionDays === null ? {} : { retentionDays }) }
      yield* audit.append({ org: org.id, principal, action: "admin", name: "org.create", target: `org:${id}`, input })
      return org
    }))
  })

  const retain = Effect.fn("Orgs.retain")(function*(id: OrgId, retentionDays: number | null) {
    yield* checkDays(id, retentionDays)
    const principal = yield* CurrentPrincipal
    yield* tenants.atomic(Effect.gen(function*() {
      if (!(yield* tenants.retain(id, retentionDays))) return yield* new OrgNotFound({ org: id })
      yield* audit.append({ org: id, principal, action: "admin", name: "org.retain", target: `org:${id}`, input: { retentionDays } })
    }))
  })

  return Orgs.of({
    create,
    retain,
    find: Effect.fn("Orgs.find")((id) => tenants.org(id)),
    list: tenants.orgs
  })
})

/** The organisations, which share a database and see nothing of each other. */
export class Orgs extends Context.Service<Orgs, {
  /** Makes an organisation, as the current principal. */
  readonly create: (id: string, name: string, options?: { readonly retentionDays?: number }) => Effect.Effect<
    Org,
    OrgInvalid | OrgExists | StorageFailed
  >
  readonly find: (id: OrgId) => Effect.Effect<Option.Option<Org>, StorageFailed>
  /** All of them, by id: those that were made, and on a database also those that something was only run for. */
  readonly list: Effect.Effect<ReadonlyArray<Org>, StorageFailed>
  /** Sets for how many days finished runs are kept; null keeps them for good. As the current principal. */
  readonly retain: (id: OrgId, days: number | null) => Effect.Effect<void, OrgInvalid | OrgNotFound | StorageFailed>
}>()("conductor-ai/Org/Orgs") {
  /** Organisations in Postgres. */
  static readonly layer = Layer.effect(Orgs, Effect.flatMap(makeSql, makeOrgs))

  /** Organisations in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Orgs, Effect.flatMap(makeMemory, makeOrgs))
}
