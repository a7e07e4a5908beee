import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type BudgetRow } from "../Api.ts"
import { type Balance, Budget } from "../Budget.ts"
import { Conductor } from "../Conductor.ts"
import { CurrentOrg } from "../Org.ts"
import { clean } from "../Run.ts"
import { runId } from "./Runs.ts"

const rowOf = ({ excess, limit, period, reserved, scope, share, since, spent, until }: Balance): BudgetRow => ({
  scope, limit, period, since, until, spent, reserved, excess, share
})

/** Handlers of budgets. */
export const layer = HttpApiBuilder.group(Api, "budgets", Effect.fnUntraced(function*(handlers) {
  const budget = yield* Budget
  const conductor = yield* Conductor

  /** The scope as budgets know it; a run has to be one of the organisation. */
  const scopeOf = Effect.fnUntraced(function*(text: string) {
    const org = yield* CurrentOrg
    if (text.toLowerCase() === "org") return `org:${org}`
    if (/^session:/i.test(text)) return `session:${clean(text.slice("session:".length))}`
    const { run } = yield* conductor.find(yield* runId(text.slice("run:".length)))
    return `run:${run}`
  })

  return handlers.handleAll({
    list: Effect.fn("Api.budgets")(function*() {
      return { budgets: (yield* budget.list(yield* CurrentOrg, { idleRuns: false })).map(rowOf) }
    }),
    set: Effect.fn("Api.budget")(function*({ payload: { limit, period, scope: text } }) {
      const org = yield* CurrentOrg
      const scope = yield* scopeOf(text)
      yield* limit === null ? budget.remove(org, scope) : budget.set(org, scope, limit, period === undefined ? {} : { period })
      return { budgets: (yield* budget.list(org)).filter((one) => one.scope === scope).map(rowOf) }
    })
  })
}))
