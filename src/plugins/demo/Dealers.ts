import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import * as Csv from "effect/encoding/Csv"
import * as fs from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { asOrg, type Run } from "../../index.ts"

/** The dealers of the demonstration could not be loaded. */
export class DealersNotLoaded extends Schema.TaggedError<DealersNotLoaded>()("DealersNotLoaded", {
  problem: Schema.Literals(["file", "database"]),
  cause: Schema.Defect()
}) {
  override get message() {
    return this.problem === "file"
      ? "The dealers could not be read: restore src/plugins/demo/dealers.csv from the package."
      : "The dealers could not be written: see that the database is up and migrated."
  }
}

/** The same file from `src/` and from `dist/`: compiling does not copy it. */
const file = fileURLToPath(new URL("../../../src/plugins/demo/dealers.csv", import.meta.url))

/** An empty cell is no value. */
const filled = (cell: string | undefined) => cell || null

/** One row for the table from one record of the file; the database turns texts into its own types. */
const rowOf = (record: Readonly<Record<string, string>>) => {
  const { city, contact_name: name, contact_title: title, email, lat, license_expiry, license_number, lng, phone, qualification_score, state, street, zip, ...rest } = record
  return {
    ...rest,
    phone,
    email,
    zip_code: zip,
    address: { street, city, state, zip, lat: Number(lat), lng: Number(lng) },
    contacts: [{ name, title, email, phone }],
    license_number: filled(license_number),
    license_expiry: filled(license_expiry),
    qualification_score: filled(qualification_score)
  }
}

/** The dealers of the file; 200 of them, all invented. */
export const readDealers = (path: string = file) =>
  Stream.fromEffect(Effect.tryPromise(() => fs.readFile(path, "utf8"))).pipe(
    Stream.pipeThroughChannel(Csv.decodeString({ headers: true, ignoreEmptyLines: true })),
    Stream.map(rowOf),
    Stream.runCollect,
    Effect.mapError((cause) => new DealersNotLoaded({ problem: "file", cause }))
  )

/**
 * Puts the dealers into the organisation's `leads`, all in one statement, and gives their number. Those that are there
 * already, by their external id, are as in the file afterwards. Fails with {@link DealersNotLoaded}.
 */
export const loadDealers = Effect.fn("demo.load")(function*(org: Run.OrgId) {
  const sql = yield* SqlClient.SqlClient
  const dealers = yield* readDealers()
  const columns = [
    "external_id", "company_name", "oem_brand", "domain", "phone", "email", "zip_code", "address", "contacts", "employee_count",
    "revenue_range", "license_status", "license_number", "license_expiry", "stage", "qualification_score", "outreach_count"
  ]
  const names = sql.literal(columns.join(", "))
  const changes = sql.literal(columns.map((column) => `${column} = excluded.${column}`).join(", "))
  const rows = yield* sql<{ readonly id: string }>`
    INSERT INTO leads (org_id, source_project, qualified_at, ${names})
    SELECT ${org}, 'demo', CASE WHEN qualification_score IS NOT NULL THEN now() END, ${names}
    FROM json_populate_recordset(NULL::leads, ${JSON.stringify(dealers)}::json)
    ON CONFLICT (org_id, external_id) DO UPDATE SET ${changes}
    RETURNING id`.pipe(
      asOrg(org),
      Effect.mapError((cause) => new DealersNotLoaded({ problem: "database", cause }))
    )
  return rows.length
})
