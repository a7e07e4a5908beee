import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { AuditLog } from "./AuditLog.ts"
import { modelCalls } from "./Budget.ts"
import { type By, type Line, ordered, orderedTools, type Range, type RunCost, type ToolLine } from "./Ledger/Line.ts"
import { linesOf, sumOf, toolsOf } from "./Ledger/Memory.ts"
import { makeSql } from "./Ledger/Sql.ts"
import { type OrgId, type RunId, RunNotFound, type StorageFailed } from "./Run.ts"
import { type Reading, RunLog, Tables } from "./RunLog.ts"

export { type By, cacheHitRate, type Line, nothing, plus, type Range, type RunCost, type ToolLine, type Totals } from "./Ledger/Line.ts"

/**
 * What was spent, and on what: every attempt is in it once, whether it answered, failed or was lost. The sum over the lines of
 * a reading is the same, to the last digit, by whatever it is read.
 */
export class Ledger extends Context.Service<Ledger, {
  /** The attempts of an organisation in a range of time, added up by something: the dearest line first, days in their order. */
  readonly totals: (by: By, range: Range) => Effect.Effect<ReadonlyArray<Line>, StorageFailed>
  /** The same by the tools that answers called, with how these calls went; what is of no tool comes last. */
  readonly tools: (range: Range) => Effect.Effect<ReadonlyArray<ToolLine>, StorageFailed>
  /** What one run of an organisation cost, alone and with the runs below it. */
  readonly run: (org: OrgId, run: RunId) => Effect.Effect<RunCost, RunNotFound | StorageFailed>
}>()("conductor-ai/Ledger") {
  /** The ledger in Postgres. */
  static readonly layer = Layer.effect(Ledger, Effect.gen(function*() {
    const { lines, run, tools } = yield* makeSql
    return Ledger.of({
      totals: Effect.fn("Ledger.totals")((by, range) => Effect.map(lines(by, range), (all) => ordered(by, all))),
      tools: Effect.fn("Ledger.tools")((range) => Effect.map(tools(range), orderedTools)),
      run: Effect.fn("Ledger.run")((org, id) =>
        Effect.flatMap(run(org, id), (cost) => cost === undefined ? Effect.fail(new RunNotFound({ run: id })) : Effect.succeed(cost))
      )
    })
  }))

  /** The ledger in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(Ledger, Effect.gen(function*() {
    const tables = yield* Tables
    const audit = yield* AuditLog
    const log = yield* RunLog
    /** The run and those below it: in memory a run's log alone knows its children. */
    const below = (log: Reading, run: RunId): Effect.Effect<ReadonlySet<string>, RunNotFound | StorageFailed> =>
      Effect.gen(function*() {
        yield* log.find(run)
        const events = yield* Stream.runCollect(log.read(run))
        const children = events.flatMap(({ event }) => event._tag === "ChildStarted" ? [event.child] : [])
        const found = yield* Effect.forEach(children, (child) =>
          // It is said to begin before it does.
          Effect.catchTag(below(log, child), "RunNotFound", () => Effect.succeed(new Set<string>())))
        return new Set([run, ...found.flatMap((runs) => [...runs])])
      })
    return Ledger.of({
      totals: Effect.fn("Ledger.totals")((by, range) => Effect.sync(() => ordered(by, linesOf(modelCalls(tables), by, range)))),
      tools: Effect.fn("Ledger.tools")((range) =>
        Effect.map(audit.list({ org: range.org, action: "tool_call", limit: Infinity }), (entries) =>
          orderedTools(toolsOf(modelCalls(tables), entries, range)))
      ),
      run: Effect.fn("Ledger.run")((org, run) =>
        Effect.map(below(log.as(org), run), (runs) => {
          const calls = modelCalls(tables)
          return { own: sumOf(calls, (one) => one === run), subtree: sumOf(calls, (one) => runs.has(one)), runs: runs.size }
        })
      )
    })
  }))
}
