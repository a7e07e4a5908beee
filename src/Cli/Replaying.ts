import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import { Export, Replay } from "../testing.ts"
import { agentOf, agentOfRun } from "./Agents.ts"
import { failed } from "./Failure.ts"
import { counted } from "./Format.ts"
import { Output, plain } from "./Output.ts"
import { conductor, isRunId, runId } from "./Runtime.ts"

const stored = Effect.fnUntraced(function*(run: string) {
  return yield* Export.of(yield* runId(run))
}, Effect.provide(conductor([])))

/** `conductor export`. */
export const write = Effect.fnUntraced(function*(input: { readonly run: string; readonly out: Option.Option<string> }) {
  const output = yield* Output
  const document = yield* stored(input.run)
  if (Option.isNone(input.out)) return yield* output.write(Export.print(document))
  const file = input.out.value
  const files = yield* FileSystem.FileSystem
  yield* files.writeFileString(file, Export.print(document)).pipe(
    Effect.catchTag("PlatformError", (error) => failed(`The file ${file} cannot be written (${error.reason._tag}): name another with --out.`))
  )
  yield* output.note(`${counted(document.events.length, "event")} of run ${document.run} are in ${file}, with all that was said in it.`)
})

const read = Effect.fnUntraced(function*(file: string) {
  const files = yield* FileSystem.FileSystem
  const text = yield* files.readFileString(file).pipe(
    Effect.catchTag("PlatformError", (error) =>
      failed(`There is no run "${file}", and no such file can be read (${error.reason._tag}): give the id of a run, or a file that conductor export wrote.`))
  )
  return yield* Export.parse(text)
})

/** `conductor replay`. */
export const play = Effect.fnUntraced(function*(input: { readonly run: string; readonly agent: Option.Option<string>; readonly json: boolean }) {
  const output = yield* Output
  const document = yield* isRunId(input.run) ? stored(input.run) : read(input.run)
  const started = document.events[0]?.event
  if (started?._tag !== "RunStarted") return yield* failed("This is not a stored run: it does not begin with RunStarted.")
  const agent = Option.isSome(input.agent) ? yield* agentOf(input.agent.value, started.model, undefined) : agentOfRun(started.agent, started.model)
  if (agent === undefined) {
    return yield* failed(`The agent "${started.agent}" of run ${document.run} is not one of this program: replay it where that agent is, or name another with --agent.`)
  }
  const told = (result: object) => output.line(JSON.stringify({ run: document.run, ...result }))
  yield* Replay.run(document, { agents: [{ ...agent, name: started.agent }] }).pipe(
    Effect.matchEffect({
      onSuccess: ({ events, state }) =>
        input.json
          ? told({ identical: true, events: events.length })
          : output.line(`${output.paint.green("✓")} identical: ${counted(events.length, "event")}, ${counted(state.turns, "turn")}`),
      onFailure: Effect.fnUntraced(function*(error) {
        if (error._tag !== "ReplayDiffers") return yield* Effect.fail(error)
        const { difference, seq, what } = error
        yield* input.json ? told({ identical: false, seq, what, difference }) : output.line(plain(difference))
        return yield* failed(`Run ${document.run} differs from its log at event ${seq}: ${what}.`)
      })
    })
  )
})
