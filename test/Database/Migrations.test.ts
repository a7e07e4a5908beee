import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs"
import * as path from "node:path"
import { Database } from "../../src/Database.ts"
import * as Migrations from "../../src/Database/Migrations.ts"
import { emptyDatabases, freshPostgres, scratchPath } from "../support/databases.ts"

/** A folder of migrations with these files. */
const folderOf = (files: Record<string, string>) => {
  const folder = scratchPath("sql")
  fs.mkdirSync(folder)
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text)
  return folder
}

/** A table name that no other test uses, because the tests of a suite share their database. */
let counter = 0
const fresh = () => `t${++counter}`

/** Forgets what was applied, as in a database that has seen none of it. */
const forget = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DROP TABLE IF EXISTS conductor_migrations`
})

for (const { name, layer: database } of emptyDatabases({ migrate: false })) {
  layer(database)(`Migrations (${name})`, (it) => {
    it.effect("applies the files in order, once", () =>
      Effect.gen(function*() {
        yield* forget
        const sql = yield* SqlClient.SqlClient
        const table = fresh()
        const folder = folderOf({
          "002_b.sql": `INSERT INTO ${table} VALUES (2);`,
          "001_a.sql": `CREATE TABLE ${table} (i int);\nINSERT INTO ${table} VALUES (1)`,
          "readme.txt": "no migration"
        })
        assert.deepStrictEqual(yield* Migrations.status(folder), { applied: [], pending: ["001_a.sql", "002_b.sql"] })
        assert.deepStrictEqual(yield* Migrations.run(folder), ["001_a.sql", "002_b.sql"])
        assert.deepStrictEqual(yield* Migrations.run(folder), [])
        fs.writeFileSync(path.join(folder, "003_c.sql"), `INSERT INTO ${table} VALUES (3)`)
        assert.deepStrictEqual((yield* Migrations.status(folder)).pending, ["003_c.sql"])
        assert.deepStrictEqual(yield* Migrations.run(folder), ["003_c.sql"])
        assert.deepStrictEqual(yield* sql`SELECT i FROM ${sql(table)} ORDER BY i`, [{ i: 1 }, { i: 2 }, { i: 3 }])
        const status = yield* Migrations.status(folder)
        assert.deepStrictEqual(status.applied.map((one) => one.name), ["001_a.sql", "002_b.sql", "003_c.sql"])
        assert.instanceOf(status.applied[0]?.appliedAt, Date)
      }))

    it.effect("does not mind other line ends", () =>
      Effect.gen(function*() {
        yield* forget
        const folder = folderOf({ "001_a.sql": "SELECT 1;\nSELECT 2;\n" })
        yield* Migrations.run(folder)
        fs.writeFileSync(path.join(folder, "001_a.sql"), "SELECT 1;\r\nSELECT 2;\r\n")
        assert.deepStrictEqual(yield* Migrations.run(folder), [])
      }))

    it.effect("refuses a file that was changed, and names it", () =>
      Effect.gen(function*() {
        yield* forget
        const folder = folderOf({ "001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2" })
        yield* Migrations.run(folder)
        fs.writeFileSync(path.join(folder, "001_a.sql"), "SELECT 3")
        const error = yield* Effect.flip(Migrations.run(folder))
        assert.strictEqual(error._tag, "MigrationChanged")
        assert.include(error.message, "001_a.sql")
        assert.strictEqual((yield* Effect.flip(Migrations.status(folder)))._tag, "MigrationChanged")
      }))

    it.effect("refuses to go on when a file vanished, and names it", () =>
      Effect.gen(function*() {
        yield* forget
        const folder = folderOf({ "001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2" })
        yield* Migrations.run(folder)
        fs.rmSync(path.join(folder, "002_b.sql"))
        const error = yield* Effect.flip(Migrations.run(folder))
        assert.strictEqual(error._tag, "MigrationVanished")
        assert.include(error.message, "002_b.sql")
      }))

    it.effect("names file, line and statement of a failure, and applies nothing of the file", () =>
      Effect.gen(function*() {
        yield* forget
        const sql = yield* SqlClient.SqlClient
        const table = fresh()
        const folder = folderOf({ "001_a.sql": `CREATE TABLE ${table} (i int);\n\nINSERT INTO ${table}\n  SELECT nonsense;` })
        const error = yield* Effect.flip(Migrations.run(folder))
        assert(error._tag === "MigrationFailed")
        assert.strictEqual(error.file, "001_a.sql")
        assert.strictEqual(error.line, 4)
        assert.strictEqual(error.statement, `INSERT INTO ${table} SELECT nonsense`)
        assert.include(error.message, "001_a.sql, line 4")
        assert.include(error.message, "column \"nonsense\" does not exist")
        assert.deepStrictEqual(yield* sql`SELECT to_regclass(${table}) AS found`, [{ found: null }])
        assert.deepStrictEqual((yield* Migrations.status(folder)).pending, ["001_a.sql"])
        fs.writeFileSync(path.join(folder, "001_a.sql"), `CREATE TABLE ${table} (i int)`)
        assert.deepStrictEqual(yield* Migrations.run(folder), ["001_a.sql"])
      }))

    it.effect("tells the detail and the hint of a failure", () =>
      Effect.gen(function*() {
        yield* forget
        const table = fresh()
        const twice = yield* Effect.flip(Migrations.run(folderOf({
          "001_a.sql": `CREATE TABLE ${table} (i int PRIMARY KEY);\nINSERT INTO ${table} VALUES (7), (7)`
        })))
        assert.include(twice.message, "line 2")
        assert.include(twice.message, "Key (i)=(7) already exists")
        const misspelt = yield* Effect.flip(Migrations.run(folderOf({ "001_a.sql": "SELECT lenght('x')" })))
        assert.include(misspelt.message, "lenght")
        assert.include(misspelt.message, "line 1")
      }))

    it.effect("refuses transaction control in a file", () =>
      Effect.gen(function*() {
        yield* forget
        const error = yield* Effect.flip(Migrations.run(folderOf({ "001_a.sql": "-- first\nSELECT 1;\nCOMMIT;" })))
        assert(error._tag === "MigrationFailed")
        assert.strictEqual(error.line, 3)
        assert.include(error.message, "remove the transaction control")
      }))

    it.effect("says which folder cannot be read", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Migrations.run("/proc/nowhere"))
        assert(error._tag === "MigrationFailed")
        assert.include(error.message, "/proc/nowhere")
      }))

    it.effect("lets several appliers at once apply each file once", () =>
      Effect.gen(function*() {
        yield* forget
        const sql = yield* SqlClient.SqlClient
        const table = fresh()
        const folder = folderOf({
          "001_a.sql": `CREATE TABLE ${table} (i int)`,
          "002_b.sql": `INSERT INTO ${table} VALUES (1)`
        })
        const done = yield* Effect.forEach([1, 2, 3, 4, 5], () => Migrations.run(folder), { concurrency: "unbounded" })
        assert.deepStrictEqual(done.flat().toSorted(), ["001_a.sql", "002_b.sql"])
        assert.deepStrictEqual(yield* sql`SELECT i FROM ${sql(table)}`, [{ i: 1 }])
      }))

    it.effect("applies the package's own files; by hand, they can be applied again", () =>
      Effect.gen(function*() {
        yield* forget
        const sql = yield* SqlClient.SqlClient
        const files = yield* Migrations.load(Migrations.ownFolder)
        assert.include(files.map((file) => file.name), "001_audit_and_leads.sql")
        assert.deepStrictEqual(yield* Migrations.run(), files.map((file) => file.name))
        const count = sql<{ readonly n: bigint }>`SELECT count(*) AS n FROM pg_policies`
        const before = yield* count
        yield* forget
        assert.deepStrictEqual(yield* Migrations.run(), files.map((file) => file.name))
        assert.deepStrictEqual(yield* count, before)
        const open = yield* sql`SELECT relname FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity AND relname !~ '^t[0-9]'`
        assert.deepStrictEqual(open, [])
      }))
  })
}

describe("Migrations", () => {
  it.effect("runs in several processes' pools at once", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres({ template: false })
      const open = Effect.scoped(Layer.build(Database.layerPostgres({ url })))
      yield* Effect.forEach([1, 2, 3], () => open, { concurrency: "unbounded" })
      yield* Effect.gen(function*() {
        const database = yield* Database
        assert.deepStrictEqual((yield* database.migrations).pending, [])
      }).pipe(Effect.provide(Database.layerPostgres({ url, migrate: false })))
    }))

  it.effect("leaves Supabase's roles and auth schema as they are", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres({ template: false })
      const supabase = folderOf({
        "000_supabase.sql": `CREATE SCHEMA auth;
          CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT '{"org_id": "from supabase"}'::jsonb $$;
          GRANT USAGE ON SCHEMA auth TO authenticated, service_role;
          ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;`
      })
      yield* Effect.scoped(Layer.build(Database.layerPostgres({ url, migrate: { folder: supabase } })))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* forget
        yield* Migrations.run()
        assert.deepStrictEqual(yield* sql`SELECT auth.jwt() ->> 'org_id' AS org`, [{ org: "from supabase" }])
        // Supabase gives new tables to everybody; row-level security is then the only guard, so the grants are taken back.
        assert.deepStrictEqual(
          yield* sql`SELECT table_name FROM information_schema.role_table_grants
            WHERE grantee = 'anon' AND table_schema = 'public' AND table_name IN ('leads', 'audit_logs', 'lead_pipeline')`,
          []
        )
      }).pipe(Effect.provide(Database.layerPostgres({ url, migrate: false })))
    }))

  it.effect("works for an owner who is no superuser", () =>
    Effect.gen(function*() {
      const { name, url } = yield* freshPostgres({ template: false })
      const owner = `owner_${name}`
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql.unsafe(`CREATE ROLE ${owner} LOGIN CREATEROLE PASSWORD 'owner'`)
        yield* sql.unsafe(`ALTER DATABASE ${name} OWNER TO ${owner}`)
        // What the superuser made for another database, a bare server's owner would have made itself.
        yield* sql.unsafe(`GRANT anon, authenticated, service_role TO ${owner}`)
      }).pipe(Effect.provide(Database.layerPostgres({ url, migrate: false })))
      const asOwner = new URL(Redacted.value(url))
      asOwner.username = owner
      asOwner.password = "owner"
      yield* Effect.gen(function*() {
        const database = yield* Database
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual((yield* database.migrations).pending, [])
        assert.strictEqual(Option.isNone(database.lock), true)
        yield* sql`INSERT INTO leads (org_id, source_project, company_name) VALUES ('acme', 'test', 'Acme')`
      }).pipe(Effect.provide(Database.layerPostgres({ url: Redacted.make(asOwner.toString()) })))
    }))
})
