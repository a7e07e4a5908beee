import * as HttpApi from "effect/http-api/HttpApi"
import * as OpenApi from "effect/http-api/OpenApi"
import { Failures } from "./Api/Failures.ts"
import { Runs } from "./Api/Runs.ts"
import { System } from "./Api/System.ts"

export * from "./Api/Authorization.ts"
export * from "./Api/Error.ts"
export * from "./Api/Failures.ts"
export * from "./Api/Runs.ts"

/** The HTTP API as a contract: what can be asked, what is answered, what can go wrong. */
export class Api extends HttpApi.make("conductor")
  .add(Runs)
  .add(System)
  .middleware(Failures)
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotateMerge(OpenApi.annotations({
    title: "Conductor",
    description: "Agents whose runs are durable, priced and audited."
  }))
{}
