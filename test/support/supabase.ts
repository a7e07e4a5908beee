/** A server as Supabase has it: its roles, of which the one that is given out is no superuser, and its `auth` schema. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { Database, type DatabaseLayer } from "../../src/Database.ts"
import { scratchPath } from "./databases.ts"
import { makeServer } from "./server.ts"

/** A server of its own, as roles belong to a whole server, with a database; `as` gives the URL of another user of it. */
export const ownServer = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = await makeServer(scratchPath("server"), ["fsync=off", "full_page_writes=off"])
    await server.start()
    await server.createDatabase("app")
    const url = server.urlOf("app")
    const as = (user: string, password: string) => {
      const other = new URL(url)
      other.username = user
      other.password = password
      return Redacted.make(other.toString())
    }
    return { server, url: Redacted.make(url), as }
  }),
  ({ server }) => Effect.promise(() => server.stop())
)

/** What Supabase's image does before anybody connects. */
const statements = [
  "CREATE ROLE anon NOLOGIN NOINHERIT",
  "CREATE ROLE authenticated NOLOGIN NOINHERIT",
  "CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS",
  "CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'authenticator'",
  "GRANT anon, authenticated, service_role TO authenticator",
  "CREATE ROLE supabase_auth_admin NOLOGIN NOINHERIT CREATEROLE",
  // What a project calls `postgres`; here that name is the server's superuser.
  "CREATE ROLE project LOGIN NOSUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD 'project'",
  "GRANT anon, authenticated, service_role TO project",
  "GRANT CREATE ON DATABASE app TO project",
  "GRANT ALL ON SCHEMA public TO project",
  "GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role",
  "ALTER DEFAULT PRIVILEGES FOR ROLE project IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role",
  "ALTER DEFAULT PRIVILEGES FOR ROLE project IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role",
  "CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin",
  "GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, project",
  `CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$`,
  "ALTER FUNCTION auth.jwt() OWNER TO supabase_auth_admin"
]

/** The URL that a project of Supabase is given, on a fresh server. */
export const supabase = Effect.gen(function*() {
  const { as, url } = yield* ownServer
  yield* PgClient.makeClient({ url }).pipe(
    Effect.flatMap((sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })),
    Effect.scoped,
    Effect.provide(Reactivity.layer),
    Effect.orDie
  )
  return { url: as("project", "project") }
})

/** A database as Supabase has it, migrated by whom a project is given. */
export const supabaseDatabase: DatabaseLayer = Layer.unwrap(Effect.map(supabase, ({ url }) => Database.layerPostgres({ url })))
