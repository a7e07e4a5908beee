import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { judge, table } from "./Budget/Memory.ts"
import { projection as modelCalls } from "./Budget/ModelCalls.ts"
import * as Money from "./Money.ts"
import { BudgetExceeded, type OrgId, type RunState, StorageFailed, UnpricedModel } from "./Run.ts"
import { type Append, type Gate, type Json, type Projection, replaceLast, Tables } from "./RunLog.ts"

/** What a scope may spend, has spent, and has set aside for requests under way. */
export interface Balance {
  /** `org:…`, `session:…` or `run:…`. */
  readonly scope: string
  readonly limit: Money.Money
  readonly spent: Money.Money
  readonly reserved: Money.Money
}

/** The scopes that a run's money comes from. A request is admitted by all of them or by none. */
export const scopesOf = (state: Pick<RunState, "org" | "session" | "run">): ReadonlyArray<string> => [
  `org:${state.org}`,
  `session:${state.session}`,
  `run:${state.run}`
]

const Grant = Schema.Struct({ maxOutput: Schema.Int, reserved: Money.FromString, scopes: Schema.Array(Schema.String) })
const decodeGrant = Schema.decodeUnknownSync(Grant)
const decodeRefusal = Schema.decodeUnknownSync(BudgetExceeded)

const limitOf = (append: Append): string | undefined => {
  for (const { logged: { event } } of append.steps) {
    if ((event._tag === "RunStarted" || event._tag === "RunRetried") && event.limits.cost !== null) {
      return Money.format(event.limits.cost)
    }
  }
  return undefined
}

const settlements = (append: Append): ReadonlyArray<Json> =>
  append.steps.flatMap(({ before, logged: { event } }) => {
    if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed") return []
    const attempt = before?.attempt
    return [{
      scopes: attempt?.scopes ?? [],
      reserved: Money.format(attempt?.reserved ?? Money.zero),
      cost: Money.format(event.bill.cost)
    }]
  })

/**
 * Admits each attempt against the budgets of all its scopes, in the order of the appends and under their lock; sets money
 * aside before the request, and settles it with the attempt's end.
 */
export const gate: Gate = {
  name: "budget",
  ask: (append, index) => {
    const limit = limitOf(append)
    const settle = settlements(append)
    if (limit === undefined && settle.length === 0 && append.reserve === undefined) return undefined
    const state = append.steps[0].after
    return {
      append: index,
      org: state.org,
      scopes: scopesOf(state),
      open: limit === undefined ? null : { scope: `run:${state.run}`, limit },
      settle: settle.length === 0 ? null : settle,
      reserve: append.reserve === undefined ? null : { ...append.reserve }
    }
  },
  judge,
  refusal: (refuse, append) => {
    if (refuse["_tag"] === "UnpricedModel") return new UnpricedModel({ model: append.steps[0].after.model })
    return refuse["_tag"] === "BudgetExceeded" ? decodeRefusal(refuse) : undefined
  },
  patch: (patch, append) => {
    const step = append.steps.at(-1)
    if (step?.logged.event._tag !== "TurnStarted" || step.after.attempt === null) return undefined
    const grant = decodeGrant(patch)
    return {
      ...append,
      steps: replaceLast(append.steps, {
        before: step.before,
        logged: { ...step.logged, event: { ...step.logged.event, ...grant } },
        after: { ...step.after, maxOutput: grant.maxOutput, attempt: { ...step.after.attempt, ...grant } }
      })
    }
  }
}

/** The ledger: one row for each attempt that has ended. */
export const projection: Projection = modelCalls

/** Limits on what may be spent, by organisation, session and run. */
export class Budget extends Context.Service<Budget, {
  /** Sets the limit of a scope; what was spent and is reserved stays. */
  readonly set: (org: OrgId, scope: string, limit: Money.Money) => Effect.Effect<void, StorageFailed>
  readonly list: (org: OrgId) => Effect.Effect<ReadonlyArray<Balance>, StorageFailed>
}>()("conductor-ai/Budget") {
  /** Budgets in Postgres. */
  static readonly layer = Layer.effect(Budget, Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const failed = Effect.mapError((error: { readonly message: string }) =>
      new StorageFailed({ operation: "budgets", problem: error.message, cause: error })
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
