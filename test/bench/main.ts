/**
 * The benchmarks: `npm run bench`, or `npm run bench -- memory durable` for some. Prints medians and ratios; the machine
 * may be noisy, so the ratios count.
 */
import { spawn } from "node:child_process"
import { setTimeout } from "node:timers/promises"
import { concurrent } from "./concurrent.ts"
import { durable } from "./durable.ts"
import { overHttp } from "./http.ts"
import { machine, timed } from "./measure.ts"
import { restart } from "./restart.ts"
import { type Server, start } from "./server.ts"
import { stream } from "./stream.ts"

/** A process of its own, whose heap nothing else has used. */
const memory = () =>
  new Promise<void>((resolve, reject) => {
    const file = new URL("./memory.ts", import.meta.url).pathname
    const child = spawn(process.execPath, ["--no-warnings", "--expose-gc", file], { stdio: "inherit", timeout: 90_000 })
    child.once("error", reject)
    child.once("exit", (code, signal) => code === 0 ? resolve() : reject(new Error(`memory.ts ended with ${signal ?? code}`)))
  })

let server: Promise<Server> | undefined
const withServer = (part: (server: Server) => Promise<void>) => async () => part(await (server ??= start()))

/** A part that takes much longer than it should has hung, and must not hang whoever waits for it. */
const bounded = (seconds: number, part: () => Promise<void>) => async () => {
  const late = new AbortController()
  try {
    await Promise.race([
      part(),
      setTimeout(seconds * 1000, undefined, { signal: late.signal }).then(() => {
        throw new Error(`It was not done after ${seconds} s`)
      })
    ])
  } finally {
    late.abort()
  }
}

const parts: ReadonlyMap<string, () => Promise<void>> = new Map([
  ["memory", bounded(95, memory)],
  ["stream", bounded(95, stream)],
  ["durable", bounded(230, withServer(durable))],
  ["concurrent", bounded(150, withServer(concurrent))],
  ["restart", bounded(150, withServer(restart))],
  ["server", bounded(150, withServer(overHttp))]
])

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !parts.has(name))
if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(", ")}; there are ${[...parts.keys()].join(", ")}.`)
  process.exit(1)
}
console.log(machine())
let failed = false
try {
  for (const [name, part] of parts) {
    if (asked.length > 0 && !asked.includes(name)) continue
    console.log()
    console.log(`(${name} took ${((await timed(part)) / 1000).toFixed(0)} s)`)
  }
} catch (cause) {
  failed = true
  console.error(cause)
} finally {
  await (await server)?.stop()
}
// What hung may still hold the process.
process.exit(failed ? 1 : 0)
