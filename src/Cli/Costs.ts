import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type By, cacheHitRate, Ledger, type Line, nothing, plus, type ToolLine, type Totals } from "../Ledger.ts"
import * as Money from "../Money.ts"
import { CurrentOrg } from "../Org.ts"
import { csv } from "./Csv.ts"
import { usage } from "./Failure.ts"
import { amounts, count, counted, duration, table } from "./Format.ts"
import { Output, plain } from "./Output.ts"
import { conductor } from "./Runtime.ts"

const units = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const

/** A time as it is typed, in milliseconds since 1970: so long before now, or a date or time, in UTC where it does not say otherwise. */
export const timeOf = (text: string, now: number): Option.Option<number> => {
  const ago = /^(\d{1,5})([hdw])$/.exec(text.trim())
  if (ago !== null) return Option.some(now - Number(ago[1]) * units[ago[2] as keyof typeof units]) // one of those that the pattern takes
  const when = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(Z|[+-]\d{2}:\d{2})?)?$/.exec(text.trim())
  if (when === null) return Option.none()
  const [, date = "", time = "00:00", zone = "Z"] = when
  return DateTime.make(`${date}T${time}${zone}`).pipe(
    // A day that the month does not have would become one of the next.
    Option.filter(() => Option.exists(DateTime.make(`${date}T00:00Z`), (day) => DateTime.formatIsoDateUtc(day) === date)),
    Option.map(DateTime.toEpochMillis)
  )
}

const percent = (part: bigint, whole: bigint): string => {
  const rounded = Number((part * 1_000n + whole / 2n) / whole) / 10
  return rounded === 0 && part > 0n ? "< 0.1 %" : `${rounded} %`
}

/** Where the figures of a line are from: `priced`, or `reported 80 %, bound 20 %, 3 without a price`. */
export const sourcesOf = (line: Totals): string => {
  const parts = (["reported", "priced", "bound"] as const).filter((source) => line[source] > 0n)
  const [only] = parts
  const shares = parts.length === 1 && only !== undefined ? [only] : parts.map((source) => `${source} ${percent(line[source], line.cost)}`)
  return [...shares, ...(line.unpriced === 0 ? [] : [`${count(line.unpriced)} without a price`])].join(", ")
}

const hits = (line: Totals): string => `${Math.round(cacheHitRate(line) * 100)} %`

const figures = (line: Totals): ReadonlyArray<string> => {
  const { cacheRead, cacheWrite, cacheWriteHour, output, reasoning, uncached } = line.usage
  return [line.calls, line.failed, uncached, cacheRead, cacheWrite + cacheWriteHour, output, reasoning].map(count).concat(hits(line), sourcesOf(line))
}

const head = [">COST", ">CALLS", ">FAILED", ">UNCACHED", ">CACHE READ", ">CACHE WRITE", ">OUTPUT", ">REASONING", ">CACHE HITS", "FROM"]

/** Everything of a line by name, amounts as decimal dollars. */
const lineOf = ({ key, ...line }: Line, by: By) => ({
  [by]: key,
  cost_usd: Money.format(line.cost),
  reported_usd: Money.format(line.reported),
  priced_usd: Money.format(line.priced),
  bound_usd: Money.format(line.bound),
  calls: line.calls,
  failed: line.failed,
  unpriced: line.unpriced,
  uncached_tokens: line.usage.uncached,
  cache_read_tokens: line.usage.cacheRead,
  cache_write_tokens: line.usage.cacheWrite,
  cache_write_hour_tokens: line.usage.cacheWriteHour,
  output_tokens: line.usage.output,
  reasoning_tokens: line.usage.reasoning,
  web_searches: line.usage.webSearches,
  cache_hit_rate: Math.round(cacheHitRate(line) * 10_000) / 10_000
})

const toolOf = (line: ToolLine) => ({
  tool: line.tool,
  cost_usd: Money.format(line.cost),
  calls: line.calls,
  failed: line.failed,
  time_ms: line.timeMs
})

type Fields = Readonly<Record<string, string | number | null>>

/** Rows of a reading in every form that they are printed in. */
const print = Effect.fnUntraced(function*(
  rows: ReadonlyArray<Fields>,
  names: ReadonlyArray<string>,
  form: { readonly csv: boolean; readonly json: boolean },
  lines: () => ReadonlyArray<string>
) {
  const output = yield* Output
  if (form.json) return yield* output.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(""))
  if (form.csv) return yield* output.write(csv(names, rows.map((row) => names.map((name) => row[name] ?? ""))))
  if (rows.length === 0) return yield* output.line("Nothing was spent in that time: there is no attempt of a model.")
  const all = lines()
  yield* output.line([output.paint.bold(all[0] ?? ""), ...all.slice(1, -1), output.paint.bold(all.at(-1) ?? "")].join("\n"))
})

/** `conductor cost`. */
export const printCost = Effect.fnUntraced(function*(input: {
  readonly by: By | "tool"
  readonly since: Option.Option<string>
  readonly csv: boolean
  readonly json: boolean
}) {
  if (input.csv && input.json) return yield* usage("--csv and --json exclude each other: give the one that you want.")
  const now = yield* Clock.currentTimeMillis
  const since = Option.flatMap(input.since, (text) => timeOf(text, now))
  if (Option.isSome(input.since) && Option.isNone(since)) {
    return yield* usage(`--since cannot be "${input.since.value}": give a date or time such as 2026-11-01 or 2026-11-01T08:00, or how long ago, such as 12h, 7d or 4w.`)
  }
  const ledger = yield* Ledger
  const range = { org: yield* CurrentOrg, ...(Option.isSome(since) ? { since: since.value } : {}) }

  if (input.by === "tool") {
    const lines = yield* ledger.tools(range)
    return yield* print(lines.map(toolOf), ["tool", "cost_usd", "calls", "failed", "time_ms"], input, () => {
      const sum = lines.reduce((a, b) => ({
        tool: "total", cost: Money.add(a.cost, b.cost), calls: a.calls + b.calls, failed: a.failed + b.failed, timeMs: a.timeMs + b.timeMs
      }), { tool: "total", cost: Money.zero, calls: 0, failed: 0, timeMs: 0 })
      const all = [...lines, sum]
      const costs = amounts(all.map((line) => line.cost))
      return table(["TOOL", ">COST", ">CALLS", ">FAILED", ">TIME"], all.map((line, index) => [
        line.tool === null ? "(no tool)" : plain(line.tool), costs[index] ?? "", count(line.calls), count(line.failed), duration(line.timeMs)
      ]))
    })
  }

  const { by } = input
  const lines = yield* ledger.totals(by, range)
  yield* print(lines.map((line) => lineOf(line, by)), Object.keys(lineOf({ key: "", ...nothing }, by)), input, () => {
    const all = [...lines, { key: "total", ...lines.reduce<Totals>(plus, nothing) }]
    const costs = amounts(all.map((line) => line.cost))
    return table([by.toUpperCase(), ...head], all.map((line, index) => [plain(line.key), costs[index] ?? "", ...figures(line)]))
  })
  const unpriced = lines.reduce((sum, line) => sum + line.unpriced, 0)
  if (unpriced > 0 && !input.json && !input.csv) {
    yield* (yield* Output).note(`${counted(unpriced, "attempt")} had no known price, so the true cost is more than the total.`)
  }
}, Effect.provide(conductor([])))
