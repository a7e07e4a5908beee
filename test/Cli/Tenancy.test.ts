import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import { AuditLog } from "../../src/AuditLog.ts"
import { Database } from "../../src/Database.ts"
import { KeyId, Keys } from "../../src/Org.ts"
import { RunLog } from "../../src/RunLog.ts"
import { conductor } from "../support/cli.ts"
import { freshPostgres } from "../support/databases.ts"
import { makeRun } from "../support/runs.ts"

/** The program on a database of its own, and what else is to be done there. */
const place = Effect.map(freshPostgres(), ({ url }) => ({
  cli: (...args: ReadonlyArray<string>) => conductor(args, { env: { DATABASE_URL: Redacted.value(url) } }),
  inside: Effect.provide(Layer.mergeAll(Keys.layer, RunLog.layerSql([], [])).pipe(
    Layer.provide(AuditLog.layer),
    Layer.provide(SecureRandom.layerWebCrypto),
    Layer.provideMerge(Database.layerPostgres({ url }))
  ))
}))

const uuid = /[0-9a-f]{8}-[0-9a-f-]{27}/

describe("conductor keys", () => {
  it.live("makes a key that is printed once and alone, lists it, and revokes it", () =>
    Effect.gen(function*() {
      const { cli, inside } = yield* place
      assert.include((yield* cli("keys")).out, "make one with conductor keys create NAME")
      const made = yield* cli("keys", "create", "ci", "--scopes", "runs:read,approvals:decide", "--expires", "90d", "--rate", "60")
      assert.strictEqual(made.code, 0)
      assert.match(made.out, /^ck_\w{8}_\w{40}\n$/)
      assert.include(made.err, "the only time")
      const id = uuid.exec(made.err)?.[0] ?? ""
      const verify = inside(Effect.flatMap(Keys, (keys) => keys.verify(Redacted.make(made.out.trim()))))
      assert.deepInclude(yield* verify, { id: KeyId.make(id), name: "ci", requestsPerMinute: 60 })

      const listed = yield* cli("keys", "--json")
      assert.deepInclude(listed.lines[0], { id, name: "ci", prefix: made.out.slice(0, 11), status: "good" })
      assert.notInclude(listed.out + (yield* cli("keys")).out + (yield* cli("audit", "list", "--json")).out, made.out.trim().slice(12))

      const revoked = yield* cli("keys", "revoke", id)
      assert.deepStrictEqual([revoked.code, revoked.out], [0, `The key "ci" is revoked; servers that run refuse it within five seconds.\n`])
      assert.include((yield* cli("keys", "revoke", id)).out, "was revoked before")
      assert.include((yield* cli("keys")).out, "revoked by local")
      assert.deepInclude(yield* Effect.flip(verify), { _tag: "KeyRefused", reason: "revoked" })
      const rows = (yield* cli("audit", "list", "--json")).lines.map((line) => line["tool"])
      assert.deepStrictEqual(rows, ["key.revoke", "key.create", "org.create"])
    }))

  it.live("are of one organisation each", () =>
    Effect.gen(function*() {
      const { cli } = yield* place
      yield* cli("orgs", "create", "acme", "--name", "Acme, Inc.", "--keep", "90d")
      const made = yield* cli("keys", "create", "ann", "--org", "acme", "--json")
      const { id } = made.lines[0] ?? {}
      assert.deepInclude(made.lines[0], { org: "acme", scopes: ["runs:write", "runs:read"], expiresAt: null })
      assert.include((yield* cli("keys")).out, "has no keys")
      const foreign = yield* cli("keys", "revoke", String(id))
      assert.deepStrictEqual([foreign.code, foreign.err], [1, `There is no key "${String(id)}": see conductor keys.\n`])
      assert.strictEqual((yield* cli("keys", "revoke", String(id), "--org", "acme")).code, 0)
    }))

  it.live("says in one sentence what cannot be done, and what to do", () =>
    Effect.gen(function*() {
      const { cli } = yield* place
      for (const [args, code, sentence] of [
        [["create", "x", "--org", "nobody"], 1, "make it with conductor orgs create"],
        [["create", "x", "--scopes", "runs:write,everything"], 2, "Expected some of runs:write"],
        [["create", "x", "--scopes", ","], 2, "Expected some of runs:write"],
        [["create", "x", "--expires", "soon"], 2, "such as 90d"],
        [["create", "x", "--rate", "0"], 2, "from 1 to 1000000"],
        [["create", " "], 2, "its name has 1 to 200 characters"],
        [["revoke", "nothing"], 1, "see conductor keys"],
        [["--org", ""], 2, "--org is empty"]
      ] as const) {
        const ran = yield* cli("keys", ...args)
        assert.deepStrictEqual([ran.code, ran.out, ran.err.trimEnd().split("\n").length], [code, "", 1], args.join(" "))
        assert.include(ran.err, sentence)
      }
    }))
})

describe("conductor orgs", () => {
  it.live("makes organisations and says for how long their runs are kept", () =>
    Effect.gen(function*() {
      const { cli } = yield* place
      assert.include((yield* cli("orgs")).out, "make one with conductor orgs create ID")
      assert.include((yield* cli("orgs", "create", "acme", "--keep", "12w")).out, "its runs are kept 84 days")
      assert.include((yield* cli("orgs", "create", "globex")).out, "for good")
      yield* cli("orgs", "keep", "globex", "1d")
      assert.deepStrictEqual((yield* cli("orgs", "--json")).lines.map((line) => [line["id"], line["retentionDays"]]), [["acme", 84], ["globex", 1]])
      assert.strictEqual((yield* cli("orgs", "keep", "globex", "forever")).out, "Finished runs of \"globex\" are kept for good.\n")
      assert.match((yield* cli("orgs")).out, /\nglobex +globex +\S+ \S+ +for good\n/)
    }))

  it.live("says in one sentence what cannot be done, and what to do", () =>
    Effect.gen(function*() {
      const { cli } = yield* place
      yield* cli("orgs", "create", "acme")
      for (const [args, code, sentence] of [
        [["create", "acme"], 1, "choose another id"],
        [["create", "a b"], 2, "an id has 1 to 63 letters"],
        [["create", "b", "--name", " "], 2, "its name has 1 to 200 characters"],
        [["create", "b", "--keep", "12h"], 2, "Expected whole days"],
        [["keep", "acme", "long"], 2, "Expected whole days"],
        [["keep", "nobody", "1d"], 1, "make it with conductor orgs create"]
      ] as const) {
        const ran = yield* cli("orgs", ...args)
        assert.deepStrictEqual([ran.code, ran.out, ran.err.trimEnd().split("\n").length], [code, "", 1], args.join(" "))
        assert.include(ran.err, sentence)
      }
    }))
})

describe("conductor prune", () => {
  it.live("deletes what each organisation keeps no longer, or says what it would", () =>
    Effect.gen(function*() {
      const { cli, inside } = yield* place
      yield* cli("orgs", "create", "acme", "--keep", "90d")
      yield* cli("orgs", "create", "globex")
      const [mine, theirs, fresh] = [makeRun({ org: "acme" }), makeRun({ org: "globex" }), makeRun({ org: "acme" })] as const
      yield* inside(Effect.gen(function*() {
        const log = yield* RunLog
        const sql = yield* SqlClient.SqlClient
        for (const run of [mine, theirs, fresh]) yield* log.append(run.append(run.started(), ...run.turn(), run.completed()))
        yield* sql`UPDATE runs SET ended_at = now() - interval '91 days' WHERE ${sql.in("id", [mine.run, theirs.run])}`
      }))
      const dry = yield* cli("prune", "--dry-run")
      assert.match(dry.out, /^acme: 1 run \(\d events, \d attempts, 0 messages\), 1 session would be deleted, of before .* UTC\n$/)
      assert.include(dry.err, "1 other organisation keeps its runs for good")
      const pruned = yield* cli("prune", "--json")
      assert.strictEqual(pruned.lines.length, 1)
      assert.deepInclude(pruned.lines[0], { org: "acme", dryRun: false, runs: 1, sessions: 1 })
      assert.match((yield* cli("prune", "--older-than", "14w", "--org", "globex")).out, /^globex: 0 runs/)
      assert.match((yield* cli("prune", "--older-than", "90d", "--org", "globex")).out, /^globex: 1 run /)
      assert.strictEqual((yield* cli("show", mine.run, "--org", "acme")).code, 1)
      assert.strictEqual((yield* cli("show", fresh.run, "--org", "acme")).code, 0)
      assert.strictEqual((yield* cli("show", fresh.run)).code, 1)
      assert.deepInclude((yield* cli("audit", "list", "--org", "globex", "--json")).lines[0], { tool: "prune", principal: "local" })
      assert.strictEqual((yield* cli("audit", "verify", "--org", "globex")).code, 0)
    }))

  it.live("says in one sentence what cannot be done, and what to do", () =>
    Effect.gen(function*() {
      const { cli } = yield* place
      yield* cli("orgs", "create", "acme")
      for (const [args, code, sentence] of [
        [[], 1, "give --older-than 90d, or set it with conductor orgs keep ORG 90d"],
        [["--org", "acme"], 1, "conductor orgs keep acme 90d"],
        [["--org", "nobody", "--older-than", "1d"], 1, "There is no organisation"],
        [["--older-than", "0d"], 2, "such as 90d"],
        [["--older-than", "90 days"], 2, "such as 90d"]
      ] as const) {
        const ran = yield* cli("prune", ...args)
        assert.deepStrictEqual([ran.code, ran.out, ran.err.trimEnd().split("\n").length], [code, "", 1], args.join(" "))
        assert.include(ran.err, sentence)
      }
    }))
})
