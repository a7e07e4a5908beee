import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Conductor } from "../Conductor.ts"
import * as Money from "../Money.ts"
import { CurrentOrg } from "../Org.ts"
import { fold, type Logged, type RunState, type RunStatus } from "../Run.ts"
import { RunLog, type RunRow } from "../RunLog.ts"
import { toolRows } from "./Agents.ts"
import { cost, shorten, table, time } from "./Format.ts"
import { Output } from "./Output.ts"
import { conductor, runId } from "./Runtime.ts"
import { timeline } from "./Timeline.ts"
import { jsonLine } from "./View.ts"

/** Writes a list: as lines of JSON, or as a table and what to say where it is empty. */
export const printList = Effect.fnUntraced(function*<A extends object>(rows: ReadonlyArray<A>, options: {
  readonly json: boolean
  readonly head: ReadonlyArray<string>
  readonly cells: (row: A) => ReadonlyArray<string>
  readonly encode: (row: A) => object
  readonly empty: string
}) {
  const output = yield* Output
  if (options.json) return yield* output.write(rows.map((row) => `${JSON.stringify(options.encode(row))}\n`).join(""))
  if (rows.length === 0) return yield* output.line(options.empty)
  const [head = "", ...lines] = table(options.head, rows.map(options.cells))
  yield* output.line([output.paint.bold(head), ...lines].join("\n"))
})

/** How a run stands and why. */
const statusOf = ({ error, parked, status }: RunRow): string => {
  const why = error ?? parked
  return why === null ? status : `${status} (${why})`
}

/** `conductor runs`. */
export const printRuns = Effect.fnUntraced(function*(input: {
  readonly limit: number
  readonly status: Option.Option<RunStatus>
  readonly json: boolean
}) {
  const { list } = yield* Conductor
  const rows = yield* list({ limit: input.limit, ...(Option.isSome(input.status) ? { status: input.status.value } : {}) })
  yield* printList<RunRow>(rows, {
    json: input.json,
    head: ["RUN", "STARTED (UTC)", "AGENT", "STATUS", ">TURNS", ">COST"],
    cells: (row) => [row.run, time(row.createdAt), row.agent, statusOf(row), String(row.turns), cost(row.cost, row.priced)],
    encode: (row) => ({ ...row, cost: Money.format(row.cost) }),
    empty: "There are no runs here yet: start one with conductor run, or see conductor demo."
  })
}, Effect.provide(conductor([])))

/** `conductor show`. */
export const showRun = Effect.fnUntraced(function*(input: { readonly run: string; readonly json: boolean }) {
  const output = yield* Output
  const log = (yield* RunLog).as(yield* CurrentOrg)
  const { run } = yield* log.find(yield* runId(input.run))
  if (input.json) return yield* Stream.runForEach(log.read(run), (logged) => output.write(jsonLine(logged)))
  const events: ReadonlyArray<Logged> = yield* Stream.runCollect(log.read(run))
  const state = events.reduce<RunState | undefined>(fold, undefined)
  if (state !== undefined) yield* output.line(timeline(events, state, output.paint, yield* Clock.currentTimeMillis).join("\n"))
}, Effect.provide(conductor([])))

/** `conductor tools`. */
export const printTools = (json: boolean) =>
  printList(toolRows, {
    json,
    head: ["TOOL", "CATEGORY", "EFFECT", "AGENT", "DESCRIPTION"],
    cells: (tool) => [tool.name, tool.category, tool.effect, tool.agent, shorten(tool.description, 100)],
    encode: (tool) => tool,
    empty: "There are no tools."
  })
