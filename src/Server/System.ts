import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, Forbidden } from "../Api.ts"
import { Conductor } from "../Conductor.ts"
import { CurrentOrg } from "../Org.ts"
import * as Telemetry from "../Telemetry.ts"
import { Draining } from "./Draining.ts"

/** Handlers for whoever watches over the server. */
export const layer = HttpApiBuilder.group(Api, "system", Effect.fnUntraced(function*(handlers) {
  const conductor = yield* Conductor
  const draining = yield* Draining
  // Anybody may ask, as often as they like: the database is asked once a second.
  const answers = yield* Effect.cachedWithTTL(conductor.list({ limit: 1 }), "1 second")
  return handlers.handleAll({
    health: () => Effect.succeed({ status: "healthy" } as const),
    ready: Effect.fn("Api.ready")(function*() {
      yield* draining.check
      yield* answers
      return { status: "ready" } as const
    })
  })
}))

/** Handlers of metrics, which are of the whole process: for the organisation of whoever runs it. */
export const layerMetrics = HttpApiBuilder.group(Api, "metrics", (handlers) =>
  handlers.handle("metrics", Effect.fn("Api.metrics")(function*() {
    if ((yield* CurrentOrg) !== "local") return yield* new Forbidden({ scope: "admin of the organisation local" })
    return yield* Telemetry.prometheus
  })))
