import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { conductor, launched } from "../support/cli.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"

type Arguments = ReadonlyArray<string>

/** Where memories are kept: in Postgres, and in a directory that a server holds. */
const places = [
  { name: "postgres", place: Effect.map(freshPostgres(), ({ url }) => (...args: Arguments) => conductor(args, { env: { DATABASE_URL: Redacted.value(url) } })) },
  {
    name: "a server's directory",
    place: Effect.gen(function*() {
      const dir = yield* freshDirectory
      const server = yield* launched(["serve", "--port", "0", "--data-dir", dir], { cwd: dir, env: { CONDUCTOR_DATABASE_FSYNC: "false" } })
      yield* server.says("Try it")
      return (...args: Arguments) => conductor([...args, "--data-dir", dir])
    })
  }
]

describe("conductor memories", () => {
  for (const { name, place } of places) {
    it.live(`lists, finds, tells and forgets what is remembered (${name})`, () =>
      Effect.scoped(Effect.gen(function*() {
        const cli = yield* place
        assert.include((yield* cli("memories")).out, "Nothing is remembered here")
        const told = yield* cli("memories", "remember", "Ann's vault opens with gold-7731.", "--scope", "user:ann", "--json")
        assert.deepInclude(told.lines[0], { scope: "user:ann", text: "Ann's vault opens with gold-7731.", createdBy: "local", expiresAt: null })
        assert.match((yield* cli("memories", "remember", "The lift is broken.", "--expires", "2d")).out, /^✓ org remembers it as [0-9a-f-]{36}\n$/)
        assert.deepStrictEqual((yield* cli("memories", "--json")).lines.map((line) => line["text"]), ["The lift is broken.", "Ann's vault opens with gold-7731."])
        assert.match((yield* cli("memories")).out, /^ID +SCOPE +SINCE \(UTC\) +UNTIL \(UTC\) +BY +TEXT\n.* org .*The lift is broken\.\n.* user:ann +\S+ \S+ +for good +local +Ann's vault/)
        assert.include((yield* cli("memories", "recall", "what opens the vault?")).out, "gold-7731")
        assert.include((yield* cli("memories", "recall", "vault", "--scope", "org")).out, "Nothing that is remembered has these words")
        assert.deepStrictEqual((yield* cli("memories", "--org", "acme", "--json")).lines, [])

        const other = yield* cli("memories", "forget", String(told.lines[0]?.["id"]), "--org", "acme")
        assert.deepStrictEqual([other.code, other.err], [1, `There is no memory "${String(told.lines[0]?.["id"])}": see conductor memories.\n`])
        const forgotten = yield* cli("memories", "forget", String(told.lines[0]?.["id"]))
        assert.deepStrictEqual([forgotten.code, forgotten.out], [0, "✓ 1 memory is forgotten, and what was said of it is taken out of what is kept\n"])
        assert.deepStrictEqual((yield* cli("memories", "forget", "--text", "lift is", "--json")).lines, [{ memories: 1, waiting: [] }])
        assert.include((yield* cli("memories", "forget", "--scope", "user:ann")).out, "0 memories are forgotten")
        assert.deepStrictEqual((yield* cli("memories", "--json")).lines, [])
        assert.include((yield* cli("audit", "verify")).out, "chain verified")
      })), 60_000)
  }

  it.live("says in one sentence what cannot be done, and what to do", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const cli = (...args: Arguments) => conductor(["memories", ...args], { env: { DATABASE_URL: Redacted.value(url) } })
      for (const [args, says] of [
        [["forget"], "one of the id of a memory, --text TEXT or --scope SCOPE"],
        [["forget", "some-id", "--text", "some text"], "one of the id of a memory"],
        [["forget", "--text", "no"], "a text of 4 to 8000 characters is wanted"],
        [["remember", "no"], "a text of 4 to 8000 characters is wanted"],
        [["--scope", "team:ann"], "Expected org, agent:NAME or user:ID"]
      ] as const) {
        const { code, err, out } = yield* cli(...args)
        assert.deepStrictEqual([code, out, err.trim().split("\n").length], [2, "", 1], args.join(" "))
        assert.include(err, says)
      }
    }), 60_000)
})
