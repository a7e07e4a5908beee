import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as fs from "node:fs"
import { approvals } from "./Cli/Approvals.ts"
import { approve } from "./Cli/Approve.ts"
import { audit } from "./Cli/Audit.ts"
import { budgets } from "./Cli/Budgets.ts"
import { cancel } from "./Cli/Cancel.ts"
import { cost } from "./Cli/Cost.ts"
import { dashboard } from "./Cli/Dashboard.ts"
import { demo } from "./Cli/Demo.ts"
import { deny } from "./Cli/Deny.ts"
import { doctor } from "./Cli/Doctor.ts"
import { environment } from "./Cli/Environment.ts"
import { isHanded } from "./Cli/Exchange.ts"
import { exportRun } from "./Cli/Export.ts"
import { oneLine, reportOf } from "./Cli/Failure.ts"
import { keys } from "./Cli/Keys.ts"
import { memories } from "./Cli/Memories.ts"
import { migrate } from "./Cli/Migrate.ts"
import { models } from "./Cli/Models.ts"
import { orgs } from "./Cli/Orgs.ts"
import { Output } from "./Cli/Output.ts"
import { prune } from "./Cli/Prune.ts"
import { replay } from "./Cli/Replay.ts"
import { resolve } from "./Cli/Resolve.ts"
import { retry } from "./Cli/Retry.ts"
import { run } from "./Cli/Run.ts"
import { runs } from "./Cli/Runs.ts"
import { send } from "./Cli/Send.ts"
import { serve } from "./Cli/Serve.ts"
import { show } from "./Cli/Show.ts"
import { tools } from "./Cli/Tools.ts"
import { Itself, type Program, Within } from "./Cli/Within.ts"
import type { DirectoryLocked } from "./Database.ts"

export { launch } from "./Cli/Process.ts"

/** The version of the package, which is in the folder above both `src` and `dist`. */
const version = Effect.sync(() => String(JSON.parse(fs.readFileSync(new URL("../package.json", import.meta.url), "utf8")).version))

const conductor = Command.make("conductor").pipe(
  Command.withDescription("A durable, audited, priced agent runtime"),
  Command.withSubcommands([run, serve, dashboard, demo, runs, show, send, cancel, retry, approvals, approve, deny, resolve, exportRun, replay, cost, budgets, models, tools, audit, memories, keys, orgs, prune, migrate, doctor])
)

/** What is wrong with a command as one sentence. */
const sentence = (error: CliError.CliError): string => {
  if (error._tag === "UnexpectedArgument") return `${oneLine(error.message)}: put text of several words into quotation marks.`
  const [what = "", hint] = oneLine(error.message).split(" Did you mean this? ")
  const end = /[.?!]$/.test(what) ? what : `${what}.`
  return hint === undefined ? end : `${end} Did you mean ${hint}?`
}

/** Help goes to standard output; what is wrong with a command goes to standard error, as a sentence, without the help. */
const presenter = (output: Output["Service"], isColoured: boolean): CliOutput.Presenter => {
  const formatter = CliOutput.defaultFormatter({ colors: isColoured, globalFlags: "summary" })
  return {
    present: (event) => {
      switch (event._tag) {
        case "Help":
          return output.line(formatter.formatHelpDoc(event.helpDoc))
        case "InvalidInvocation":
          return output.note(
            `${event.errors.map(sentence).join(" ")} See "${event.commandPath.join(" ")} --help".`
          )
        case "Version":
          return output.line(formatter.formatVersion(event.name, event.version))
      }
    }
  }
}

const asksForDebug = (args: ReadonlyArray<string>) => /--log-level[= ](all|trace|debug)\b/.test(args.join(" "))

/**
 * The program: parses its arguments, runs the command and gives the exit code. What fails is a sentence on standard error; interruption
 * alone goes through.
 */
export const program: Program = Effect.fnUntraced(function*(args) {
  const output = yield* Output
  const isWithin = Option.isSome(yield* Within)
  // What a server is set to holds for what it carries out for others.
  const settings = yield* isWithin ? ConfigProvider.ConfigProvider : environment
  const debugging = yield* Config.String("CONDUCTOR_DEBUG").pipe(
    Config.option,
    Effect.provideService(ConfigProvider.ConfigProvider, settings),
    Effect.orElseSucceed(Option.none)
  )
  const debug = Option.isSome(debugging) || asksForDebug(args)
  const stdio = yield* Stdio.Stdio
  const read: Array<Uint8Array> = []
  const stdin = Stream.tap(stdio.stdin, (chunk) => Effect.sync(() => read.push(chunk)))
  const exit = yield* Command.runWith(conductor, { version: yield* version })(args).pipe(
    Effect.provideService(Stdio.Stdio, { ...stdio, stdin }),
    Effect.provideService(Itself, program),
    Effect.provideService(ConfigProvider.ConfigProvider, settings),
    Effect.provideService(CliOutput.Presenter, presenter(output, output.paint.bold("") !== "")),
    Effect.provideService(CliConfig.CliConfig, CliConfig.make({
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
    })),
    Effect.provideService(References.MinimumLogLevel, debug ? "Debug" : "Error"),
    Effect.provideService(Logger.LogToStderr, true),
    Effect.exit
  )
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
  const locked = lockedBy(exit.cause)
  if (locked === undefined || isWithin || !isHanded(args)) return yield* told(exit.cause, debug)
  const { forward } = yield* Effect.promise(() => import("./Cli/Forward.ts"))
  const carriedOut = yield* Effect.exit(forward(locked, args, Buffer.concat(read).toString("utf8")))
  if (Exit.isFailure(carriedOut)) return yield* told(carriedOut.cause, debug)
  return Option.isSome(carriedOut.value) ? carriedOut.value.value : yield* told(exit.cause, debug)
})

/** Who holds the data directory, where that kept a command from being carried out. */
const lockedBy = (cause: Cause.Cause<unknown>): DirectoryLocked | undefined => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  // The tag is of that class alone, which is not loaded here.
  return Predicate.isTagged(error, "DirectoryLocked") ? error as DirectoryLocked : undefined
}

/** Says what a cause means to the person at the terminal; the exit code. */
const told = Effect.fnUntraced(function*(cause: Cause.Cause<unknown>, debug: boolean) {
  const output = yield* Output
  const { code, sentence } = reportOf(cause, debug)
  if (sentence !== "") yield* output.note(sentence)
  return code
})
