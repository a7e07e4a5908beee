import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { AuditLog } from "../AuditLog.ts"
import { Conductor } from "../Conductor.ts"
import { Database } from "../Database.ts"
import { CurrentOrg } from "../Org.ts"
import { demo } from "../plugins/demo.ts"
import { isSet, providers, scripted } from "./Choice.ts"
import type { Place } from "./Environment.ts"
import { failed } from "./Failure.ts"
import { count, counted, duration } from "./Format.ts"
import { follow } from "./Follow.ts"
import { leaving } from "./Leave.ts"
import { Output } from "./Output.ts"
import { conductor } from "./Runtime.ts"

/** How this program is called: by npm in a checkout, by its name where it is installed. */
const programName: string = import.meta.url.endsWith(".ts") ? "npm run -s conductor --" : "conductor"

/** Says what is being done and, when it is done, what came of it and how long that took. */
const step = Effect.fnUntraced(function*<A, E, R>(what: string, effect: Effect.Effect<A, E, R>, result: (value: A) => string) {
  const output = yield* Output
  yield* output.note(`${what} …`)
  const before = yield* Clock.currentTimeMillis
  const value = yield* effect
  yield* output.note(`  ${result(value)} (${duration((yield* Clock.currentTimeMillis) - before)})`)
  return value
})

interface Input extends Place {
  readonly json: boolean
}

/** The agent's run, and the verdict on the audit trail. */
const ask = Effect.fnUntraced(function*(model: typeof scripted, { dataDir, databaseUrl, json }: Input) {
  const output = yield* Output
  const org = yield* CurrentOrg
  const runtime = yield* Conductor
  const audit = yield* AuditLog
  yield* step("Loading invented dealers", demo.load(org), (loaded) => `${counted(loaded, "dealer")} in the table leads`)
  yield* output.note(
    model === scripted
      ? `Asking a script that stands in for ${providers[0].model} at its prices; set ${providers[0].key} to ask the model itself.`
      : `Asking ${model}.`
  )
  if (!json) yield* output.line(`\n${output.paint.bold(demo.question)}\n`)
  const run = yield* runtime.start("dealers", demo.question, { model, sourceProject: "demo" })
  const state = yield* follow(run, { json })
  const report = yield* audit.verify({ org })
  if (report.broken !== undefined) return yield* failed(`The audit trail is broken: ${report.broken.message}`)
  const say = json ? output.note : output.line
  yield* say(`audit: ${count(report.rows)} rows, chain verified`)
  const dir = Option.isSome(dataDir) ? ` --data-dir ${JSON.stringify(dataDir.value)}` : ""
  // The URL of a database has a password in it, which is not for a terminal's history.
  const url = Option.isSome(databaseUrl) ? " --database-url … (as before)" : ""
  yield* say(`See it again: ${programName} show ${state.run}${dir}${url}`)
})

/** Opens the database, loads the dealers, runs the agent on its question, and verifies the audit trail. */
export const perform = Effect.fnUntraced(function*(input: Input) {
  const model = (yield* isSet(providers[0].key)) ? providers[0].model : scripted
  const opening = Layer.build(conductor([demo.agentOf(model)]))
  const context = yield* step("Opening the database (a new one takes some seconds)", opening, (built) => {
    const { description, kind, version } = Context.get(built, Database)
    return kind === "embedded" ? `embedded in ${description}` : `Postgres ${version} at ${description}`
  })
  yield* ask(model, input).pipe(leaving, Effect.provideContext(context))
}, Effect.scoped)
