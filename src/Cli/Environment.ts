import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { usage } from "./Failure.ts"
import { Output } from "./Output.ts"

const assignment = /^\s*(?:export\s+)?[A-Za-z_][\w.-]*\s*=/
const isEmpty = /^\s*(?:#.*)?$/

/** The numbers of the lines of a `.env` file that are neither `NAME=value`, a comment, nor within a quoted value. */
export const nonsense = (text: string): ReadonlyArray<number> => {
  const bad: Array<number> = []
  let quote: string | undefined
  for (const [index, line] of text.split(/\r\n?|\n/).entries()) {
    if (quote !== undefined) {
      if (line.includes(quote)) quote = undefined
    } else if (assignment.test(line)) {
      const value = line.slice(line.indexOf("=") + 1).trim()
      const first = value.charAt(0)
      if (["\"", "'", "`"].includes(first) && !value.slice(1).includes(first) && text.split(first).length % 2 === 1) quote = first
    } else if (!isEmpty.test(line)) {
      bad.push(index + 1)
    }
  }
  return bad
}

/** What is set, from the environment and then from the `.env` of the working directory. Lines without sense are ignored with a note. */
export const environment = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const output = yield* Output
  const current = yield* ConfigProvider.ConfigProvider
  const text = yield* files.readFileString(".env").pipe(
    Effect.map(Option.some),
    Effect.catchTag("PlatformError", (error) =>
      error.reason._tag === "NotFound"
        ? Effect.succeedNone
        : Effect.as(output.note(`.env cannot be read (${error.reason._tag}) and is ignored.`), Option.none<string>()))
  )
  if (Option.isNone(text)) return current
  const lines = nonsense(text.value)
  if (lines.length > 0) {
    const which = lines.length === 1 ? `Line ${lines[0]} of .env is` : `Lines ${lines.slice(0, 5).join(", ")}${lines.length > 5 ? " …" : ""} of .env are`
    yield* output.note(`${which} not of the form NAME=value, and ignored: correct .env or begin such a line with #.`)
  }
  return ConfigProvider.orElse(current, ConfigProvider.fromDotEnvContents(text.value))
})

/** Where the data is and whose, as the flags of a command say. */
export interface Place {
  readonly dataDir: Option.Option<string>
  readonly databaseUrl: Option.Option<Redacted.Redacted>
  readonly org?: Option.Option<string>
}

/** Runs a command with `--data-dir` and `--database-url` before what is set in the environment, for the organisation of `--org`. */
export const at = ({ dataDir, databaseUrl, org = Option.none() }: Place) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    if (Option.isSome(dataDir) && Option.isSome(databaseUrl)) {
      return yield* usage("--data-dir and --database-url exclude each other: give the one where the data is.")
    }
    if (Option.isSome(dataDir) && dataDir.value.trim() === "") return yield* usage("--data-dir is empty: name a directory.")
    if (Option.isSome(org) && org.value.trim() === "") return yield* usage("--org is empty: name an organisation, as conductor orgs lists them.")
    const current = yield* ConfigProvider.ConfigProvider
    const env: Record<string, string> = {}
    if (Option.isSome(dataDir)) Object.assign(env, { CONDUCTOR_DATA_DIR: dataDir.value, DATABASE_URL: "", SUPABASE_DB_URL: "" })
    if (Option.isSome(databaseUrl)) env["DATABASE_URL"] = Redacted.value(databaseUrl.value)
    const flags = ConfigProvider.fromEnv({ env, preserveEmptyStrings: true })
    const placed = Effect.provideService(effect, ConfigProvider.ConfigProvider, ConfigProvider.orElse(flags, current))
    if (Option.isNone(org)) return yield* placed
    const [{ CurrentOrg }, { OrgId }] = yield* Effect.promise(() => Promise.all([import("../Org.ts"), import("../Run.ts")]))
    return yield* Effect.provideService(placed, CurrentOrg, OrgId.make(org.value.trim()))
  })
