import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Ref, Schedule, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Conductor, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { scripted } from "../support/conductors.ts"
import { eventually } from "../support/eventually.ts"

const parameters = Schema.Struct({ n: Schema.Int })

/** How often each handler ran, and with which keys. */
const ran = Effect.runSync(Ref.make<ReadonlyArray<string>>([]))
const note = (what: string) => Ref.update(ran, (all) => [...all, what])
const count = (what: string) => Effect.map(Ref.get(ran), (all) => all.filter((one) => one === what).length)

const book = Tool.make("book", { description: "Books.", parameters, success: Schema.Int, failure: Schema.String, effect: "transactional" })

/** Calls the tool of the first message with the number of the second word, then repeats what came of it. */
const provider = Model.Scripted.make((request) => {
  const [first] = request.messages
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map((result) => `${result.isFailure ? "✗" : "✓"} ${result.result}`).join("\n")
  const words = first?.role === "user" ? first.text.split(" ") : []
  return { toolCalls: words.slice(1).map((n) => ({ name: words[0] ?? "", params: { n: Number(n) } })) }
})

/** Numbers: 1 is booked, 2 fails after it has booked, 3 hangs, 4 swallows an SQL error, 5 breaks, 6 dies of a constraint. */
const booking = Agent.make("booking", {
  instructions: "Book.",
  model: "scripted:test",
  plugins: [Plugin.make("booking", {
    tools: [book],
    handlers: {
      book: ({ n }) =>
        Effect.gen(function*() {
          const { key } = yield* Tool.Call
          const sql = yield* SqlClient.SqlClient
          yield* Effect.orDie(sql`INSERT INTO bookings (key, n) VALUES (${key}, ${n})`)
          if (n === 2) return yield* Effect.fail("sold out")
          if (n === 3) return yield* Effect.andThen(note(`hangs ${key}`), Effect.never)
          if (n === 4) yield* Effect.ignore(sql`SELECT nonsense`)
          if (n === 5) return yield* Effect.die(new Error("broken"))
          if (n === 6) yield* Effect.orDie(sql`INSERT INTO bookings (key, n) VALUES (${key}, ${n})`)
          return n
        })
    }
  })],
  limits: { toolTime: "300 millis" }
})

const databases = [
  ["pglite", Layer.unwrap(Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ agents: [booking], models: scripted(provider), dir })))],
  ["postgres", Layer.unwrap(Effect.map(freshPostgres(), ({ url }) => Conductor.layerPostgres({ agents: [booking], models: scripted(provider), url })))]
] as const

const bookings = (run: Run.RunId) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql<{ readonly n: number }>`SELECT n FROM bookings WHERE key LIKE ${`${run}%`} ORDER BY n`, (rows) => rows.map((row) => row.n)))

for (const [name, runtime] of databases) {
  layer(runtime, { excludeTestServices: true })(`A transactional tool (${name})`, (it) => {
    it.effect("commits with its result, and rolls back with its failure", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE bookings (key text PRIMARY KEY, n integer NOT NULL)`
        const result = yield* Conductor.run(booking, "book 1 2 4 5 6 3")
        const lines = result.text.split("\n")
        assert.deepStrictEqual(lines.slice(0, 2), ["✓ 1", "✗ \"sold out\""])
        assert.match(lines[2] ?? "", /^✗ The tool "book" broke/)
        assert.match(lines[3] ?? "", /^✗ The tool "book" broke: broken/)
        assert.match(lines[4] ?? "", /^✗ The tool "book" broke/)
        assert.match(lines[5] ?? "", /^✗ The tool "book" did not finish within 300ms/)
        assert.deepStrictEqual(yield* bookings(result.run), [1])
        yield* testing.check(result.run)
      }))

    it.effect("does not keep the others of its turn from being written, nor other runs", () =>
      Effect.gen(function*() {
        const runs = yield* Effect.forEach([1, 2, 3, 4, 5], () => Conductor.run(booking, "book 1 10 11 12 13 14 15 16"), { concurrency: 5 })
        for (const { run } of runs) {
          assert.deepStrictEqual(yield* bookings(run), [1, 10, 11, 12, 13, 14, 15, 16])
          yield* testing.check(run)
        }
      }))

    // The embedded database has one connection, which the transaction has: there a cancel waits for its end.
    if (name === "postgres") {
      it.effect("is rolled back by a cancel, and the model is not told that it may have happened", () =>
        Effect.gen(function*() {
          const run = yield* Conductor.start(booking, "book 3", { limits: { toolMs: 4_000 } })
          yield* eventually(Ref.get(ran), (all) => all.some((what) => what.startsWith(`hangs ${run}`)))
          yield* Conductor.cancel(run)
          assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "Cancelled")
          assert.deepStrictEqual(yield* bookings(run), [])
          const state = yield* testing.check(run)
          const last = state.messages.at(-1)
          assert.deepStrictEqual(last?.role === "tool" ? last.results.map((one) => one.result) : [], ["The run was cancelled."])
        }))
    }
  })
}

describe("A transactional tool", () => {
  it.effect("is refused where there is no database", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(testing.layer({ agents: [booking], model: provider }))))
      assert.include(error.message, "use Conductor.layerEmbedded or layerPostgres")
    }))
})

/** What the other side says of a call, by its number. */
const post = Tool.make("post", {
  description: "Posts.",
  parameters,
  success: Schema.String,
  failure: Schema.String,
  effect: "reconcilable",
  timeout: "1 second",
  retry: Schedule.recurs(2)
})
const flaky = Tool.make("flaky", {
  description: "Fails at first.",
  parameters,
  success: Schema.String,
  failure: Schema.String,
  effect: "idempotent",
  timeout: "1 second",
  retry: Schedule.spaced("5 seconds").pipe(Schedule.upTo({ times: 3 }))
})

const posting = Agent.make("posting", {
  instructions: "Post.",
  model: "scripted:test",
  plugins: [Plugin.make("posting", {
    tools: [post, flaky],
    handlers: {
      post: ({ n }) => Effect.andThen(note(`post ${n}`), n === 0 ? Effect.succeed("posted") : Effect.never),
      flaky: ({ n }) =>
        Effect.gen(function*() {
          const { key } = yield* Tool.Call
          yield* note(`flaky ${key}`)
          const times = yield* count(`flaky ${key}`)
          if (times <= n) return yield* times % 2 === 0 ? Effect.never : Effect.fail("busy")
          return `at the ${times}th time`
        })
    },
    // 1 was done, 2 was not, 3 cannot be said, 4 breaks the check.
    reconcile: {
      post: ({ n }) => {
        switch (n) {
          case 1:
            return Effect.succeed(Tool.done("found"))
          case 2:
            return Effect.succeed(Tool.notDone)
          case 3:
            return Effect.succeed(Tool.unknown)
          default:
            return Effect.fail("no network")
        }
      }
    }
  })]
})

/** Runs with time passing. */
const settle = (input: string) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(Conductor.run(posting, input)))
    for (let n = 0; n < 20; n++) yield* TestClock.adjust("1 second")
    return yield* yield* Fiber.join(fiber)
  })

layer(testing.layer({ agents: [posting], model: provider }))("A tool that took too long", (it) => {
  it.effect("asks the other side before it is repeated, where it can", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* settle("post 0")).text, "✓ \"posted\"")
      assert.strictEqual((yield* settle("post 1")).text, "✓ \"found\"")
      assert.strictEqual(yield* count("post 1"), 1)
      assert.strictEqual((yield* settle("post 2")).text, "✗ The tool \"post\" did not finish within 1s.")
      assert.strictEqual(yield* count("post 2"), 3)
    }))

  it.effect("parks its run where the other side cannot say", () =>
    Effect.gen(function*() {
      for (const n of [3, 4]) {
        const waiting = yield* Effect.flip(settle(`post ${n}`))
        assert.isTrue(waiting._tag === "RunWaiting" && waiting.reason === "unknown-tool-outcome")
        assert.strictEqual(yield* count(`post ${n}`), 1)
      }
    }))

  it.effect("is repeated as its schedule says, with one key, and the log says how often", () =>
    Effect.gen(function*() {
      const result = yield* settle("flaky 2")
      assert.strictEqual(result.text, "✓ \"at the 3th time\"")
      const events = yield* testing.events(result.run)
      assert.deepStrictEqual(events.flatMap(({ event }) => event._tag === "ToolCompleted" ? [event.attempts] : []), [3])
      assert.strictEqual((yield* settle("flaky 9")).text.startsWith("✗"), true)
    }))
})

const unsafe = Tool.make("launch", { description: "Launches.", parameters, success: Schema.String, effect: "unsafe" })
const started = Effect.runSync(Deferred.make<void>())

const launching = Agent.make("launching", {
  instructions: "Launch.",
  model: "scripted:test",
  plugins: [Plugin.make("launching", {
    tools: [unsafe],
    handlers: {
      launch: ({ n }) => Effect.andThen(note(`launch ${n}`), n > 0 ? Effect.succeed("up") : Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
    }
  })]
})

/** Leaves a run in doubt: its process ends in the middle of the tool. */
const doubted = Effect.fnUntraced(function*(dir: string) {
  const runtime = Layer.fresh(testing.layerEmbedded({ agents: [launching], model: provider, dir }))
  const run = yield* Effect.gen(function*() {
    const run = yield* Conductor.start(launching, "launch 0")
    yield* Deferred.await(started)
    return run
  }).pipe(Effect.provide(runtime))
  return { run, runtime }
})

describe("A call whose outcome is in doubt", () => {
  it.live("is resolved by a person, once, and only where it is in doubt", () =>
    Effect.gen(function*() {
      const { run, runtime } = yield* doubted(yield* freshDirectory)
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "RunWaiting")
        const wrong = yield* Effect.flip(Conductor.resolve(run, "call_9", { resolution: "happened" }))
        assert.include(wrong.message, "in doubt: call_1_1")
        yield* Conductor.resolve(run, "call_1_1", { resolution: "happened", result: "it is up there", comment: "seen" })
        assert.strictEqual((yield* Conductor.result(run)).text, "✓ it is up there")
        assert.strictEqual(yield* count("launch 0"), 1)
        assert.strictEqual((yield* Effect.flip(Conductor.resolve(run, "call_1_1", { resolution: "run-again" })))._tag, "RunConflict")
        yield* testing.check(run)
      }).pipe(Effect.provide(runtime))
    }), 60_000)
})
