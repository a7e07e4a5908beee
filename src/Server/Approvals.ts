import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type ApprovalRequest } from "../Api.ts"
import { askedFor } from "../Approval.ts"
import { AuditLog } from "../AuditLog.ts"
import { Conductor } from "../Conductor.ts"
import { isAbout } from "./Request.ts"

/** Handlers of requests for approval. */
export const layer = HttpApiBuilder.group(Api, "approvals", Effect.fnUntraced(function*(handlers) {
  const conductor = yield* Conductor
  const audit = yield* AuditLog
  return handlers.handleAll({
    list: Effect.fn("Api.approvals")(function*({ query: { limit = 50 } }) {
      const requests = yield* conductor.approvals({ limit })
      const approvals = yield* Effect.forEach(requests, Effect.fnUntraced(function*(request) {
        const { agent, call, createdAt, digest, expiresAt, id, run, tool } = request
        const parameters = yield* Effect.provideService(askedFor(request), AuditLog, audit)
        return { id, run, agent, tool, call, parameters, digest, createdAt, expiresAt } satisfies ApprovalRequest
      }))
      return { approvals }
    }),
    decide: Effect.fn("Api.decide")(function*({ params, payload }) {
      const run = yield* conductor.decide(params.id.toLowerCase(), payload)
      yield* isAbout({ run })
      return { run }
    })
  })
}))
