import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as HttpServer from "effect/http/HttpServer"
import { Conductor } from "../Conductor.ts"
import { Database } from "../Database.ts"
import { bootstrap } from "../Org.ts"
import { dealersAgent } from "../plugins/demo.ts"
import * as Server from "../Server.ts"
import { assistant } from "./Agents.ts"
import { choose, models, scripted, withKey } from "./Choice.ts"
import { failed } from "./Failure.ts"
import { counted } from "./Format.ts"
import { Output } from "./Output.ts"
import { Signals } from "./Signals.ts"

interface Input {
  readonly host: string
  readonly port: number
  readonly drainSeconds: number
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

/** Says where the server is, and what to send it. */
const greet = Effect.fnUntraced(function*(address: string, services: Context.Context<Database | Conductor>, chosen: string) {
  const output = yield* Output
  const { bold, dim } = output.paint
  const database = Context.get(services, Database)
  const { key } = yield* bootstrap
  yield* output.line(`${bold("Conductor")} serves on ${bold(address)}  ${dim(`(${database.kind === "embedded" ? database.description : `Postgres ${database.version} at ${database.description}`})`)}`)
  yield* output.line(`  ${address}/docs says what can be asked.`)
  if (chosen === scripted) yield* output.line("  No key for a model is set, so a script answers: put ANTHROPIC_API_KEY=… into .env for a model.")
  const shown = Option.match(key, { onNone: () => "$CONDUCTOR_API_KEY", onSome: (made) => Redacted.value(made.key) })
  if (Option.isSome(key)) {
    yield* output.line(`\nThe first API key, shown once:\n\n  ${bold(shown)}`)
  }
  yield* output.line(`\nTry it:\n\n  curl -s ${address}/v1/runs -H "Authorization: Bearer ${shown}" \\\n    -H "Content-Type: application/json" -d '{"input": "Say hello."}'\n`)
})

/** Serves until it is told to end; then starts nothing more, lets runs go on for some time, and parks the others. */
export const perform = Effect.fnUntraced(function*(input: Input) {
  const output = yield* Output
  const signals = yield* Signals
  const chosen = yield* model
  const runtime = Conductor.layer({ agents: [assistant(chosen), dealersAgent(chosen)], models })
  const served = Server.layer(input).pipe(
    Layer.provideMerge(Server.Draining.layer),
    Layer.provideMerge(runtime)
  )
  yield* output.note("Opening the database …")
  yield* signals.serving(Effect.gen(function*() {
    const services = yield* Layer.build(served).pipe(
      Effect.catchTag("ServeError", ({ cause }) => unbound(input)(cause))
    )
    yield* Effect.gen(function*() {
      const server = yield* HttpServer.HttpServer
      const address = HttpServer.formatAddress(server.address)
      yield* greet(address, services, chosen)
      const signal = yield* signals.end
      const { drain } = yield* Conductor
      const draining = yield* Server.Draining
      yield* output.note(`Ending (${signal}): no new runs; those under way have ${counted(input.drainSeconds, "second")} …`)
      yield* draining.begin
      const { finished, parked } = yield* drain(`${input.drainSeconds} seconds`)
      const and = parked.length === 0 ? "" : `, ${parked.length} parked for the next start`
      if (finished.length + parked.length > 0) yield* output.note(`${counted(finished.length, "run")} finished${and}.`)
    }).pipe(Effect.provideContext(services))
  }))
}, Effect.scoped, Effect.provideService(References.MinimumLogLevel, "Info"), Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatJson)])))
