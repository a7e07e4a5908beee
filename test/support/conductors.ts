/** Runtimes that tests run agents on: in memory, embedded, and on a real Postgres, with a scripted model. */
import { Effect, Layer } from "effect"
import { Conductor } from "../../src/Conductor.ts"
import type * as Agent from "../../src/Agent.ts"
import * as Model from "../../src/Model.ts"
import { usd } from "../../src/Money.ts"
import * as RunLog from "../../src/RunLog.ts"
import { Run } from "../../src/index.ts"
import { freshDirectory, freshPostgres } from "./databases.ts"

/** What the scripted model costs in tests: 1 USD per million tokens of input, 2 of output. */
const prices = { input: usd("1"), output: usd("2"), cacheRead: usd("0.1"), cacheWrite: usd("1.25"), cacheWriteHour: usd("2") }

const entry = {
  context: 100_000,
  maxOutput: 10_000,
  tiers: [],
  tools: true,
  vision: false,
  structuredOutput: true,
  thinking: "none" as const,
  efforts: [],
  forcedToolUse: false,
  returnsReasoning: false
}

/** The models of a test: `scripted:<name>` for each script; `scripted:free` has no price. */
export const scripted = (provider: Model.Provider) =>
  Model.Models.layerOf({ scripted: provider }).pipe(
    Layer.provideMerge(Model.Catalog.layerOf([
      { ref: Run.ModelRef.make("scripted:test"), prices, ...entry },
      { ref: Run.ModelRef.make("scripted:unpriced"), ...entry }
    ]))
  )

/** Models of several providers, each called `<provider>:m`, at the prices of `scripted:test`. */
export const scriptedBy = (providers: Model.Providers) =>
  Model.Models.layerOf(providers).pipe(
    Layer.provideMerge(Model.Catalog.layerOf(Object.keys(providers).map((name) => ({ ref: Run.ModelRef.make(`${name}:m`), prices, ...entry }))))
  )

/** The three runtimes of a contract suite. */
export const runtimes = <const A extends ReadonlyArray<Agent.Any>>(agents: A, provider: Model.Provider) => {
  const models = scripted(provider)
  const memory = Conductor.layerMemory({ agents, models })
  // Agents of tests need no services beyond what the runtime brings, so nothing is left to provide.
  type Runtime = Layer.Layer<Layer.Success<typeof memory>, unknown>
  const embedded = Layer.unwrap(Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ agents, models, dir })))
  const postgres = Layer.unwrap(Effect.map(freshPostgres(), ({ url }) => Conductor.layerPostgres({ agents, models, url })))
  const all: ReadonlyArray<{ readonly name: string; readonly layer: Runtime }> = [
    { name: "memory", layer: memory as Runtime },
    { name: "pglite", layer: Layer.provideMerge(embedded, RunLog.Tables.layer) as Runtime },
    { name: "postgres", layer: Layer.provideMerge(postgres, RunLog.Tables.layer) as Runtime }
  ]
  return all
}
