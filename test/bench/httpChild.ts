/** A server on Postgres whose model takes 50 ms a turn; told "report", it says what it has used and how long its event loop stood still. */
import { Effect, Layer, Logger, Option, Redacted } from "effect"
import { HttpServer } from "effect/http"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Agent, Conductor } from "../../src/index.ts"
import { Keys } from "../../src/Org.ts"
import * as Server from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { weather } from "../support/weather.ts"

/** Steps of a run: all but the last call a tool. */
const steps = 5

const agent = Agent.make("bench", { instructions: "Answer.", model: "scripted:bench", plugins: [weather], limits: { cost: "0.50 USD" } })
const turns = Array.from({ length: steps }, (_, step) => ({
  delay: "50 millis" as const,
  text: `Step ${step + 1}.`,
  ...(step + 1 < steps ? { toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] } : {})
}))

const runtime = Conductor.layerPostgres({ agents: [agent], models: testing.models(testing.script(turns)), url: Redacted.make(process.argv[2] ?? "") })

await Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const keys = yield* Keys
  const { org } = yield* keys.bootstrap(Option.none())
  const { key } = yield* keys.create({ org, name: "bench", scopes: ["admin"], requestsPerMinute: 1_000_000_000 })
  const lag = monitorEventLoopDelay({ resolution: 5 })
  let peak = 0
  const watching = setInterval(() => peak = Math.max(peak, process.memoryUsage().rss), 50)
  process.on("message", (message) => {
    if (message === "begin") lag.enable()
    else process.send?.({ peak: peak / 1e6, p99: lag.percentile(99) / 1e6, max: lag.max / 1e6 })
  })
  process.send?.({ url: HttpServer.formatAddress(address), key: Redacted.value(key) })
  return yield* Effect.never.pipe(Effect.ensuring(Effect.sync(() => clearInterval(watching))))
}).pipe(
  Effect.provide(Server.layer({ port: 0 }).pipe(Layer.provideMerge(runtime), Layer.provideMerge(Logger.layer([])))),
  Effect.scoped,
  Effect.runPromise
)
