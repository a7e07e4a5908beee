import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { RunNotFound } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { amount } from "./Common.ts"
import { told } from "./Error.ts"

const Period = Schema.Literals(["none", "day", "month"])

/** What a scope may spend, has spent, and has set aside for requests under way. Times are milliseconds since 1970. */
export const BudgetRow = Schema.Struct({
  scope: Schema.String,
  limit: Money.FromString,
  period: Period,
  since: Schema.NullOr(Schema.Int),
  until: Schema.NullOr(Schema.Int),
  spent: Money.FromString,
  reserved: Money.FromString,
  excess: Money.FromString,
  /** Which part of the limit is spent or reserved: 0.8 for four fifths. */
  share: Schema.Finite
})
export type BudgetRow = typeof BudgetRow.Type

/** Limits on what may be spent. */
export const Budgets = HttpApiGroup.make("budgets").add(
  HttpApiEndpoint.get("list", "/v1/budgets", {
    success: Schema.Struct({ budgets: Schema.Array(BudgetRow) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List what may be spent, and what is"),
  HttpApiEndpoint.put("set", "/v1/budgets", {
    payload: Schema.Struct({
      /** `org` for the whole organisation, `session:…` or `run:…`. */
      scope: Schema.String.check(Schema.isPattern(/^(org|session:.{1,200}|run:[0-9a-f-]{36})$/i)),
      /** Dollars; null removes the limit. */
      limit: Schema.NullOr(amount),
      /** How often that much may be spent, by UTC; as it was, or for good, where it is left out. */
      period: Schema.optionalKey(Period)
    }),
    success: Schema.Struct({ budgets: Schema.Array(BudgetRow) }),
    error: told(RunNotFound)
  }).annotate(Needs, "admin").annotate(OpenApi.Summary, "Set or remove what the organisation, a session or a run may spend")
).middleware(Authorization)
