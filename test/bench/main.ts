/**
 * The benchmarks: `npm run bench`, or `npm run bench -- memory durable` for some. Prints medians and ratios; the machine
 * may be noisy, so the ratios count.
 */
import { spawn } from "node:child_process"
import { concurrent } from "./concurrent.ts"
import { durable } from "./durable.ts"
import { machine, timed } from "./measure.ts"
import { type Server, start } from "./server.ts"

/** A process of its own, whose heap nothing else has used. */
const memory = () =>
  new Promise<void>((resolve, reject) => {
    const file = new URL("./memory.ts", import.meta.url).pathname
    const child = spawn(process.execPath, ["--no-warnings", "--expose-gc", file], { stdio: "inherit" })
    child.once("error", reject)
    child.once("exit", (code) => code === 0 ? resolve() : reject(new Error(`memory.ts ended with ${code}`)))
  })

let server: Promise<Server> | undefined
const withServer = (part: (server: Server) => Promise<void>) => async () => part(await (server ??= start()))

const parts: ReadonlyMap<string, () => Promise<void>> = new Map([
  ["memory", memory],
  ["durable", withServer(durable)],
  ["concurrent", withServer(concurrent)]
])

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !parts.has(name))
if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(", ")}; there are ${[...parts.keys()].join(", ")}.`)
  process.exit(1)
}
console.log(machine())
try {
  for (const [name, part] of parts) {
    if (asked.length > 0 && !asked.includes(name)) continue
    console.log()
    console.log(`(${name} took ${((await timed(part)) / 1000).toFixed(0)} s)`)
  }
} finally {
  await (await server)?.stop()
}
