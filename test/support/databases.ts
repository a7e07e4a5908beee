/**
 * The databases that a contract suite runs on: an embedded one and a real Postgres, each fresh, migrated and of this layer only.
 *
 * ```ts
 * for (const { name, layer: database } of databases) {
 *   layer(Memory.layer.pipe(Layer.provideMerge(database)))(`Memory (${name})`, (it) => { … })
 * }
 * ```
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { inject } from "vitest"
import { Database, type DatabaseLayer, type MigrateOptions } from "../../src/Database.ts"

/** A path that nothing uses yet, removed after the run. */
export const scratchPath = (name: string) => path.join(inject("scratch"), `${name}-${randomUUID()}`)

/** Does something in the maintenance database of the server. */
export const administer = <A>(use: (client: PgClient.PgClient) => Effect.Effect<A, unknown>) =>
  PgClient.makeClient({ url: Redacted.make(inject("postgresUrl")) }).pipe(
    Effect.flatMap(use),
    Effect.scoped,
    Effect.provide(Reactivity.layer),
    Effect.orDie
  )

/** The URL of a new database, dropped at the end of the scope: empty, or a copy of the migrated template. */
export const freshPostgres = (options: { readonly template?: boolean } = {}) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const name = `test_${randomUUID().replaceAll("-", "")}`
      const template = options.template === false ? "template0" : "conductor_template"
      const url = new URL(inject("postgresUrl"))
      url.pathname = `/${name}`
      return administer((sql) => sql.unsafe(`CREATE DATABASE ${name} TEMPLATE ${template}`).unprepared).pipe(
        Effect.as({ name, url: Redacted.make(url.toString()) })
      )
    }),
    ({ name }) => administer((sql) => sql.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`).unprepared)
  )

/** A directory with a copy of the migrated template, removed at the end of the scope: it may be in memory. */
export const freshDirectory = Effect.acquireRelease(
  Effect.sync(() => {
    const dir = scratchPath("embedded")
    fs.cpSync(inject("embeddedTemplate"), dir, { recursive: true })
    return dir
  }),
  (dir) => Effect.sync(() => fs.rmSync(dir, { recursive: true, force: true }))
)

/** A fresh, migrated embedded database. */
export const embedded: DatabaseLayer = Layer.unwrap(
  Effect.map(freshDirectory, (dir) => Database.layerEmbedded({ dir, fsync: false, migrate: { folder: inject("migrations") } }))
)

/** A fresh, migrated Postgres. */
export const postgres: DatabaseLayer = Layer.unwrap(
  Effect.map(freshPostgres(), ({ url }) => Database.layerPostgres({ url, migrate: { folder: inject("migrations") } }))
)

/** Both, for contract suites: `name` is for the suite's title. */
export const databases: ReadonlyArray<{ readonly name: "pglite" | "postgres"; readonly layer: DatabaseLayer }> = [
  { name: "pglite", layer: embedded },
  { name: "postgres", layer: postgres }
]

/** Both without a table in them: for what brings its own migrations, or none. */
export const emptyDatabases = (options: MigrateOptions = {}): ReadonlyArray<{ readonly name: "pglite" | "postgres"; readonly layer: DatabaseLayer }> => [
  { name: "pglite", layer: Layer.suspend(() => Database.layerEmbedded({ dir: scratchPath("empty"), fsync: false, ...options })) },
  {
    name: "postgres",
    layer: Layer.unwrap(Effect.map(freshPostgres({ template: false }), ({ url }) => Database.layerPostgres({ url, ...options })))
  }
]
