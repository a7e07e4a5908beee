import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { askOf, scopesOf } from "./Budget/Ask.ts"
import { judge, table } from "./Budget/Memory.ts"
import { projection as calls } from "./Budget/ModelCalls.ts"
import { problemOf } from "./Database.ts"
import * as Money from "./Money.ts"
import { BudgetExceeded, type OrgId, StorageFailed, UnpricedModel } from "./Run.ts"
import { type Gate, type Projection, Tables } from "./RunLog.ts"

export { scopesOf } from "./Budget/Ask.ts"
export { type ModelCall, modelCalls } from "./Budget/ModelCalls.ts"

/** What a scope may spend, has spent, and has set aside for requests under way. */
export interface Balance {
  /** `org:…`, `session:…` or `run:…`. */
  readonly scope: string
  readonly limit: Money.Money
  readonly spent: Money.Money
  readonly reserved: Money.Money
}

const decodeRefusal = Schema.decodeUnknownSync(BudgetExceeded)


/**
 * Admits each attempt against the budgets of all its scopes, in the order of the appends and under their lock; sets money
 * aside before the request, and settles it with the attempt's end.
 */
export const gate: Gate = {
  name: "budget",
  ask: (append, index) => {
    const asked = askOf(append)
    if (asked === undefined) return undefined
    const { limit, reserve, settle, state } = asked
    return {
      append: index,
      org: state.org,
      scopes: scopesOf(state),
      ...(limit === undefined ? {} : { open: { scope: `run:${state.run}`, limit: Money.format(limit) } }),
      ...(settle.length === 0 ? {} : {
        settle: settle.map(({ cost, reserved, scopes }) => ({ scopes, reserved: Money.format(reserved), cost: Money.format(cost) }))
      }),
      ...(reserve === undefined ? {} : { reserve: { ...reserve, input: Money.format(reserve.input), rate: Money.format(reserve.rate) } })
    }
  },
  judge,
  refusal: (refuse, append) => {
    if (refuse["_tag"] === "UnpricedModel") return new UnpricedModel({ model: append.steps[0].after.model })
    return refuse["_tag"] === "BudgetExceeded" ? decodeRefusal(refuse) : undefined
  }
}

/** The ledger: one row for each attempt that has ended. */
export const projection: Projection = calls

/** Limits on what may be spent, by organisation, session and run. */
export class Budget extends Context.Service<Budget, {
  /** Sets the limit of a scope; what was spent and is reserved stays. */
  readonly set: (org: OrgId, scope: string, limit: Money.Money) => Effect.Effect<void, StorageFailed>
  readonly list: (org: OrgId) => Effect.Effect<ReadonlyArray<Balance>, StorageFailed>
}>()("conductor-ai/Budget") {
  /** Budgets in Postgres. */
  static readonly layer = Layer.effect(Budget, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const failed = Effect.mapError((error: SqlError) =>
      new StorageFailed({ operation: "budgets", problem: problemOf(error), cause: error })
    )
    const decode = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({
      scope: Schema.String,
      limit: Money.FromString,
      spent: Money.FromString,
      reserved: Money.FromString
    })))
    return Budget.of({
      set: Effect.fn("Budget.set")((org, scope, limit) =>
        sql`INSERT INTO budgets (org_id, scope, limit_usd) VALUES (${org}, ${scope}, ${Money.format(limit)}::numeric)
          ON CONFLICT (org_id, scope) DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = now()`.pipe(
          Effect.asVoid,
          failed
        )
      ),
      list: Effect.fn("Budget.list")((org) =>
        sql`SELECT scope, limit_usd AS limit, spent_usd AS spent, reserved_usd AS reserved FROM budgets
          WHERE org_id = ${org} ORDER BY scope`.pipe(Effect.map((rows) => decode(rows)), failed)
      )
    })
  }))

  /** Budgets in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Budget, Effect.gen(function*() {
    const budgets = table(yield* Tables)
    return Budget.of({
      set: Effect.fn("Budget.set")((org, scope, limit) => Effect.sync(() => budgets.open(org, scope, limit))),
      list: Effect.fn("Budget.list")((org) => Effect.sync(() => budgets.list(org)))
    })
  }))
}
