import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Model from "../Model.ts"
import * as Money from "../Money.ts"
import { models, providers as keyed } from "./Choice.ts"
import { failed, usage } from "./Failure.ts"
import { counted, table } from "./Format.ts"
import { printList } from "./Lists.ts"
import { Output } from "./Output.ts"

const encodeEntry = Schema.encodeSync(Model.Entry)

const price = (rate: Money.Money | undefined): string => rate === undefined ? "–" : `$${Money.format(rate)}`

/** Tokens in short: `1.05M`, `262k`. */
const tokens = (count: number): string =>
  count >= 1_000_000 ? `${Number((count / 1_000_000).toFixed(2))}M` : `${Math.round(count / 1_000)}k`

/** The tasks with their heads in a table. */
const tasks = [
  ["coding", ">CODE"], ["reasoning", ">REAS"], ["agents", ">AGNT"], ["fast", ">FAST"], ["long-context", ">LONG"], ["vision", ">VISN"],
  ["multilingual", ">LANG"], ["general", ">GEN"]
] as const

const prices = ({ budget, prices }: Model.Entry): ReadonlyArray<string> => [
  budget ?? "–", price(prices?.input), price(prices?.output), price(prices?.cacheRead)
]

const pricesHead = ["BUDGET", ">INPUT", ">OUTPUT", ">CACHED"]

const providerOf = (entry: Model.Entry): string => entry.ref.slice(0, entry.ref.indexOf(":"))

/** The variable of a provider's key, where there is one. */
const keyOf = (name: string): string | undefined => keyed.find((provider) => provider.name === name)?.key

/** The providers that cannot be asked, as the end of a note. */
const keyless = (entries: ReadonlyArray<Model.Entry>, providers: Model.Models["Service"]["providers"]): string => {
  const without = [...new Set(entries.map(providerOf))].filter((name) => providers.get(name) !== true)
  const named = without.map((name) => keyOf(name) === undefined ? name : `${name} (${keyOf(name)})`)
  return named.length === 0 ? "" : ` Without a key: ${named.join(", ")}.`
}

/** `conductor models`. */
export const printModels = Effect.fnUntraced(function*(json: boolean) {
  const catalog = yield* Model.Catalog
  const { providers } = yield* Model.Models
  const output = yield* Output
  const entries = catalog.entries.filter((entry) => !Model.isForbidden(entry.ref))
  const isReady = (entry: Model.Entry) => providers.get(providerOf(entry)) === true
  yield* printList(entries, {
    json,
    head: ["MODEL", "KEY", ...pricesHead, ">CONTEXT", ...tasks.map(([, head]) => head)],
    cells: (entry) => [
      entry.ref, isReady(entry) ? "yes" : "no", ...prices(entry), tokens(entry.context), ...tasks.map(([task]) => String(entry.tasks?.[task] ?? "–"))
    ],
    encode: (entry) => ({ ...encodeEntry(entry), ready: isReady(entry) }),
    empty: "The catalogue is empty."
  })
  yield* output.note(
    `Dollars per million tokens; prices of ${catalog.version}. Strengths from 1 to 10, assigned by hand, at ${tasks.map(([task]) => task).join(", ")}.${keyless(entries, providers)}`
  )
}, Effect.provide(models))

/** How many of those that were not chosen are shown to people. */
const shown = 5

/** `conductor models pick`. */
export const printPick = Effect.fnUntraced(function*(criteria: Model.Criteria, json: boolean) {
  const catalog = yield* Model.Catalog
  const { providers } = yield* Model.Models
  const output = yield* Output
  const { considered, entry, reason, unknown } = yield* Effect.fromResult(Model.pick(criteria, catalog.entries, providers)).pipe(
    Effect.catchTag("NoModelFits", (error) =>
      failed(error.message.replace(/the key of ([a-z]+)/g, (text, name: string) => keyOf(name) ?? text)))
  )
  if (unknown.length > 0) {
    return yield* usage(
      `Nothing in the catalogue goes by ${unknown.map((name) => `"${name}"`).join(" or ")}: prefer a provider (${[...new Set(catalog.entries.map(providerOf))].join(", ")}), a maker (claude, deepseek, gemini, kimi, qwen), or a model as conductor models lists it.`
    )
  }
  if (json) {
    const others = considered.map(({ entry, fits, why }) => ({ ref: entry.ref, fits, why }))
    return yield* output.line(JSON.stringify({ ...encodeEntry(entry), reason, considered: others }))
  }
  yield* output.line(`${output.paint.bold(entry.ref)}\n${reason}`)
  const fitting = considered.filter(({ fits }) => fits)
  if (fitting.length > 0) {
    const strength = (entry: Model.Entry) => String(entry.tasks?.[criteria.task] ?? "–")
    const rows = [{ entry }, ...fitting.slice(0, shown)]
    yield* output.line(`\n${table(["MODEL", ">STRENGTH", ...pricesHead], rows.map(({ entry }) => [entry.ref, strength(entry), ...prices(entry)])).join("\n")}`)
  }
  const more = [
    ...(fitting.length > shown ? [`${counted(fitting.length - shown, "more model")} would do`] : []),
    `${counted(considered.length - fitting.length, "model")} would not`
  ]
  yield* output.note(`Dollars per million tokens; prices of ${catalog.version}. ${more.join(", ")}; --json says why.`)
}, Effect.provide(models))
