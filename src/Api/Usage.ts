import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { RunId, Usage as Tokens } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { limit, time } from "./Common.ts"

const range = { since: time, until: time }

/** What attempts add up to; `cost` is exactly `reported + priced + bound`. */
export const UsageLine = Schema.Struct({
  /** The organisation, session, agent, model, tool or day; null for what is of no tool. */
  key: Schema.NullOr(Schema.String),
  calls: Schema.Int,
  failed: Schema.Int,
  cost: Money.FromString,
  /** Nothing of these is known by tool. */
  unpriced: Schema.NullOr(Schema.Int),
  reported: Schema.NullOr(Money.FromString),
  priced: Schema.NullOr(Money.FromString),
  bound: Schema.NullOr(Money.FromString),
  usage: Schema.NullOr(Tokens)
})
export type UsageLine = typeof UsageLine.Type

/** How calls of a tool went, and what the answers cost that made them. */
export const ToolUsage = Schema.Struct({
  tool: Schema.NullOr(Schema.String),
  calls: Schema.Int,
  failed: Schema.Int,
  timeMs: Schema.Int,
  cost: Money.FromString
})

/** How often something failed, of how often. */
const Rate = Schema.Struct({ key: Schema.String, total: Schema.Int, failed: Schema.Int, rate: Schema.Finite })

/** What went wrong. */
export const Errors = Schema.Struct({
  runs: Schema.Struct({
    total: Schema.Int,
    failed: Schema.Int,
    rate: Schema.Finite,
    byError: Schema.Array(Schema.Struct({ error: Schema.String, agent: Schema.String, runs: Schema.Int }))
  }),
  models: Schema.Array(Rate),
  tools: Schema.Array(Rate),
  /** The last things that failed, newest first. */
  latest: Schema.Array(Schema.Struct({
    at: Schema.Int,
    action: Schema.String,
    what: Schema.String,
    run: Schema.NullOr(RunId),
    error: Schema.NullOr(Schema.String)
  }))
})

/** What was spent, on what, and what went wrong. Times are milliseconds since 1970. */
export const Usage = HttpApiGroup.make("usage").add(
  HttpApiEndpoint.get("usage", "/v1/usage", {
    query: { by: Schema.optionalKey(Schema.Literals(["org", "session", "agent", "model", "tool", "day"])), ...range },
    success: Schema.Struct({ by: Schema.String, lines: Schema.Array(UsageLine), cost: Money.FromString })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "Cost and tokens, by day or something else"),
  HttpApiEndpoint.get("tools", "/v1/tools/usage", {
    query: range,
    success: Schema.Struct({ tools: Schema.Array(ToolUsage) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "How tools were called, with what outcome, how long, at what cost"),
  HttpApiEndpoint.get("errors", "/v1/errors", {
    query: { limit, ...range },
    success: Errors
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "How often what failed, and the latest failures")
).middleware(Authorization)
