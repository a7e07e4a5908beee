import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiScalar from "effect/http-api/HttpApiScalar"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as UrlParams from "effect/http/UrlParams"
import { Api, type ApiError, Failures } from "./Api.ts"
import { Idempotency } from "./Idempotency.ts"
import * as Approvals from "./Server/Approvals.ts"
import * as Audit from "./Server/Audit.ts"
import * as Budgets from "./Server/Budgets.ts"
import * as Catalogue from "./Server/Catalogue.ts"
import { answering } from "./Server/Answer.ts"
import * as Dashboard from "./Server/Dashboard.ts"
import { Draining } from "./Server/Draining.ts"
import { Origins } from "./Server/Cors.ts"
import { makeDoor } from "./Server/Door.ts"
import * as Guard from "./Server/Guard.ts"
import * as Keys from "./Server/Keys.ts"
import { Limits } from "./Server/Limits.ts"
import { claim } from "./Server/Listeners.ts"
import * as Memories from "./Server/Memories.ts"
import { makeNodeServer } from "./Server/Node.ts"
import * as Runs from "./Server/Runs.ts"
import * as Sessions from "./Server/Sessions.ts"
import * as System from "./Server/System.ts"
import { Tickets } from "./Server/Ticket.ts"
import * as Usage from "./Server/Usage.ts"

export { Draining, Tickets }
export { originProblem } from "./Server/Cors.ts"
export { link, reachable } from "./Server/Dashboard.ts"
export { Limits, type RequestLimits } from "./Server/Limits.ts"

/** Where a server listens. */
export interface Options {
  /** `127.0.0.1` by default: nobody but programs of this machine. */
  readonly host?: string
  /** 8787 by default; 0 for any that is free. */
  readonly port?: number
  /** Origins whose pages may use it, as a browser names them, with scheme and port; none by default. */
  readonly origins?: ReadonlyArray<string>
}

/** Routes beside those of the API; what they fail with is answered in the same shape. */
export type Routes = Layer.Layer<never, never, HttpRouter.HttpRouter | HttpRouter.Request.From<"Error", ApiError> | HttpServer.HttpServer | Tickets>

/** Every error in one shape. */
const failures = Layer.succeed(Failures, (effect) => answering(effect))

/** Keys of requests that are a day old are forgotten, each hour. */
const upkeep = Layer.effectDiscard(Effect.gen(function*() {
  const { prune } = yield* Idempotency
  yield* Effect.forkScoped(Effect.repeat(Effect.ignore(prune), Schedule.spaced("1 hour")))
}))

/** What is in the address of a request and in no span. */
const unsaid = Layer.effect(UrlParams.CurrentRedactedNames, Effect.map(UrlParams.CurrentRedactedNames, (names) => [...names, Dashboard.ticketName]))

/** The paths of the API over a runtime, its documentation and its dashboard, as routes of a router. */
export const routes = Layer.mergeAll(
  Dashboard.layer,
  HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }),
  HttpApiScalar.layer(Api, { path: "/docs" }),
  HttpRouter.middleware(makeDoor, { global: true })
).pipe(
  Layer.provide(Layer.mergeAll(
    Approvals.layer, Audit.layer, Budgets.layer, Catalogue.layer, Dashboard.layerLinks, Keys.layer, Memories.layer, Runs.layer,
    Sessions.layer, System.layer, System.layerMetrics, Usage.layer
  )),
  Layer.provide(Layer.mergeAll(Guard.layer, failures)),
  Layer.provideMerge(upkeep)
)

/**
 * Serves the API of the runtime around it, for programs with agents of their own:
 *
 * ```ts
 * Layer.launch(Server.layer({ port: 8787 }).pipe(Layer.provide(Conductor.layer({ agents }))))
 * ```
 *
 * It does so until the scope ends: requests under way then have two seconds.
 */
export const layer = ({ host = "127.0.0.1", origins = [], port = 8787 }: Options = {}, more: Routes = Layer.empty) =>
  Layer.unwrap(Effect.gen(function*() {
    const limits = yield* Limits
    const { close, server } = makeNodeServer(limits)
    const listen = yield* claim(host, port)
    return HttpRouter.serve(Layer.merge(routes, more), {
      disableLogger: true,
      disableListenLog: true,
      // Names of sessions are as long as that when they are written in a path.
      routerConfig: { maxParamLength: 2_000 }
    }).pipe(
      Layer.merge(Layer.effectDiscard(Effect.andThen(HttpServer.HttpServer, server.share(listen)))),
      Layer.merge(Layer.effectDiscard(Effect.addFinalizer(() => close))),
      Layer.provideMerge(Layer.mergeAll(Draining.layer, Tickets.layer, unsaid)),
      Layer.provideMerge(NodeHttpServer.layerServer(() => server, { ...listen, gracefulShutdownTimeout: "3 seconds" })),
      Layer.provide(NodeHttpServer.layerHttpServices),
      Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(limits.bodyBytes))),
      Layer.provide(Layer.succeed(Origins, origins))
    )
  }))
