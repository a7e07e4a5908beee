/** One measurement of `concurrent.ts` in a process of its own, so that its peak of memory is its own: `child.ts <subject> <runs> [url]`. */
import { Effect, type Layer, ManagedRuntime, Redacted } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Conductor } from "../../src/index.ts"
import { timed } from "./measure.ts"
import { conductorRuns, effectLoop, optionsOf, providerOf } from "./subject.ts"

const [subject = "", count = "1", url] = process.argv.slice(2)
const runs = Number(count)
const delay = "50 millis"

const performer = async (): Promise<(runs: number) => Promise<unknown>> => {
  if (subject === "loop") {
    const provider = providerOf(delay)
    return (runs) =>
      Effect.runPromise(Effect.forEach(Array.from({ length: runs }), () => effectLoop(provider), { concurrency: "unbounded", discard: true }))
  }
  const layer: Layer.Layer<Conductor, unknown> = url === undefined
    ? Conductor.layerMemory(optionsOf(delay))
    : Conductor.layerPostgres({ ...optionsOf(delay), url: Redacted.make(url) })
  const runtime = ManagedRuntime.make(layer)
  await runtime.context()
  return (runs) => runtime.runPromise(conductorRuns(runs, runs))
}

const perform = await performer()
await perform(20)
const lag = monitorEventLoopDelay({ resolution: 5 })
lag.enable()
const wall = await timed(() => perform(runs))
lag.disable()
// The histogram counts from the timer's own period.
const ms = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 5)
console.log(JSON.stringify({ wall, rss: process.resourceUsage().maxRSS / 1024, p99: ms(lag.percentile(99)), max: ms(lag.max) }))
process.exit(0)
