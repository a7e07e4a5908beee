import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api } from "../Api.ts"
import { Conductor } from "../Conductor.ts"
import { Draining } from "./Draining.ts"

/** Handlers for whoever watches over the server. */
export const layer = HttpApiBuilder.group(Api, "system", Effect.fnUntraced(function*(handlers) {
  const conductor = yield* Conductor
  const draining = yield* Draining
  return handlers.handleAll({
    health: () => Effect.succeed({ status: "healthy" } as const),
    ready: Effect.fn("Api.ready")(function*() {
      yield* draining.check
      yield* conductor.list({ limit: 1 })
      return { status: "ready" } as const
    })
  })
}))
