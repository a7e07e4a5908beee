/** Many runs at once that are started over HTTP, each watched by one reader: whether any event is lost, and what it takes. */
import { Redacted } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import * as http from "node:http"
import { Worker } from "node:worker_threads"
import { figure, table } from "./measure.ts"
import type { Server } from "./server.ts"

/** Runs at the same time. */
const runs = 1_000

const message = <A>(child: ChildProcess) =>
  new Promise<A>((resolve, reject) => {
    child.once("message", (said) => resolve(said as A)) // what the child sends
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)))
  })

interface Reply {
  readonly status: number
  readonly body: string
  readonly ms: number
}

const percentile = (sample: ReadonlyArray<number>, share: number): number =>
  sample.toSorted((a, b) => a - b)[Math.min(sample.length - 1, Math.floor(sample.length * share))] ?? Number.NaN

/** Measures a server on Postgres. */
export const overHttp = async (server: Server): Promise<void> => {
  console.log(`Server: ${runs} runs of 5 steps at once, started over HTTP and each watched by one reader, with a model of 50 ms (0.25 s is the floor), on Postgres.`)
  const child = fork(new URL("./httpChild.ts", import.meta.url).pathname, [Redacted.value(await server.database())], { execArgv: ["--no-warnings"] })
  try {
    const { key, url } = await message<{ readonly url: string; readonly key: string }>(child)
    const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity })
    const ask = (method: string, path: string, body?: string, taken?: (text: string) => void) =>
      new Promise<Reply>((resolve, reject) => {
        const before = performance.now()
        const headers = { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }) }
        const request = http.request(`${url}${path}`, { method, headers, agent }, (response) => {
          let text = ""
          response.setEncoding("utf8")
          response.on("data", (chunk: string) => {
            text += chunk
            taken?.(text)
          })
          response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text, ms: performance.now() - before }))
          response.on("error", reject)
        })
        request.on("error", reject)
        request.end(body)
      })
    await ask("POST", "/v1/runs", `{"input":"warm up"}`)
    child.send("begin")
    // Of a thread of its own, so that what is measured is the server.
    const pulse = new Worker(new URL("./pulse.ts", import.meta.url), { workerData: `${url}/health` })
    const begun = performance.now()
    const posts: Array<number> = []
    let events = 0
    let lost = 0
    let ended = 0
    const one = async (index: number) => {
      const started = await ask("POST", "/v1/runs", JSON.stringify({ input: `question ${index}` }))
      if (started.status !== 202) throw new Error(`${started.status}: ${started.body}`)
      posts.push(started.ms)
      const { run } = JSON.parse(started.body) as { readonly run: string }
      const stream = await ask("GET", `/v1/runs/${run}/events`)
      const ids = [...stream.body.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
      events += ids.length
      lost += ids.filter((id, at) => id !== at + 1).length
      if (stream.body.includes("event: RunCompleted\n")) ended++
    }
    await Promise.all(Array.from({ length: runs }, (_, index) => one(index)))
    const wall = performance.now() - begun
    const felt = once(pulse, "message") as Promise<[{ readonly kept: ReadonlyArray<number>; readonly anew: ReadonlyArray<number>; readonly lag: number }]> // what it sends
    pulse.postMessage("report", [])
    const [{ anew, kept, lag }] = await felt
    const used = message<{ readonly peak: number; readonly p99: number; readonly max: number }>(child)
    child.send("report")
    const { max, p99, peak } = await used
    if (ended !== runs || lost > 0) throw new Error(`${runs - ended} runs did not end, ${lost} events were lost`)
    table(["figure", "value"], [
      ["runs that ended, of 1,000", String(ended)],
      ["events read, none lost", figure(events)],
      ["wall s", figure(wall / 1000)],
      ["requests/s (POST and stream)", figure(2 * runs / (wall / 1000))],
      ["steps/s", figure(5 * runs / (wall / 1000))],
      ["POST /v1/runs p50 ms", figure(percentile(posts, 0.5))],
      ["POST /v1/runs p99 ms", figure(percentile(posts, 0.99))],
      ["peak MB", figure(peak)],
      ["event loop lag p99 ms", figure(p99)],
      ["event loop lag max ms", figure(max)],
      ["GET /health p50 ms", figure(percentile(kept, 0.5))],
      ["GET /health p99 ms", figure(percentile(kept, 0.99))],
      ["GET /health max ms", figure(Math.max(...kept))],
      ["GET /health p50 ms, each on a new connection", figure(percentile(anew, 0.5))],
      ["GET /health p99 ms, each on a new connection", figure(percentile(anew, 0.99))],
      ["GET /health max ms, each on a new connection", figure(Math.max(...anew))],
      ["lag of who asks, max ms", figure(lag)]
    ])
    agent.destroy()
  } finally {
    child.kill("SIGKILL")
  }
}
