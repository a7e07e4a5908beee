import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { conductor, launched, type Running } from "../support/cli.ts"
import { freshDirectory, scratchPath } from "../support/databases.ts"

const served = Effect.fnUntraced(function*(dir: string) {
  const server = yield* launched(["serve", "--port", "0", "--data-dir", dir], { cwd: dir, env: { CONDUCTOR_DATABASE_FSYNC: "false" } })
  yield* server.says("Try it")
  return server
})

const linkIn = (text: string): string => /http:\/\/127\.0\.0\.1:\d+\/dashboard\?ticket=[0-9a-f]{16}\.[0-9a-f]{48}/.exec(text)?.[0] ?? ""

const open = (url: string, cookie = "") => Effect.promise(() => fetch(url, { redirect: "manual", headers: { cookie } }))

const cookieOf = (response: Response) => response.headers.getSetCookie()[0]?.split(";")[0] ?? ""

const ended = (server: Running) => Effect.andThen(Effect.sync(() => server.child.kill("SIGTERM")), server.code)

describe("conductor dashboard", () => {
  it.live("prints a link of the server that holds the directory, as the server does when it starts", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const first = yield* served(dir)
      const link = linkIn(first.out)
      const entered = yield* open(link)
      assert.strictEqual(entered.status, 303)
      assert.strictEqual((yield* open(link)).status, 401)
      const asked = yield* conductor(["dashboard", "--data-dir", dir])
      assert.deepStrictEqual([asked.code, asked.out.trim(), asked.err], [0, linkIn(asked.out), "The link is good for ten minutes and for one browser.\n"])
      assert.notStrictEqual(linkIn(asked.out), link)
      const again = yield* open(linkIn(asked.out))
      assert.strictEqual(again.status, 303)
      const { origin } = new URL(link)
      assert.strictEqual((yield* open(`${origin}/v1/runs`, cookieOf(again))).status, 200)
      const stranger = yield* conductor(["dashboard", "--org", "acme", "--data-dir", dir])
      assert.deepStrictEqual([stranger.code, stranger.out], [1, ""])
      assert.include(stranger.err, `There is no organisation "acme"`)
      const trail = yield* conductor(["audit", "list", "--json", "--data-dir", dir])
      assert.include(trail.out, "dashboard.enter")
      assert.strictEqual(yield* ended(first), 0)
      const said = `${first.err}${trail.out}`
      for (const secret of [link, linkIn(asked.out)].map((one) => one.split(".").at(-1) ?? "")) assert.notInclude(said, secret)
      for (const cookie of [entered, again].map(cookieOf)) assert.notInclude(said, cookie.split(".").at(-1) ?? "")
      assert.include(first.err, `"path":"/dashboard","status":303`)

      const second = yield* served(dir)
      const address = new URL(linkIn(second.out)).origin
      const unknown = yield* open(`${address}/dashboard`, cookieOf(entered))
      assert.strictEqual(unknown.status, 401)
      assert.include(yield* Effect.promise(() => unknown.text()), "the server was started anew since: run conductor dashboard")
    }).pipe(Effect.scoped), 60_000)

  it.live("says what to do where no server runs", () =>
    Effect.gen(function*() {
      const dir = scratchPath("nobody")
      const none = yield* conductor(["dashboard", "--data-dir", dir])
      assert.deepStrictEqual([none.code, none.out, none.err], [1, "", `No server holds the data directory ${dir}: start one with conductor serve, or name its directory with --data-dir.\n`])
      const postgres = yield* conductor(["dashboard", "--database-url", "postgres://127.0.0.1:1/none"])
      assert.deepStrictEqual([postgres.code, postgres.out], [1, ""])
      assert.include(postgres.err, "A server on a Postgres is not found by its database: ask it itself, with curl -X POST ADDRESS/v1/dashboard")
    }))
})
