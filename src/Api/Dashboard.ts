import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Authorization, Needs } from "./Authorization.ts"

/** The way to the dashboard for whoever has a key. */
export const Dashboard = HttpApiGroup.make("dashboard").add(
  HttpApiEndpoint.post("link", "/v1/dashboard", {
    success: Schema.Struct({
      /** A path of this server, for one browser. */
      link: Schema.String,
      /** Milliseconds since 1970. */
      expiresAt: Schema.Int
    }).pipe(HttpApiSchema.status(201))
  }).annotate(Needs, "admin").annotateMerge(OpenApi.annotations({
    summary: "Make a link to the dashboard",
    description: "Good for ten minutes and for one browser, which then reads runs and decides on approvals of the key's organisation " +
      "for twelve hours, until the server ends or the key is revoked."
  }))
).middleware(Authorization)
