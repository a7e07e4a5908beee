/** After a crash: how long it takes until the last of 1,000 interrupted runs is on its way again in the next process. */
import { Redacted } from "effect"
import { spawn } from "node:child_process"
import * as readline from "node:readline"
import { setTimeout } from "node:timers/promises"
import { figure, median, spread } from "./measure.ts"
import type { Server } from "./server.ts"

/** Interrupted runs. */
const runs = 1_000

/** A process of `restartChild.ts`, which says how many runs are in the middle of a request to the model. */
const launch = (url: string, begin: number) => {
  const file = new URL("./restartChild.ts", import.meta.url).pathname
  const child = spawn(process.execPath, ["--no-warnings", file, url, String(begin)], { stdio: ["pipe", "pipe", "inherit"] })
  process.once("exit", () => child.kill("SIGKILL"))
  const said = new Map<string, number>()
  const lines = readline.createInterface({ input: child.stdout })
  lines.on("line", (line) => said.set(line, said.get(line) ?? performance.now()))
  const ended = new Promise((resolve) => child.once("close", resolve))
  return {
    /** When it said so, in milliseconds. */
    heard: async (line: string): Promise<number> => {
      for (;;) {
        const at = said.get(line)
        if (at !== undefined) return at
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`restartChild.ts ended before it said "${line}"`)
        await setTimeout(5)
      }
    },
    kill: async () => {
      child.kill("SIGKILL")
      await ended
    }
  }
}

const once = async (server: Server) => {
  const url = Redacted.value(await server.database())
  const first = launch(url, runs)
  await first.heard(`asked ${runs}`)
  await first.kill()
  const killed = performance.now()
  const second = launch(url, 0)
  const ready = await second.heard("ready")
  const begun = await second.heard("asked 1")
  const done = await second.heard(`asked ${runs}`)
  await second.kill()
  return { boot: ready - killed, waited: begun - killed, all: done - killed, claims: done - begun }
}

/** Measures on Postgres, with the lease as it is by default and with one that has ended when the next process looks. */
export const restart = async (server: Server): Promise<void> => {
  console.log(`Restart: ${runs} runs in the middle of a request to the model, SIGKILL, and a new process at once.`)
  const results = [await once(server), await once(server), await once(server)]
  const of = (key: keyof (typeof results)[number]) => results.map((result) => result[key] / 1000)
  console.log(`  from the kill until the new process is ready: ${spread(of("boot"))} s`)
  console.log(`  until the first run is on its way again, the dead process's lease of 15 s included: ${spread(of("waited"))} s`)
  console.log(`  until the last of ${runs} is on its way again: ${spread(of("all"))} s`)
  console.log(`  from the first to the last: ${spread(of("claims"))} s, ${figure(runs / median(of("claims")))} runs a second`)
}
