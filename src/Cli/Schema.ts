import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Database } from "../Database.ts"
import { Output } from "./Output.ts"

const url = (name: string) => Config.map(Config.option(Config.Redacted(name)), Option.filter((url) => Redacted.value(url).trim() !== ""))

/** The Postgres of the settings, or else the directory of the embedded database. */
export const whereabouts = Config.all({
  url: Config.map(Config.all([url("DATABASE_URL"), url("SUPABASE_DB_URL")]), ([first, second]) => Option.orElse(first, () => second)),
  dir: Config.withDefault(Config.String("CONDUCTOR_DATA_DIR"), ".conductor")
})

const status = Effect.flatMap(Database, (database) => Effect.map(database.migrations, (migrations) => ({ ...migrations, where: database.description })))

/** `conductor migrate`. */
export const migrateDatabase = Effect.gen(function*() {
  const output = yield* Output
  const before = yield* Effect.provide(status, Database.layerAsItIs)
  const after = before.pending.length === 0 ? before : yield* Effect.provide(status, Database.layer)
  for (const { name } of before.applied) yield* output.line(output.paint.dim(`  ${name}`))
  for (const name of before.pending) yield* output.line(`${output.paint.green("✓")} ${name}`)
  const done = before.pending.length
  yield* output.line(
    done === 0 ? `${after.where} is up to date.` : `${after.where} is up to date; ${done} migration${done === 1 ? " was" : "s were"} applied.`
  )
})
