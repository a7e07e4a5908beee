import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/encoding/Hex"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as HttpServer from "effect/http/HttpServer"
import { Conductor } from "../Conductor.ts"
import { Database } from "../Database.ts"
import { bootstrap } from "../Org.ts"
import { dealersAgent } from "../plugins/demo.ts"
import * as Server from "../Server.ts"
import { assistant } from "./Agents.ts"
import { choose, models, scripted, withKey } from "./Choice.ts"
import { failed, usage } from "./Failure.ts"
import { counted } from "./Format.ts"
import { routes } from "./Forwarded.ts"
import { Output } from "./Output.ts"
import { Signals } from "./Signals.ts"

interface Input {
  readonly host: string
  readonly port: number
  readonly drainSeconds: number
  readonly cors: ReadonlyArray<string>
}

/** The model of the agents: the one that is configured, else a script, so that there is something to serve without a key. */
const model = Effect.gen(function*() {
  const provider = yield* withKey
  return Option.isNone(provider) ? scripted : yield* choose(Option.none())
}).pipe(Effect.provide(models))

/** Why the port cannot be had, as a sentence. */
const unbound = ({ host, port }: Input) => (cause: unknown) => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
  const remedy = code === "EADDRINUSE" ? "another program has it; choose one with --port" : code
  return failed(`Cannot listen on ${host}:${port} (${remedy}).`)
}

/** The origins whose pages may use the server: those of the flags, else those that are configured. */
const originsOf = Effect.fnUntraced(function*({ cors }: Input) {
  const written = cors.length > 0 ? cors : [yield* Config.withDefault(Config.String("CONDUCTOR_CORS"), "")]
  const origins = written.flatMap((text) => text.split(",")).map((text) => text.trim()).filter((text) => text !== "")
  for (const origin of origins) {
    const problem = Server.originProblem(origin)
    if (problem !== undefined) return yield* usage(`"${origin}" is no origin for --cors or CONDUCTOR_CORS: ${problem}.`)
  }
  return origins
})

/** Says where the server is, and what to send it. */
const greet = Effect.fnUntraced(function*(address: string, database: Database["Service"], chosen: string) {
  const output = yield* Output
  const { bold, dim } = output.paint
  const { key, org } = yield* bootstrap
  const where = database.kind === "embedded" ? database.description : `Postgres ${database.version} at ${database.description}`
  yield* output.line(`${bold("Conductor")} serves on ${bold(address)}  ${dim(`(${where})`)}`)
  yield* output.line(`  ${Server.reachable(address)}/docs says what can be asked.`)
  if (chosen === scripted) yield* output.line("  No key for a model is set, so a script answers: put ANTHROPIC_API_KEY=… into .env for a model.")
  const shown = Option.match(key, { onNone: () => "$CONDUCTOR_API_KEY", onSome: (made) => Redacted.value(made.key) })
  if (Option.isSome(key)) yield* output.line(`\nThe first API key, shown once:\n\n  ${bold(shown)}`)
  yield* output.line(`\nThe dashboard, for ten minutes and one browser (conductor dashboard prints another link):\n\n  ${bold(Redacted.value(yield* Server.link(org)))}`)
  yield* output.line(
    `\nTry it:\n\n  curl -s ${Server.reachable(address)}/v1/runs -H "Authorization: Bearer ${shown}" \\\n    -H "Content-Type: application/json" -d '{"input": "Say hello."}'\n`
  )
})

/** Starts nothing more, lets runs go on for some time, and parks the others. */
const end = Effect.fnUntraced(function*(signal: string, seconds: number) {
  const output = yield* Output
  const { drain } = yield* Conductor
  const draining = yield* Server.Draining
  yield* output.note(`Ending (${signal}): no new runs; those under way have ${counted(seconds, "second")} …`)
  yield* draining.begin
  const { finished, parked } = yield* drain(`${seconds} seconds`)
  const and = parked.length === 0 ? "" : `, ${parked.length} parked for the next start`
  if (finished.length + parked.length > 0) yield* output.note(`${counted(finished.length, "run")} finished${and}.`)
})

/** Serves until it is told to end, also for commands of other processes on its data directory. */
export const perform = Effect.fnUntraced(function*(input: Input) {
  const output = yield* Output
  const signals = yield* Signals
  const origins = yield* originsOf(input)
  const chosen = yield* model
  yield* output.note("Opening the database …")
  yield* signals.serving(Effect.gen(function*() {
    const runtime = yield* Layer.build(Conductor.layer({ agents: [assistant(chosen), dealersAgent(chosen)], models }))
    const token = Encoding.encode(yield* Context.get(runtime, SecureRandom.SecureRandom).randomBytes(32))
    const services = yield* Layer.build(Server.layer({ ...input, origins }, routes(token, runtime))).pipe(
      Effect.provideContext(runtime),
      Effect.catchTag("ServeError", ({ cause }) => unbound(input)(cause)),
      Effect.map(Context.merge(runtime))
    )
    const database = Context.get(services, Database)
    const address = HttpServer.formatAddress(Context.get(services, HttpServer.HttpServer).address)
    if (Option.isSome(database.lock)) yield* database.lock.value.announce(Server.reachable(address), token)
    yield* Effect.andThen(
      greet(address, database, chosen),
      Effect.flatMap(signals.end, (signal) => end(signal, input.drainSeconds))
    ).pipe(Effect.provideContext(services))
  }))
}, Effect.scoped, Effect.provideService(References.MinimumLogLevel, "Info"), Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatJson)])))
