import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fs from "node:fs"
import { conductor, queries, says } from "../support/cli.ts"
import { freshPostgres, scratchPath } from "../support/databases.ts"
import { replay } from "../support/replay.ts"

describe("conductor export and replay", () => {
  it.live("keep a run, play it again without a key, and show where it is another one", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const server = yield* replay(queries("SELECT count(*) AS n FROM leads"), says("None."), says("Still ", "none."))
      const database = { DATABASE_URL: Redacted.value(url) }
      const env = { ...database, ANTHROPIC_API_KEY: "sk-test-secret", ANTHROPIC_BASE_URL: server.url }
      yield* conductor(["run", "How many leads?", "--session", "talk", "--budget", "0.50"], { env })
      const ran = yield* conductor(["run", "And now?", "--session", "talk"], { env })
      const id = /run ([0-9a-f-]{36})/.exec(ran.out)?.[1] ?? "none"

      const printed = yield* conductor(["export", id], { env: database })
      assert.deepStrictEqual([printed.code, printed.err], [0, ""])
      const document = JSON.parse(printed.out) as { readonly run: string; readonly before: ReadonlyArray<unknown> }
      assert.deepStrictEqual([document.run, document.before.length], [id, 1])
      assert.notInclude(printed.out, "sk-test-secret")

      const file = scratchPath("run.json")
      const written = yield* conductor(["export", id, "--out", file], { env: database })
      assert.deepStrictEqual([written.code, written.out], [0, ""])
      assert.match(written.err, /^5 events of run [0-9a-f-]{36} are in .*run\.json-.*, with all that was said in it\.\n$/)
      assert.strictEqual(fs.readFileSync(file, "utf8"), printed.out)
      assert.match((yield* conductor(["export", id, "--out", "/proc/nowhere/run.json"], { env: database })).err, /^The file \/proc\/nowhere\/run\.json cannot be written/)

      for (const [run, where] of [[id, database], [file, {}]] as const) {
        assert.deepStrictEqual(yield* conductor(["replay", run], { env: where }).pipe(Effect.map(({ code, err, out }) => [code, out, err])), [
          0, "✓ identical: 5 events, 1 turn\n", ""
        ])
      }
      assert.deepStrictEqual((yield* conductor(["replay", file, "--json"])).lines, [{ run: id, identical: true, events: 5 }])

      const other = yield* conductor(["replay", file, "--agent", "dealers"])
      assert.strictEqual(other.code, 1)
      assert.include(other.out, "+   You answer questions about the dealers in the table leads.")
      assert.strictEqual(other.err, `Run ${id} differs from its log at event 4: the request to the model is another one.\n`)
      const [line] = (yield* conductor(["replay", file, "--agent", "dealers", "--json"])).lines
      assert.deepInclude(line, { identical: false, seq: 4 })
    }), 60_000)

  it.live("say in their help that the content is as it was", () =>
    Effect.gen(function*() {
      assert.match((yield* conductor(["export", "--help"])).out, /with whatever secret is in them/)
      assert.match((yield* conductor(["replay", "--help"])).out, /needs no key/)
    }))
})
