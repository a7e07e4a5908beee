import * as HttpApi from "effect/http-api/HttpApi"
import * as OpenApi from "effect/http-api/OpenApi"
import { Approvals } from "./Api/Approvals.ts"
import { Audit } from "./Api/Audit.ts"
import { Budgets } from "./Api/Budgets.ts"
import { Catalogue } from "./Api/Catalogue.ts"
import { Dashboard } from "./Api/Dashboard.ts"
import { Failures } from "./Api/Failures.ts"
import { ApiKeys } from "./Api/Keys.ts"
import { Memories } from "./Api/Memories.ts"
import { Runs } from "./Api/Runs.ts"
import { Sessions } from "./Api/Sessions.ts"
import { Metrics, System } from "./Api/System.ts"
import { Usage } from "./Api/Usage.ts"

export * from "./Api/Approvals.ts"
export * from "./Api/Audit.ts"
export * from "./Api/Authorization.ts"
export * from "./Api/Budgets.ts"
export * from "./Api/Catalogue.ts"
export * from "./Api/Error.ts"
export * from "./Api/Failures.ts"
export * from "./Api/Keys.ts"
export * from "./Api/Memories.ts"
export * from "./Api/Runs.ts"
export * from "./Api/Sessions.ts"
export * from "./Api/Usage.ts"

/** The HTTP API as a contract: what can be asked, what is answered, what can go wrong. */
export class Api extends HttpApi.make("conductor")
  .add(Runs, Sessions, Memories, Approvals, Catalogue, Audit, Usage, Budgets, ApiKeys, Dashboard, System, Metrics)
  .middleware(Failures)
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotateMerge(OpenApi.annotations({
    title: "Conductor",
    description: "Agents whose runs are durable, priced and audited."
  }))
{}
