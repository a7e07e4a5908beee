import * as DateTime from "effect/DateTime"
import type { Entry } from "../AuditLog.ts"
import type { ModelCall } from "../Budget.ts"
import * as Money from "../Money.ts"
import { type By, type Line, nothing, plus, type Range, type ToolLine, type Totals } from "./Line.ts"

/** Each attempt once, with all that corrects it. */
const attemptsOf = (calls: ReadonlyArray<ModelCall>): ReadonlyArray<ModelCall> => {
  const attempts = new Map<string, ModelCall>()
  for (const call of calls) if (call.corrects === null) attempts.set(call.id, call)
  for (const call of calls.filter(({ corrects }) => corrects !== null).toSorted((a, b) => a.at - b.at)) {
    const attempt = attempts.get(call.corrects ?? "")
    if (attempt === undefined) continue
    const { cost, usage } = plus({ ...nothing, cost: attempt.cost, usage: attempt.usage }, { ...nothing, cost: call.cost, usage: call.usage })
    attempts.set(attempt.id, { ...attempt, cost, usage, source: call.source })
  }
  return [...attempts.values()]
}

const totalsOf = ({ cost, error, source, usage }: ModelCall): Totals => ({
  ...nothing,
  calls: 1,
  failed: error === null ? 0 : 1,
  cost,
  usage,
  ...(source === "unpriced" ? { unpriced: 1 } : { [source]: cost })
})

/** The sum of all attempts of these runs. */
export const sumOf = (calls: ReadonlyArray<ModelCall>, isIn: (run: string) => boolean): Totals =>
  attemptsOf(calls).filter(({ run }) => isIn(run)).map(totalsOf).reduce(plus, nothing)

const isWithin = ({ since = -Infinity, until = Infinity }: Range) => ({ at }: { readonly at: number }): boolean => at >= since && at < until

const dayOf = (at: number): string => DateTime.formatIso(DateTime.makeUnsafe(at)).slice(0, 10)

const keyOf = (by: By, call: ModelCall): string => by === "day" ? dayOf(call.at) : call[by]

const within = (calls: ReadonlyArray<ModelCall>, range: Range): ReadonlyArray<ModelCall> =>
  attemptsOf(calls).filter((call) => call.org === range.org && isWithin(range)(call))

/** The attempts in a range, by something. */
export const linesOf = (calls: ReadonlyArray<ModelCall>, by: By, range: Range): ReadonlyArray<Line> => {
  const lines = new Map<string, Line>()
  for (const call of within(calls, range)) {
    const key = keyOf(by, call)
    lines.set(key, { key, ...plus(lines.get(key) ?? nothing, totalsOf(call)) })
  }
  return [...lines.values()]
}

/** The attempts and the results of tools in a range, by tool. */
export const toolsOf = (calls: ReadonlyArray<ModelCall>, entries: ReadonlyArray<Entry>, range: Range): ReadonlyArray<ToolLine> => {
  const lines = new Map<string | null, ToolLine>()
  const add = (tool: string | null, more: Omit<ToolLine, "tool">) => {
    const line = lines.get(tool) ?? { tool, cost: Money.zero, calls: 0, failed: 0, timeMs: 0 }
    lines.set(tool, {
      tool,
      cost: Money.add(line.cost, more.cost),
      calls: line.calls + more.calls,
      failed: line.failed + more.failed,
      timeMs: line.timeMs + more.timeMs
    })
  }
  for (const { cost, tools } of within(calls, range)) {
    const share = tools.length === 0 ? Money.zero : Money.Money.make(cost / BigInt(tools.length))
    const rest = tools.reduce((left, tool) => {
      add(tool, { cost: share, calls: 0, failed: 0, timeMs: 0 })
      return Money.subtract(left, share)
    }, cost)
    add(null, { cost: rest, calls: 0, failed: 0, timeMs: 0 })
  }
  for (const entry of entries.filter(isWithin(range))) {
    if (entry.event !== "ToolCompleted") continue
    add(entry.tool, { cost: Money.zero, calls: 1, failed: entry.success ? 0 : 1, timeMs: entry.durationMs ?? 0 })
  }
  return [...lines.values()]
}
