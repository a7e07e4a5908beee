import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { asOrg } from "../../src/Database.ts"
import { databases } from "../support/databases.ts"

const addLead = Effect.fnUntraced(function*(org: string, name: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO leads ${sql.insert({ org_id: org, source_project: "test", company_name: name })}`
})

const names = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly company_name: string }>`SELECT company_name FROM leads ORDER BY company_name`
  return rows.map((row) => row.company_name)
})

const whoAmI = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ readonly role: string; readonly claims: string | null; readonly readonly: string; readonly timeout: string }>`
    SELECT current_user AS role, nullif(current_setting('request.jwt.claims', true), '') AS claims,
      current_setting('transaction_read_only') AS readonly, current_setting('statement_timeout') AS timeout`
  assert.isDefined(row)
  return row
})

for (const { name, layer: database } of databases) {
  layer(database)(`asOrg (${name})`, (it) => {
    it.effect("shows an organisation its own rows only", () =>
      Effect.gen(function*() {
        yield* addLead("acme", "Acme lead")
        yield* addLead("globex", "Globex lead")
        assert.deepStrictEqual(yield* asOrg("acme")(names), ["Acme lead"])
        assert.deepStrictEqual(yield* asOrg("globex")(names), ["Globex lead"])
        assert.deepStrictEqual(yield* asOrg("nobody")(names), [])
        assert.include(yield* names, "Globex lead")
      }))

    it.effect("refuses to write a row of another organisation", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(asOrg("acme")(addLead("globex", "Stolen")))
        assert.strictEqual(error.reason._tag, "AuthorizationError")
        yield* asOrg("acme")(addLead("acme", "Own"))
        assert.notInclude(yield* names, "Stolen")
      }))

    it.effect("acts as authenticated with the claim, and as before afterwards", () =>
      Effect.gen(function*() {
        const before = yield* whoAmI
        const inside = yield* asOrg("it's \"acme\"", { readOnly: true, statementTimeout: "5 seconds" })(whoAmI)
        assert.deepStrictEqual(inside, {
          role: "authenticated",
          claims: JSON.stringify({ org_id: "it's \"acme\"", role: "authenticated" }),
          readonly: "on",
          timeout: "5s"
        })
        assert.deepStrictEqual(yield* whoAmI, before)
        yield* Effect.flip(asOrg("acme")(Effect.fail("failed")))
        assert.deepStrictEqual(yield* whoAmI, before)
      }))

    it.effect("refuses to write when it is read-only", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(asOrg("acme", { readOnly: true })(addLead("acme", "Never")))
        assert.include(error.reason.cause, { code: "25006" })
        assert.notInclude(yield* names, "Never")
      }))

    it.effect("inside another transaction, what follows runs as before", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql.withTransaction(Effect.gen(function*() {
          const before = yield* whoAmI
          assert.strictEqual((yield* asOrg("nested", { readOnly: true, statementTimeout: "1 second" })(whoAmI)).role, "authenticated")
          assert.deepStrictEqual(yield* whoAmI, before)
          yield* Effect.flip(asOrg("nested", { statementTimeout: "1 second" })(addLead("globex", "Refused")))
          assert.deepStrictEqual(yield* whoAmI, before)
          yield* addLead("nested", "Nested lead")
          // An organisation inside an organisation, and back.
          const claims = yield* asOrg("outer")(Effect.andThen(asOrg("inner")(names), whoAmI))
          assert.include(claims.claims ?? "", "outer")
        }))
        assert.include(yield* names, "Nested lead")
      }))

    it.effect("goes before the older name of the claims, which Supabase would believe first", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const older = sql<{ readonly claim: string }>`SELECT current_setting('request.jwt.claim', true) AS claim`
        yield* addLead("newer", "Newer lead")
        yield* addLead("older", "Older lead")
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT set_config('request.jwt.claim', '{"org_id":"older"}', true)`
          assert.deepStrictEqual(yield* asOrg("newer")(names), ["Newer lead"])
          assert.deepStrictEqual(yield* older, [{ claim: "{\"org_id\":\"older\"}" }])
          yield* sql`INSERT INTO organizations (id, name) VALUES ('newer', 'Newer')`
          yield* sql`INSERT INTO sessions (id, org_id) VALUES ('s', 'newer')`
          yield* sql`INSERT INTO runs (id, org_id, session_id, agent, definition_hash, model, status, epoch, seq)
            VALUES ('newer-run', 'newer', 's', 'a', 'd', 'm', 'running', 1, 0)`
          yield* sql`INSERT INTO run_events (run_id, seq, epoch, org_id, at, tag, payload) VALUES ('newer-run', 1, 1, 'newer', 0, 'RunStarted', '{}')`
          assert.strictEqual((yield* sql`SELECT * FROM conductor_run_as('newer', 'newer-run')`).length, 1)
          assert.strictEqual((yield* sql`SELECT * FROM conductor_latest_as('newer', 's')`).length, 1)
          assert.strictEqual((yield* sql`SELECT * FROM conductor_events_as('newer', 'newer-run', 0, 10)`).length, 1)
          assert.deepStrictEqual(yield* older, [{ claim: "{\"org_id\":\"older\"}" }])
        }))
      }))

    it.effect("keeps organisations apart that ask at the same time", () =>
      Effect.gen(function*() {
        const orgs = Array.from({ length: 20 }, (_, i) => `org-${i}`)
        yield* Effect.forEach(orgs, (org) => asOrg(org)(addLead(org, `lead of ${org}`)), { concurrency: "unbounded" })
        const seen = yield* Effect.forEach(orgs, (org) => asOrg(org)(names), { concurrency: "unbounded" })
        assert.deepStrictEqual(seen, orgs.map((org) => [`lead of ${org}`]))
      }))

    it.effect("the views show an organisation its own rows, and the audit trail cannot be changed by anybody", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (const org of ["views", "other"]) {
          yield* sql`INSERT INTO audit_logs
            (id, org_id, n, "timestamp", event, action, tool_name, principal, success, cost_usd, content_digest, hash)
            VALUES (gen_random_uuid(), ${org}, 1, now(), 'ToolCompleted', 'tool_call', 'web_fetch', 'test', false, 0.000000000006, '', '')`
        }
        const failures = sql<{ readonly org_id: string }>`SELECT org_id FROM recent_failures`
        assert.deepStrictEqual(yield* asOrg("views")(failures), [{ org_id: "views" }])
        assert.deepStrictEqual(yield* asOrg("views")(sql`SELECT failed_calls, total_cost_usd::text AS cost FROM tool_usage_stats`), [
          { failed_calls: 1n, cost: "0.000000000006" }
        ])
        yield* asOrg("views")(addLead("views", "One"))
        assert.deepStrictEqual(yield* asOrg("views")(sql`SELECT stage, lead_count FROM lead_pipeline`), [{ stage: "scraped", lead_count: 1n }])
        for (const statement of ["UPDATE audit_logs SET action = 'x'", "DELETE FROM audit_logs", "TRUNCATE audit_logs CASCADE"]) {
          const error = yield* Effect.flip(sql.unsafe(statement))
          assert.strictEqual(error.reason._tag, "AuthorizationError")
          assert.strictEqual((yield* Effect.flip(asOrg("views")(sql.unsafe(statement)))).reason._tag, "AuthorizationError")
        }
      }))

    it.effect("the time of a lead's last change follows its changes", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO leads (org_id, external_id, source_project, company_name, updated_at) VALUES ('times', 'e1', 'test', 'Old', '2001-01-01')`
        yield* sql`UPDATE leads SET company_name = 'New' WHERE org_id = 'times'`
        assert.deepStrictEqual(yield* sql`SELECT updated_at > '2020-01-01' AS changed FROM leads WHERE org_id = 'times'`, [{ changed: true }])
        const again = sql`INSERT INTO leads (org_id, external_id, source_project, company_name) VALUES ('times', 'e1', 'test', 'Twice')`
        assert.strictEqual((yield* Effect.flip(again)).reason._tag, "UniqueViolation")
        const elsewhere = sql`INSERT INTO leads (org_id, external_id, source_project, company_name) VALUES ('times 2', 'e1', 'test', 'Twice')`
        yield* elsewhere
      }))
  })
}
