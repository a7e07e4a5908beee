import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import { at } from "./Environment.ts"
import { database } from "./Options.ts"

/** `conductor migrate`: brings the database up to date. */
export const migrate = Command.make("migrate", database, Effect.fnUntraced(function*(input) {
  const { migrateDatabase } = yield* Effect.promise(() => import("./Schema.ts"))
  yield* migrateDatabase.pipe(at(input))
})).pipe(Command.withDescription("Bring the database up to date; every command that writes does so too"))
