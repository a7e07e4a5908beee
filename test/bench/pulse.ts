/** Asks a server how it is until it is told to report, on a connection that is kept and on a new one each time, in milliseconds. */
import * as http from "node:http"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { parentPort, workerData } from "node:worker_threads"

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })

const asked = (connection: http.Agent | false) =>
  new Promise<number>((resolve, reject) => {
    const before = performance.now()
    http.get(String(workerData), { agent: connection }, (response) => {
      response.resume()
      response.on("end", () => resolve(performance.now() - before))
    }).on("error", reject)
  })

const kept: Array<number> = []
const anew: Array<number> = []
const over = new AbortController()
// Whoever is late himself hears late.
const lag = monitorEventLoopDelay({ resolution: 5 })
lag.enable()

parentPort?.once("message", () => over.abort())
const feel = async (connection: http.Agent | false, felt: Array<number>) => {
  while (!over.signal.aborted) {
    felt.push(await asked(connection))
    await setTimeout(50)
  }
}
await Promise.all([feel(agent, kept), feel(false, anew)])
agent.destroy()
parentPort?.postMessage({ kept, anew, lag: lag.max / 1e6 }, [])
