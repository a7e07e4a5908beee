import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { KeyInvalid, KeyNotFound } from "../Org/Error.ts"
import { Authorization, Needs, Scope } from "./Authorization.ts"
import { positive, text } from "./Common.ts"
import { told } from "./Error.ts"

/** What is known of a key, which is not the key itself. Times are milliseconds since 1970. */
export const KeyRow = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  /** The beginning of the key, to recognise it by. */
  prefix: Schema.String,
  scopes: Schema.Array(Scope),
  requestsPerMinute: Schema.NullOr(Schema.Int),
  createdAt: Schema.Int,
  createdBy: Schema.NullOr(Schema.String),
  expiresAt: Schema.NullOr(Schema.Int),
  revokedAt: Schema.NullOr(Schema.Int),
  revokedBy: Schema.NullOr(Schema.String),
  /** To the minute. */
  lastUsedAt: Schema.NullOr(Schema.Int)
})
export type KeyRow = typeof KeyRow.Type

/** The API keys of the key's organisation. */
export const ApiKeys = HttpApiGroup.make("keys").add(
  HttpApiEndpoint.get("list", "/v1/keys", {
    success: Schema.Struct({ keys: Schema.Array(KeyRow) })
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "List the keys, newest first"),
  HttpApiEndpoint.post("create", "/v1/keys", {
    payload: Schema.Struct({
      name: text(200),
      scopes: Schema.Array(Scope).check(Schema.isMinLength(1), Schema.isMaxLength(10)),
      expiresAt: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8_640_000_000_000_000 }))),
      requestsPerMinute: Schema.optionalKey(positive)
    }),
    success: Schema.Struct({ key: Schema.String, record: KeyRow }).pipe(HttpApiSchema.status(201)),
    error: told(KeyInvalid)
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "Make a key; it is shown this once"),
  HttpApiEndpoint.delete("revoke", "/v1/keys/:id", {
    params: { id: Schema.String },
    success: KeyRow,
    error: told(KeyNotFound)
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "Revoke a key")
).middleware(Authorization)
