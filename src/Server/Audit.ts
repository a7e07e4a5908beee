import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type AuditRow } from "../Api.ts"
import { AuditLog, type Entry } from "../AuditLog.ts"
import { CurrentOrg } from "../Org.ts"
import { SessionId } from "../Run.ts"

const rowOf = (row: Entry): AuditRow => ({ ...row, input: JSON.parse(JSON.stringify(row.input)) })

const anchorOf = (text: string) => {
  const [n, hash = ""] = text.split(":")
  return { n: Number(n), hash: hash.toLowerCase() }
}

/** Handlers of the audit trail. */
export const layer = HttpApiBuilder.group(Api, "audit", Effect.fnUntraced(function*(handlers) {
  const audit = yield* AuditLog
  return handlers.handleAll({
    list: Effect.fn("Api.audit")(function*({ query: { limit = 50, session, success, ...filter } }) {
      const rows = yield* audit.list({
        org: yield* CurrentOrg,
        limit: limit + 1,
        ...filter,
        ...(session === undefined ? {} : { session: SessionId.make(session) }),
        ...(success === undefined ? {} : { success: success === "true" })
      })
      const page = rows.slice(0, limit)
      return { rows: page.map(rowOf), next: rows.length > limit ? page.at(-1)?.n ?? null : null }
    }),
    verify: Effect.fn("Api.verify")(function*({ query: { expect } }) {
      const report = yield* audit.verify({ org: yield* CurrentOrg, ...(expect === undefined ? {} : { expect: anchorOf(expect) }) })
      return { rows: report.rows, head: report.head, broken: report.broken ?? null }
    })
  })
}))
