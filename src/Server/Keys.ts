import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type KeyRow } from "../Api.ts"
import { type ApiKey, CurrentOrg, CurrentPrincipal, Keys } from "../Org.ts"

const rowOf = (key: ApiKey): KeyRow => key

/** Handlers of API keys. */
export const layer = HttpApiBuilder.group(Api, "keys", Effect.fnUntraced(function*(handlers) {
  const keys = yield* Keys
  return handlers.handleAll({
    list: Effect.fn("Api.keys")(function*() {
      return { keys: (yield* keys.list(yield* CurrentOrg)).map(rowOf) }
    }),
    create: Effect.fn("Api.newKey")(function*({ payload }) {
      // The key that asks has an organisation, so there is one.
      const { key, record } = yield* Effect.catchTag(keys.create({ ...payload, org: yield* CurrentOrg }), "OrgNotFound", Effect.die)
      return { key: Redacted.value(key), record: rowOf(record) }
    }),
    revoke: Effect.fn("Api.revokeKey")(function*({ params }) {
      return rowOf(yield* keys.revoke(yield* CurrentOrg, params.id, yield* CurrentPrincipal))
    })
  })
}))
