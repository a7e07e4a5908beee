import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as FileSystem from "effect/FileSystem"
import { versions } from "node:process"
import { Database, holderOf } from "../Database.ts"
import { RunLog, Store } from "../RunLog.ts"
import { isSet, providers, withKey } from "./Choice.ts"
import { Ended, oneLine } from "./Failure.ts"
import { counted } from "./Format.ts"
import { Output } from "./Output.ts"
import { whereabouts } from "./Schema.ts"

/** What was looked at, how it is, and what to do about it where something is to be done. */
export interface Check {
  readonly name: string
  readonly verdict: "good" | "attention" | "wrong"
  readonly finding: string
  readonly remedy?: string
}

const good = (name: string, finding: string): Check => ({ name, verdict: "good", finding })
const attention = (name: string, finding: string, remedy: string): Check => ({ name, verdict: "attention", finding, remedy })
const wrong = (name: string, finding: string, remedy: string): Check => ({ name, verdict: "wrong", finding, remedy })

/** The check of a Node version; Conductor needs 22.19 or newer. */
export const nodeCheck = (version: string): Check => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 22 || (major === 22 && minor >= 19)
    ? good("Node", version)
    : wrong("Node", `${version} is too old`, "install Node 22.19 or newer, best 24")
}

const keys = Effect.gen(function*() {
  const checks: Array<Check> = []
  for (const { key, model } of providers) if (yield* isSet(key)) checks.push(good(key, `set; ${model} can be asked`))
  const any = yield* withKey
  if (Option.isSome(any)) return checks
  const [first] = providers
  return [wrong(first.key, "not set, so no model can be asked", `put ${providers.map(({ key }) => `${key}=…`).join(" or ")} into .env or the environment; conductor demo works without`)]
})

/** The check of what an answered commit survives. */
export const durability = (kind: Database["Service"]["durability"]): Check => {
  switch (kind) {
    case "server":
      return good("durability", "as the Postgres server is set up")
    case "power loss":
      return good("durability", "what is committed survives a power loss")
    case "process":
      return attention("durability", "what is committed survives the end of the process, but not a power loss", "remove CONDUCTOR_DATABASE_FSYNC=false")
    case "none":
      return attention("durability", "the data is in memory only", "set CONDUCTOR_DATA_DIR to a directory")
  }
}

const unclaimed = Effect.gen(function*() {
  const store = yield* Store
  const waiting = yield* store.unclaimed
  if (waiting.length === 0) return good("unfinished runs", "none that nobody performs")
  const list = waiting.map(({ agent, runs }) => `${counted(runs, "run")} of ${agent}`).join(", ")
  return attention(
    "unfinished runs",
    `nobody performs ${list}`,
    "see them with conductor runs, then conductor retry RUN or conductor cancel RUN; agents of other programs go on when those run"
  )
}).pipe(Effect.provide(RunLog.layerSql([], []).pipe(Layer.provide(SecureRandom.layerWebCrypto))))

const opened = Effect.gen(function*() {
  const database = yield* Database
  const what = database.kind === "embedded" ? `embedded (Postgres ${database.version})` : `Postgres ${database.version}`
  const checks = [good("database", `${what}, ${database.description}`), durability(database.durability)]
  const { applied, pending } = yield* database.migrations
  if (pending.length > 0) {
    return [...checks, attention("migrations", `${counted(pending.length, "migration")} to apply: ${pending.join(", ")}`, "run conductor migrate; any run applies them too")]
  }
  return [...checks, good("migrations", `all ${applied.length} applied`), yield* unclaimed]
})

const database = Effect.gen(function*() {
  const { dir, url } = yield* whereabouts
  if (Option.isNone(url)) {
    const files = yield* FileSystem.FileSystem
    const holder = yield* holderOf(dir)
    if (Option.isSome(holder)) {
      const { address, pid } = holder.value
      if (address !== null) return [good("database", `${dir} is served by process ${pid} at ${address}; ${address}/ready says whether it takes work`)]
      return [wrong("database", `${dir} is in use by process ${pid}, so it cannot be looked at`, "stop that process, or use a Postgres (DATABASE_URL), which many processes can share")]
    }
    if (!(yield* Effect.orElseSucceed(files.exists(`${dir}/pgdata`), () => true))) {
      return [good("database", `none yet in ${dir}; the first run makes it, which takes some seconds`)]
    }
  }
  return yield* Effect.provide(opened, Database.layerAsItIs)
}).pipe(
  Effect.catch((error) => {
    const sentence = oneLine(error.message)
    const colon = sentence.lastIndexOf(": ")
    return Effect.succeed([
      colon < 0
        ? wrong("database", sentence, "see that it runs and that its address is right")
        : wrong("database", sentence.slice(0, colon), sentence.slice(colon + 2).replace(/\.$/, ""))
    ])
  })
)

const marks = { good: "✓", attention: "!", wrong: "✗" } as const

/** `conductor doctor`. */
export const examine = Effect.fnUntraced(function*(json: boolean) {
  const output = yield* Output
  const { paint } = output
  const colours = { good: paint.green, attention: paint.yellow, wrong: paint.red }
  const checks: ReadonlyArray<Check> = [nodeCheck(versions.node), ...(yield* keys), ...(yield* database)]
  for (const check of checks) {
    if (json) {
      yield* output.line(JSON.stringify(check))
      continue
    }
    yield* output.line(`${colours[check.verdict](marks[check.verdict])} ${check.name}: ${check.finding}`)
    if (check.remedy !== undefined) yield* output.line(`    → ${check.remedy}`)
  }
  const bad = checks.filter((check) => check.verdict === "wrong").length
  if (bad > 0) return yield* new Ended({ code: 1, sentence: json ? "" : `${counted(bad, "thing")} wrong.` })
})
