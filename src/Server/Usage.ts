import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type UsageLine } from "../Api.ts"
import { AuditLog } from "../AuditLog.ts"
import { Ledger, type Line, type ToolLine } from "../Ledger.ts"
import * as Money from "../Money.ts"
import { CurrentOrg } from "../Org.ts"
import { Outcomes } from "../Outcomes.ts"

const lineOf = ({ bound, calls, cost, failed, key, priced, reported, unpriced, usage }: Line): UsageLine => ({
  key, calls, failed, cost, unpriced, reported, priced, bound, usage
})

const toolLineOf = ({ calls, cost, failed, tool }: ToolLine): UsageLine => ({
  key: tool, calls, failed, cost, unpriced: null, reported: null, priced: null, bound: null, usage: null
})

const sum = (lines: ReadonlyArray<{ readonly cost: Money.Money }>): Money.Money =>
  lines.reduce((total, { cost }) => Money.add(total, cost), Money.zero)

const rateOf = (key: string, total: number, failed: number) => ({ key, total, failed, rate: total === 0 ? 0 : failed / total })

/** The range of a query; what was left out is not there. */
const within = ({ since, until }: { readonly since?: number; readonly until?: number }) => ({
  ...(since === undefined ? {} : { since }),
  ...(until === undefined ? {} : { until })
})

/** Handlers of what was spent and what went wrong. */
export const layer = HttpApiBuilder.group(Api, "usage", Effect.fnUntraced(function*(handlers) {
  const ledger = yield* Ledger
  const audit = yield* AuditLog
  const outcomes = yield* Outcomes
  return handlers.handleAll({
    usage: Effect.fn("Api.usage")(function*({ query: { by = "day", ...range } }) {
      const span = { org: yield* CurrentOrg, ...within(range) }
      const lines = by === "tool"
        ? (yield* ledger.tools(span)).map(toolLineOf)
        : (yield* ledger.totals(by, span)).map(lineOf)
      return { by, lines, cost: sum(lines) }
    }),
    tools: Effect.fn("Api.toolUsage")(function*({ query }) {
      return { tools: yield* ledger.tools({ org: yield* CurrentOrg, ...within(query) }) }
    }),
    errors: Effect.fn("Api.errors")(function*({ query: { limit = 20, ...range } }) {
      const org = yield* CurrentOrg
      const span = { org, ...within(range) }
      const ended = yield* outcomes.read(span)
      const models = yield* ledger.totals("model", span)
      const tools = yield* ledger.tools(span)
      const latest = yield* audit.list({ org, success: false, limit })
      const failed = ended.filter(({ status }) => status === "failed")
      const count = (rows: typeof ended) => rows.reduce((total, { runs }) => total + runs, 0)
      const all = rateOf("", count(ended), count(failed))
      return {
        runs: {
          total: all.total,
          failed: all.failed,
          rate: all.rate,
          byError: failed.map(({ agent, error, runs }) => ({ error: error ?? "unknown", agent, runs })).toSorted((a, b) => b.runs - a.runs)
        },
        models: models.map(({ calls, failed, key }) => rateOf(key, calls, failed)),
        tools: tools.flatMap(({ calls, failed, tool }) => tool === null ? [] : [rateOf(tool, calls, failed)]),
        latest: latest.map(({ action, at, error, output, run, tool }) => ({ at, action, what: tool, run, error: error ?? output }))
      }
    })
  })
}))
