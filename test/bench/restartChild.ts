/**
 * A process that begins so many runs, and says how many runs, also those that it has taken over, are in the middle of a
 * request to the model: `restartChild.ts <url> <runs>`. It ends with its standard input.
 */
import { Effect, Layer, Redacted, References } from "effect"
import { Agent, Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const [url = "", begin = "0"] = process.argv.slice(2)

let asked = 0
const model = testing.script(() =>
  Effect.sync(() => {
    asked++
    if (asked === 1 || asked % 100 === 0) console.log(`asked ${asked}`)
    return { text: "A long ans", hang: true as const }
  }))

const agent = Agent.make("patient", { instructions: "Answer in one sentence.", model: "scripted:patient", limits: { cost: "0.50 USD" } })
const layer = Conductor.layerPostgres({ agents: [agent], models: testing.models(model), url: Redacted.make(url) })

process.stdin.on("end", () => process.exit(0)).resume()
await Effect.gen(function*() {
  console.log("ready")
  yield* Effect.forEach(Array.from({ length: Number(begin) }), () => Conductor.start(agent, "Will it rain in Lisbon?"), { concurrency: 100 })
  return yield* Effect.never
}).pipe(
  Effect.provide(Layer.provide(layer, Layer.succeed(References.MinimumLogLevel, "Error"))),
  Effect.runPromise
)
