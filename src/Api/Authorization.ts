import * as Context from "effect/Context"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import { common } from "./Error.ts"

/** What a key may do; `admin` may do everything. */
export type Scope = "runs:write" | "runs:read" | "approvals:decide" | "admin"

/** The scope that an endpoint needs, as its annotation. */
export const Needs = Context.Reference<Scope>("conductor-ai/Api/Needs", { defaultValue: () => "admin" })

/** Lets requests through whose key is good for the endpoint, as what is done for the key's organisation. */
export class Authorization extends HttpApiMiddleware.Service<Authorization>()("conductor-ai/Api/Authorization", {
  security: { bearer: HttpApiSecurity.bearer },
  error: common
}) {}
