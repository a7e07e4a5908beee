import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as AiError from "effect/ai/AiError"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Plugin, Tool } from "../../src/index.ts"
import { CrashMatrix, script } from "../../src/testing.ts"
import { databases } from "../support/databases.ts"

/** How often the world was changed, by the key of the call. */
const world = { mails: new Map<string, number>(), orders: new Map<string, number>(), payments: new Map<string, number>() }
const count = (map: Map<string, number>, key: string) => Effect.sync(() => void map.set(key, (map.get(key) ?? 0) + 1))

const n = Schema.Struct({ n: Schema.Int })
const twice = Tool.make("twice", { description: "Twice a number.", parameters: n, success: n, effect: "pure" })
const mail = Tool.make("mail", { description: "Sends a mail.", parameters: n, success: n, effect: "idempotent" })
const order = Tool.make("order", { description: "Orders something.", parameters: n, success: n, effect: "unsafe" })

const office = Plugin.make("office", {
  tools: [twice, mail, order],
  handlers: {
    twice: ({ n }) => Effect.delay(Effect.succeed({ n: n * 2 }), "2 seconds"),
    mail: ({ n }) => Effect.gen(function*() {
      yield* count(world.mails, (yield* Tool.Call).key)
      return { n }
    }),
    order: ({ n }) => Effect.gen(function*() {
      yield* count(world.orders, (yield* Tool.Call).key)
      yield* Effect.sleep("1 second")
      return { n }
    })
  }
})

const agent = Agent.make("clerk", { instructions: "Do what you are told.", model: "scripted:clerk", plugins: [office], limits: { cost: "1 USD", attempts: 5 } })

const busy = AiError.make({ module: "Test", method: "stream", reason: new AiError.InternalProviderError({ description: "busy" }) })
let requests = 0
const model = script([
  { toolCalls: [{ name: "twice", params: { n: 1 } }, { name: "mail", params: { n: 2 } }, { name: "order", params: { n: 3 } }] },
  () => ++requests > 1 ? { toolCalls: [{ name: "mail", params: { n: 4 } }] } : { text: "I f", fail: busy, failAfter: 2 },
  "Done."
])

const book = Tool.make("book", { description: "Books a seat in the database.", parameters: n, success: n, effect: "transactional" })
const pay = Tool.make("pay", { description: "Pays, and can be asked.", parameters: n, success: n, effect: "reconcilable" })

/** All five classes, without anybody who waits: over a database time is real. */
const bureau = Plugin.make("bureau", {
  tools: [twice, mail, order, book, pay],
  handlers: {
    twice: ({ n }) => Effect.succeed({ n: n * 2 }),
    mail: ({ n }) => Effect.as(Effect.flatMap(Tool.Call, (call) => count(world.mails, call.key)), { n }),
    order: ({ n }) => Effect.as(Effect.flatMap(Tool.Call, (call) => count(world.orders, call.key)), { n }),
    book: ({ n }) => Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO crash_seats (key) VALUES (${(yield* Tool.Call).key})`
      return { n }
    }).pipe(Effect.orDie),
    pay: ({ n }) => Effect.as(Effect.flatMap(Tool.Call, (call) => count(world.payments, call.key)), { n })
  },
  reconcile: {
    pay: ({ n }) => Effect.map(Tool.Call, (call) => world.payments.has(call.key) ? Tool.done({ n }) : Tool.notDone)
  }
})
const quick = Agent.make("quick", { instructions: "Do what you are told.", model: "scripted:clerk", plugins: [bureau] })
const steady = script([
  { toolCalls: [{ name: "twice", params: { n: 1 } }, { name: "mail", params: { n: 2 } }, { name: "order", params: { n: 3 } }] },
  { toolCalls: [{ name: "book", params: { n: 4 } }, { name: "pay", params: { n: 5 } }, { name: "mail", params: { n: 6 } }] },
  "Done."
])

/** Every booking and payment of a completed run is there once, and of a parked one at most once. */
const bookedOnce = (ending: CrashMatrix.Ending) =>
  Effect.gen(function*() {
    yield* once(ending)
    const sql = yield* SqlClient.SqlClient
    for (const { run, status } of ending.runs) {
      const [seats] = yield* sql<{ readonly keys: bigint; readonly rows: bigint }>`
        SELECT count(DISTINCT key) AS keys, count(*) AS rows FROM crash_seats WHERE key LIKE ${`${run}%`}`
      assert.strictEqual(seats?.rows, seats?.keys)
      const payments = [...world.payments].filter(([key]) => key.startsWith(run))
      assert.isAtMost(payments.reduce((sum, [, times]) => sum + times, 0), 1)
      if (status === "completed") assert.deepStrictEqual([Number(seats?.rows), payments.length], [1, 1])
    }
  })

/** The model fails once in each schedule. */
const before = Effect.sync(() => {
  requests = 0
})

const program = Conductor.run(agent, "Do it all.")

const once = (ending: CrashMatrix.Ending) =>
  Effect.sync(() => {
    for (const run of ending.runs) {
      const unknown = run.open?.calls.filter((call) => call.status === "unknown") ?? []
      assert.strictEqual(run.status, unknown.length === 0 ? "completed" : "parked")
      const orders = [...world.orders].filter(([key]) => key.startsWith(run.run))
      assert.isAtMost(orders.reduce((sum, [, times]) => sum + times, 0), 1)
      if (run.status === "completed") {
        assert.strictEqual(orders.length, 1)
        assert.strictEqual([...world.mails.keys()].filter((key) => key.startsWith(run.run)).length, 2)
      }
    }
  })

describe("CrashMatrix", () => {
  it.effect("dies at every append and at every tool boundary, under a test clock: more than 100 schedules in 10 s of a processor", () =>
    Effect.gen(function*() {
      const start = process.cpuUsage()
      const report = yield* CrashMatrix.run({ agents: [agent], model, program, check: once, before, deaths: 2, pairs: 100, seed: 7 })
      // Not of the clock: other processes of a busy machine are not its doing.
      const { system, user } = process.cpuUsage(start)
      const seconds = (system + user) / 1_000_000
      assert.deepStrictEqual([report.byPlace["before command"], report.byPlace["after command"]], [0, 0])
      for (const place of ["before append", "after append", "before handler", "after handler"] as const) assert.isAbove(report.byPlace[place], 3)
      assert.isAbove(report.schedules, 100)
      assert.isAbove(report.pairs, 90)
      assert.isBelow(seconds, 10)
      console.log(`CrashMatrix: ${report.schedules} schedules, ${report.pairs} of them with two deaths, in ${seconds.toFixed(1)} s in memory`)
    }))

  it.live("dies at every command too, under the real clock", () =>
    Effect.gen(function*() {
      const told = Effect.gen(function*() {
        const run = yield* Conductor.start(agent, "Do it all.")
        yield* Conductor.send(run, "And be quick.", { dedupe: "once" })
        yield* Conductor.result(run)
      })
      const report = yield* CrashMatrix.run({
        agents: [agent],
        model,
        program: told,
        before,
        // What was acknowledged is heard, once; what was not may be missing.
        check: ({ executions, result, runs: [run], schedule }) =>
          Effect.sync(() => {
            const heard = run?.messages.filter((message) => message.role === "user" && message.text === "And be quick.").length ?? 0
            assert.isAtMost(heard, 1)
            if (result !== undefined || schedule.startsWith("after command")) assert.strictEqual(heard, 1)
            assert.isAtMost(executions.filter((one) => one.tool === "order").length, 1)
          })
      })
      assert.deepStrictEqual([report.byPlace["before command"], report.byPlace["after command"]], [1, 1])
    }))

  it.live("repeats a call that may be repeated with the same key, and parks one that may not", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const at = (only: string) =>
        CrashMatrix.run({
          agents: [agent],
          model,
          program,
          before,
          only,
          check: ({ executions, runs }) =>
            Effect.sync(() => {
              const mails = executions.filter((one) => one.call === "call_1_2")
              seen.push(`${runs.map((run) => run.status)} ${mails.length} ${new Set(mails.map((one) => one.key)).size}`)
            })
        })
      assert.strictEqual((yield* at("undisturbed")).schedules, 0)
      // The first handler to end is that of the idempotent tool; the unsafe one, then under way, is in doubt.
      assert.strictEqual((yield* at("after handler 1")).byPlace["after handler"], 1)
      assert.deepStrictEqual(seen, ["completed 1 1", "parked 2 1"])
    }))

  it.live("lets people go on in the process after the death", () =>
    Effect.gen(function*() {
      yield* CrashMatrix.run({
        agents: [agent],
        model,
        program,
        before,
        resume: (runs) => Effect.forEach(runs.filter((run) => run.status === "parked"), (run) => Conductor.cancel(run.run, "nobody knows")),
        check: ({ runs }) => Effect.sync(() => runs.forEach((run) => assert.include(["completed", "cancelled"], run.status)))
      })
    }))

  it.live("names the schedule after which a tool is not what it says, and plays it alone", () =>
    Effect.gen(function*() {
      let sent = 0
      const careless = Tool.make("careless", { description: "Sends without looking.", parameters: n, success: n, effect: "idempotent" })
      const plugin = Plugin.make("careless", { tools: [careless], handlers: { careless: ({ n }) => Effect.sync(() => (sent++, { n })) } })
      const options = {
        agents: [Agent.make("careless", { instructions: "Send.", model: "scripted:clerk", plugins: [plugin] })],
        model: script([{ toolCalls: [{ name: "careless", params: { n: 1 } }] }, "Done."]),
        program: Conductor.run("careless", "Send it."),
        before: Effect.sync(() => {
          sent = 0
        }),
        check: () => sent > 1 ? Effect.fail(new Error(`it was sent ${sent} times`)) : Effect.void
      } as const
      const error = yield* Effect.flip(CrashMatrix.run(options))
      assert.strictEqual(error.problem, "it was sent 2 times")
      assert.strictEqual(error.schedule, "before append 4")
      assert.deepStrictEqual(error.during, ["ToolCompleted careless"])
      assert.match(error.message, /^With a death before append 4 \(ToolCompleted careless\): it was sent 2 times\nPlay it alone with only: "before append 4"\.\n[0-9a-f-]+: RunStarted .* RunCompleted$/)
      assert.strictEqual((yield* Effect.flip(CrashMatrix.run({ ...options, only: error.schedule }))).problem, error.problem)
    }))

  it.live("says what is wrong with a program that fails by itself, and with a schedule that is none", () =>
    Effect.gen(function*() {
      const options = { agents: [agent], model: script([]), program }
      assert.match((yield* Effect.flip(CrashMatrix.run(options))).message, /^Without any death: .*The script is over/s)
      const twins = yield* Effect.flip(CrashMatrix.run({ ...options, agents: [agent, agent] }))
      assert.match(twins.message, /another agent of that name/)
      const defect = yield* Effect.exit(CrashMatrix.run({ ...options, only: "at dawn" }))
      assert.include(String(defect), "is no schedule")
    }))

  for (const { layer, name } of databases) {
    it.live(`dies over a database, with tools of all classes (${name})`, () =>
      Effect.gen(function*() {
        const start = performance.now()
        const report = yield* CrashMatrix.run({
          agents: [quick],
          model: steady,
          program: Conductor.run(quick, "Do it all."),
          before: Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE IF NOT EXISTS crash_seats (key text)`),
          check: bookedOnce,
          database: layer,
          deaths: 2,
          pairs: 24
        })
        for (const [place, deaths] of Object.entries(report.byPlace)) if (!place.endsWith("command")) assert.isAbove(deaths, 0, place)
        assert.isAbove(report.schedules, 50)
        console.log(`CrashMatrix: ${report.schedules} schedules in ${((performance.now() - start) / 1_000).toFixed(1)} s on ${name}`)
      }), 120_000)
  }
})
