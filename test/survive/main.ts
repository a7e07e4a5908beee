/**
 * Shows that runs survive: `npm run survive`, or `npm run survive -- --seed oak1 --kills 20 --database pglite`.
 * Ends with 1, and a sentence for each, where something does not hold.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { freshSeed } from "../support/chance.ts"
import { makeServer } from "../support/server.ts"
import { type Campaign, carryOut, describe } from "./campaign.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    kills: { type: "string", default: "200" },
    runs: { type: "string", default: "50" },
    database: { type: "string", default: "both" }
  }
})
const seed = values.seed ?? freshSeed()
const [kills, runs] = [Number(values.kills), Number(values.runs)]
const databases = (["postgres", "pglite"] as const).filter((name) => values.database === name || values.database === "both")
if (databases.length === 0 || !Number.isInteger(kills) || kills < 1 || !Number.isInteger(runs) || runs < 1) {
  console.error("Use: npm run survive -- [--seed TEXT] [--kills N] [--runs N] [--database postgres|pglite|both]")
  process.exit(1)
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "conductor-survive-"))
// The server runs as another user when this runs as root.
fs.chmodSync(scratch, 0o755)
const server = databases.includes("postgres") ? await makeServer(path.join(scratch, "postgres"), ["max_connections=100"]) : undefined

const campaignOn = async (name: "postgres" | "pglite"): Promise<Campaign> => {
  const progress = (done: number) => void (done % 25 === 0 && console.log(`${name}: ${done} kills`))
  const common = { seed: `${seed}-${name}`, kills: Math.ceil(kills / databases.length), runs, progress }
  if (server === undefined || name === "pglite") return { ...common, at: { dir: path.join(scratch, "pglite") }, workers: 1 }
  await server.createDatabase("survive")
  return { ...common, at: { url: server.urlOf("survive") }, workers: 2 }
}

let broken = 0
const end = async (code: number) => {
  await server?.stop()
  fs.rmSync(scratch, { recursive: true, force: true })
  process.exit(code)
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void end(1))
try {
  await server?.start()
  console.log(`Seed ${seed}`)
  for (const name of databases) {
    const begun = performance.now()
    const outcome = await carryOut(await campaignOn(name))
    console.log(`\n${name}, ${((performance.now() - begun) / 1000).toFixed(0)} s: ${describe(outcome)}`)
    for (const sentence of outcome.broken) console.error(`DOES NOT HOLD: ${sentence}.`)
    broken += outcome.broken.length
  }
  console.log(broken === 0 ? "\nEverything holds." : `\n${broken} things do not hold. Again: npm run survive -- --seed ${seed} --kills ${kills} --runs ${runs} --database ${values.database}`)
} catch (cause) {
  broken++
  console.error(cause)
}
await end(broken === 0 ? 0 : 1)
