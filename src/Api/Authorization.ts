import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import { common } from "./Error.ts"

/** What a key may do; `admin` may do everything. */
export const Scope = Schema.Literals(["runs:write", "runs:read", "approvals:decide", "admin"])
export type Scope = typeof Scope.Type

/** The scope that an endpoint needs, as its annotation. */
export const Needs = Context.Reference<Scope>("conductor-ai/Api/Needs", { defaultValue: () => "admin" })

/**
 * Lets requests through whose key is good for the endpoint, as what is done for the key's organisation. The dashboard's browsers have
 * a cookie instead, which reads runs and decides on approvals.
 */
export class Authorization extends HttpApiMiddleware.Service<Authorization>()("conductor-ai/Api/Authorization", {
  security: { bearer: HttpApiSecurity.bearer },
  error: common
}) {}
