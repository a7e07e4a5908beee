import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Database } from "../Database.ts"
import { Output } from "./Output.ts"

const url = (name: string) => Config.map(Config.option(Config.Redacted(name)), Option.filter((url) => Redacted.value(url).trim() !== ""))

const optional = <A>(config: Config.Config<A>) => Config.map(Config.option(config), Option.getOrUndefined)

/** The Postgres of the settings, or else the directory of the embedded database. */
export const whereabouts = Config.all({
  url: Config.map(Config.all([url("DATABASE_URL"), url("SUPABASE_DB_URL")]), ([first, second]) => Option.orElse(first, () => second)),
  dir: Config.withDefault(Config.String("CONDUCTOR_DATA_DIR"), ".conductor"),
  fsync: optional(Config.Boolean("CONDUCTOR_DATABASE_FSYNC")),
  prepare: optional(Config.Boolean("CONDUCTOR_DATABASE_PREPARE"))
})

/** The database of the settings as it is, without bringing it up to date. */
export const asItIs = Layer.unwrap(Effect.map(whereabouts, ({ dir, fsync, prepare, url }) =>
  Option.isSome(url)
    ? Database.layerPostgres({ url: url.value, prepare, migrate: false })
    : Database.layerEmbedded({ dir, fsync, migrate: false })
))

const status = Effect.flatMap(Database, (database) => Effect.map(database.migrations, (migrations) => ({ ...migrations, where: database.description })))

/** `conductor migrate`. */
export const migrateDatabase = Effect.gen(function*() {
  const output = yield* Output
  const before = yield* Effect.provide(status, asItIs)
  const after = before.pending.length === 0 ? before : yield* Effect.provide(status, Database.layer)
  for (const { name } of before.applied) yield* output.line(output.paint.dim(`  ${name}`))
  for (const name of before.pending) yield* output.line(`${output.paint.green("✓")} ${name}`)
  const done = before.pending.length
  yield* output.line(
    done === 0 ? `${after.where} is up to date.` : `${after.where} is up to date; ${done} migration${done === 1 ? " was" : "s were"} applied.`
  )
})
