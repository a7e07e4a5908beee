import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ShuttingDown, StorageFailed } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { told } from "./Error.ts"

/** How the server is; for whoever watches over it. */
export const System = HttpApiGroup.make("system").add(
  HttpApiEndpoint.get("health", "/health", {
    success: Schema.Struct({ status: Schema.Literal("healthy") })
  }).annotate(OpenApi.Summary, "Whether the process is alive"),
  HttpApiEndpoint.get("ready", "/ready", {
    success: Schema.Struct({ status: Schema.Literal("ready") }),
    error: [StorageFailed, ShuttingDown].map(told)
  }).annotate(OpenApi.Summary, "Whether it takes work: the database answers, and it is not about to end")
)

/** What the process counts, of all organisations together. */
export const Metrics = HttpApiGroup.make("metrics").add(
  HttpApiEndpoint.get("metrics", "/metrics", {
    success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/plain; version=0.0.4; charset=utf-8" }))
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "Metrics for Prometheus; for administrators of the organisation local")
).middleware(Authorization)
