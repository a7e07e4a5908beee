/** A process that opens a data directory, commits a row, says so, and holds the directory until it is killed. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "../../src/Database.ts"

const dir = process.argv[2]

await Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO leads (org_id, source_project, company_name) VALUES ('acme', 'test', 'Committed')`
  yield* Effect.sync(() => process.stdout.write("ready\n"))
  yield* sql.withTransaction(Effect.andThen(
    sql`INSERT INTO leads (org_id, source_project, company_name) VALUES ('acme', 'test', 'Not committed')`,
    Effect.sleep("1 hour")
  ))
}).pipe(Effect.provide(Database.layerEmbedded({ dir, migrate: false })), Effect.runPromise)
