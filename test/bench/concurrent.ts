/** Many runs at once with a model that takes 50 ms: wall time, memory, and how long the event loop stands still. */
import { Redacted } from "effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { figure, interleave, median, spread, table } from "./measure.ts"
import type { Server } from "./server.ts"
import { steps } from "./subject.ts"

interface Result {
  readonly wall: number
  readonly rss: number
  readonly p99: number
  readonly max: number
}

const child = async (...args: ReadonlyArray<string>): Promise<Result> => {
  const file = new URL("./child.ts", import.meta.url).pathname
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", file, ...args], { timeout: 75_000 })
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result // the child's last line
}

/** Measures in memory and on Postgres. */
export const concurrent = async (server: Server): Promise<void> => {
  console.log(`Concurrent: runs of ${steps} steps and an answer with a model of 50 ms (${((steps + 1) * 0.05).toFixed(2)} s is the floor), each in a fresh process.`)
  const rows: Array<ReadonlyArray<string>> = []
  const measure = async (name: string, rounds: number, ...args: ReadonlyArray<string>) => {
    const results: Array<Result> = []
    await interleave(rounds, {
      one: async () => {
        results.push(await child(...args))
        return 0
      }
    })
    const of = (key: keyof Result) => results.map((result) => result[key])
    rows.push([
      name,
      spread(of("wall").map((ms) => ms / 1000)),
      figure(median(of("rss"))),
      figure(median(of("p99"))),
      figure(median(of("max"))),
      figure(Number(args[1]) * steps / (median(of("wall")) / 1000))
    ])
  }
  await measure("1,000  Effect loop by hand", 3, "loop", "1000")
  await measure("1,000  Conductor in memory", 3, "conductor", "1000")
  await measure("1,000  Conductor on Postgres", 3, "conductor", "1000", Redacted.value(await server.database()))
  await measure("10,000 Effect loop by hand", 1, "loop", "10000")
  await measure("10,000 Conductor in memory", 1, "conductor", "10000")
  table(["runs", "wall s", "peak MB", "lag p99 ms", "lag max ms", "steps/s"], rows)
}
