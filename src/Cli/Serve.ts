import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { at } from "./Environment.ts"
import { place } from "./Options.ts"

/** `conductor serve`: the runtime behind HTTP. */
export const serve = Command.make("serve", {
  host: Flag.String("host").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription("Where to listen; 0.0.0.0 for every network (default 127.0.0.1: this machine only)"),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flag.Int("port").pipe(
    Flag.filter((port) => port >= 0 && port <= 65_535, () => "Expected a port from 0 to 65535"),
    Flag.withDescription("0 for any that is free"),
    Flag.withDefault(8787)
  ),
  drainSeconds: Flag.Int("drain-seconds").pipe(
    Flag.filter((seconds) => seconds >= 0 && seconds <= 86_400, () => "Expected seconds from 0 to 86400"),
    Flag.withDescription("How long runs under way may go on when the server is told to end; then they are parked"),
    Flag.withDefault(20)
  ),
  cors: Flag.String("cors").pipe(
    Flag.withMetavar("ORIGIN"),
    Flag.withDescription("An origin whose pages may use the server, such as https://example.com; again for more (default CONDUCTOR_CORS, or none)"),
    Flag.atLeast(0)
  ),
  ...place
}, Effect.fnUntraced(function*(input) {
  const { perform } = yield* Effect.promise(() => import("./Serving.ts"))
  yield* perform(input).pipe(at(input))
})).pipe(
  Command.withDescription("Serve the HTTP API"),
  Command.withExamples([
    { command: "conductor serve", description: "On 127.0.0.1:8787, with the data in .conductor" },
    { command: "conductor serve --database-url postgres://… --host 0.0.0.0", description: "For others, on a Postgres" }
  ])
)
