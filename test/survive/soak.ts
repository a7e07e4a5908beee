/**
 * A process that goes on and on: `npm run soak`, or `npm run soak -- --runs 5000`. Performs runs on Postgres, a tenth of
 * them parked for good, and prints the heap before and after, which should be the same.
 */
import { Effect, ManagedRuntime, Redacted, References, Schema } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"
import { parseArgs } from "node:util"
import { Agent, Conductor, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { makeServer } from "../support/server.ts"

const { values } = parseArgs({
  options: { runs: { type: "string", default: "50000" }, warm: { type: "string", default: "5000" } }
})
const [runs, warm] = [Number(values.runs), Number(values.warm)]
const { gc } = globalThis
if (!Number.isInteger(runs) || !Number.isInteger(warm) || gc === undefined) {
  console.error("Use: npm run soak -- [--runs N] [--warm N]")
  process.exit(1)
}

/** Runs at the same time. */
const concurrency = 50

const parameters = Schema.Struct({ n: Schema.Int })
const look = Tool.make("look", { description: "Looks something up.", parameters, success: Schema.String, effect: "pure" })
const pay = Tool.make("pay", { description: "Pays somebody.", parameters, success: Schema.String, effect: "idempotent", approval: true })
const plugin = Plugin.make("office", {
  tools: [look, pay],
  handlers: { look: ({ n }) => Effect.succeed(`The ${n}th entry.`), pay: () => Effect.succeed("Paid.") }
})
const agent = Agent.make("clerk", {
  instructions: "Answer in one sentence.",
  model: "scripted:clerk",
  plugins: [plugin],
  limits: { cost: "0.50 USD" }
})

/** Every tenth run asks for an approval that nobody gives. */
const model = testing.script((request) => {
  const [first] = request.messages
  const n = first?.role === "user" ? Number(first.text) : 0
  if (request.messages.length > 1) return "It is done."
  return { toolCalls: [{ name: n % 10 === 0 ? "pay" : "look", params: { n } }] }
})

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "conductor-soak-"))
// The server runs as another user when this runs as root.
fs.chmodSync(scratch, 0o755)
const server = await makeServer(path.join(scratch, "postgres"), ["max_wal_size=4GB", "shared_buffers=256MB"])
const stop = async (code: number) => {
  await server.stop()
  fs.rmSync(scratch, { recursive: true, force: true })
  process.exit(code)
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void stop(1))

let completed = 0
let parked = 0
const one = (n: number) =>
  Conductor.run(agent, String(n)).pipe(
    Effect.matchEffect({
      onSuccess: () => Effect.sync(() => completed++),
      onFailure: (error) => error._tag === "RunWaiting" ? Effect.sync(() => parked++) : Effect.die(error)
    })
  )

/** Megabytes of the heap when everything that can go has gone. */
const heap = async (): Promise<number> => {
  // What waits for a timer or an answer gets the time for it.
  await setTimeout(2_000)
  for (let round = 0; round < 4; round++) {
    gc()
    await setTimeout(100)
  }
  return process.memoryUsage().heapUsed / 2 ** 20
}

try {
  await server.start()
  await server.createDatabase("soak")
  const runtime = ManagedRuntime.make(
    Conductor.layerPostgres({ agents: [agent], models: testing.models(model), url: Redacted.make(server.urlOf("soak")) })
  )
  const perform = (from: number, count: number) =>
    runtime.runPromise(
      Effect.forEach(Array.from({ length: count }, (_, index) => from + index), one, { concurrency, discard: true }).pipe(
        Effect.provideService(References.MinimumLogLevel, "Warn")
      )
    )
  // In two halves: what the first leaves behind for a while (code of V8 that is thrown away unused, for one) is gone after the second.
  await perform(1, warm >> 1)
  await heap()
  await perform(1 + (warm >> 1), warm - (warm >> 1))
  const before = await heap()
  const begun = performance.now()
  completed = 0
  parked = 0
  console.log(`Heap after ${warm} runs: ${before.toFixed(1)} MB`)
  const parts = 10
  for (let part = 0; part < parts; part++) {
    await perform(1 + warm + part * Math.ceil(runs / parts), Math.ceil(runs / parts))
    console.log(`${completed} completed, ${parked} parked, ${((performance.now() - begun) / 1000).toFixed(0)} s, heap ${(await heap()).toFixed(1)} MB`)
  }
  const after = await heap()
  const growth = (after / before - 1) * 100
  const met = growth <= 5
  console.log(`Heap before ${before.toFixed(1)} MB, after ${after.toFixed(1)} MB: ${growth >= 0 ? "+" : ""}${growth.toFixed(1)} % after ${completed} completed and ${parked} parked runs (goal: within 5 %: ${met ? "met" : "MISSED"})`)
  await runtime.dispose()
  await stop(met ? 0 : 1)
} catch (cause) {
  console.error(cause)
  await stop(1)
}
