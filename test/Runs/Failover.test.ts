import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Money, Plugin, Run, Tool } from "../../src/index.ts"
import { type Row, Tables } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { recordings } from "../support/anthropic.ts"
import { embedded } from "../support/databases.ts"
import { type Replay, replay, type Script } from "../support/replay.ts"

const claude = "anthropic:claude-haiku-4-5-20251001"
const other = "scripted:test"

/** How often the weather was asked for, by the key of the call. */
const world = new Map<string, number>()

const weather = Tool.make("weather", {
  description: "The weather at a place.",
  parameters: Schema.Struct({ latitude: Schema.String, longitude: Schema.String }),
  success: Schema.String,
  effect: "unsafe"
})

const agent = Agent.make("forecaster", {
  instructions: "Say what the weather is.",
  model: Model.fallback(claude, other),
  plugins: [Plugin.make("weather", {
    tools: [weather],
    handlers: {
      weather: ({ latitude, longitude }) =>
        Effect.map(Tool.Call, ({ key }) => {
          world.set(key, (world.get(key) ?? 0) + 1)
          return `15 degrees at ${latitude} ${longitude}`
        })
    }
  })],
  limits: { attempts: 1, cost: "1 USD" }
})

/** The healthy model: it asks for the same weather, and answers. */
const healthy = Model.Scripted.make([
  { toolCalls: [{ name: "weather", params: { latitude: "52.5200", longitude: "13.4050" } }] },
  (request) => {
    const last = request.messages.at(-1)
    return `The other one heard: ${last?.role === "tool" ? last.results.map((one) => one.result).join() : "nothing"}`
  }
])

/** The catalogue with a price for both models. */
const catalog = Layer.unwrap(Effect.map(Model.Catalog, ({ find }) => {
  const entry = Option.getOrThrow(find(Run.ModelRef.make(claude)))
  return Model.Catalog.layerOf([entry, { ...entry, ref: Run.ModelRef.make(other) }])
})).pipe(Layer.provide(Model.Catalog.layerShipped))

const models = (url: string) =>
  Layer.fresh(Model.Models.layerWith({ scripted: healthy })).pipe(
    Layer.provideMerge(catalog),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ANTHROPIC_API_KEY: "sk-test", ANTHROPIC_BASE_URL: url })))
  )

// The first provider fails in every run, which is not to keep the next run from asking it.
const undaunted = Layer.succeed(Model.Routing, { breaker: false })

/** A recorded stream, broken off after so many of its events, or within the one after them. */
const cutAfter = (body: string, events: number, isWithin: boolean): Script => {
  const all = body.split(/(?<=\n\n)/).filter((event) => event.trim() !== "")
  const rest = all[events] ?? ""
  return { body: all.slice(0, events).join("") + (isWithin ? rest.slice(0, Math.floor(rest.length / 2)) : "") }
}

const eventsOf = (body: string) => body.split(/(?<=\n\n)/).filter((event) => event.trim() !== "").length

interface Case {
  readonly name: string
  readonly scripts: ReadonlyArray<Script>
  /** The turn in which the first model is cut. */
  readonly turn: number
}

/** Both turns of the recorded conversation, each cut at every place. */
const cases = (first: string, second: string): ReadonlyArray<Case> =>
  [first, second].flatMap((body, turn) =>
    Array.from({ length: eventsOf(body) }, (_, events) => [false, true].map((isWithin) => ({
      name: `turn ${turn + 1} after ${events} events${isWithin ? " and a half" : ""}`,
      scripts: [...(turn === 0 ? [] : [{ body: first }]), cutAfter(body, events, isWithin)],
      turn: turn + 1
    }))).flat())

/** The column of `model_calls` as rows of process memory have it. */
const column = { turn: 5, attempt: 6, provider: 7, cost: 15, error: 22 }

const rowsInMemory = Effect.map(Tables, (tables) =>
  tables.get("model_calls", (): Array<() => Row> => []).map((row) => {
    const values = row()["r"] as ReadonlyArray<string | number | null>
    return {
      turn: Number(values[column.turn]),
      attempt: Number(values[column.attempt]),
      provider: String(values[column.provider]),
      cost: Money.usd(String(values[column.cost])),
      error: values[column.error] ?? null
    }
  }))

/** Runs the agent over a first provider that is cut, and states what must hold. */
const survives = Effect.fnUntraced(function*<R>(
  server: Replay,
  { name, scripts, turn }: Case,
  rowsOf: (run: Run.RunId) => Effect.Effect<Effect.Success<typeof rowsInMemory>, unknown, R>
) {
  server.play(...scripts)
  const { run, text } = yield* Conductor.run(agent, "What is the weather in Berlin?")
  assert.strictEqual(text, "The other one heard: \"15 degrees at 52.5200 13.4050\"", name)
  assert.deepStrictEqual([...world].filter(([key]) => key.startsWith(run)).map(([, times]) => times), [1], name)
  const state = yield* testing.check(run)
  // Of what was broken off nothing is in the conversation, and of the finished turns everything.
  assert.deepStrictEqual(state.messages.map((message) => message.role === "assistant" ? message.model : message.role), [
    "user", turn === 1 ? other : claude, "tool", other
  ])
  assert.isUndefined(Run.Transcript.problem(state.messages))
  const [question] = state.messages.filter((message) => message.role === "assistant")
  assert.strictEqual(question?.role === "assistant" ? question.parts.length : 0, 1)
  const rows = yield* rowsOf(run)
  assert.deepStrictEqual(rows.map((row) => `${row.turn}.${row.attempt} ${row.provider} ${row.error}`), [
    ...(turn === 1 ? [] : ["1.1 anthropic null"]),
    `${turn}.1 anthropic NetworkError`,
    `${turn}.2 scripted null`,
    ...(turn === 1 ? ["2.1 scripted null"] : [])
  ], name)
  for (const row of rows) assert.isTrue(row.cost > 0n, `${name}: ${row.turn}.${row.attempt} cost nothing`)
  assert.strictEqual(rows.reduce((sum, row) => Money.add(sum, row.cost), Money.zero), state.cost, name)
})

describe("A provider that breaks off", () => {
  const [first, second] = recordings("anthropic").filter(({ name }) => name.startsWith("anthropic-tools-multi-turn-stream")).map(({ body }) => body)
  if (first === undefined || second === undefined) {
    it("is played where there are recordings", () => assert.isUndefined(process.env["CONDUCTOR_RECORDINGS"]))
    return
  }
  const all = cases(first, second)

  it.live(`loses nothing of the run, wherever it does: ${all.length} places (memory)`, () =>
    Effect.gen(function*() {
      assert.isAbove(all.length, 40)
      const server = yield* replay()
      for (const one of all) {
        yield* survives(server, one, () => rowsInMemory).pipe(
          Effect.provide(Layer.fresh(Conductor.layerMemory({ agents: [agent], models: models(server.url) })).pipe(Layer.provide(undaunted)))
        )
      }
    }).pipe(Effect.scoped), 120_000)

  it.live("loses nothing of the run (pglite)", () =>
    Effect.gen(function*() {
      const server = yield* replay()
      const rowsOf = (run: Run.RunId) =>
        Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.map(
            sql<{ readonly turn: number; readonly attempt: number; readonly provider: string; readonly cost: string; readonly error: string | null }>`
              SELECT turn, attempt, provider, cost_usd::text AS cost, error FROM model_calls WHERE run_id = ${run} ORDER BY turn, attempt`,
            (rows) => rows.map((row) => ({ ...row, cost: Money.usd(row.cost) }))
          ))
      yield* Effect.forEach(all.filter((_, index) => index % 7 === 3), (one) => survives(server, one, rowsOf)).pipe(
        Effect.provide(Layer.provide(Conductor.layerDatabase({ agents: [agent], models: models(server.url), database: embedded }), undaunted))
      )
    }).pipe(Effect.scoped), 120_000)

  it.live("is asked again itself where the agent allows it, for the same turn", () =>
    Effect.gen(function*() {
      const server = yield* replay()
      yield* Effect.gen(function*() {
        server.play({ body: first }, cutAfter(second, 5, false), { body: second })
        const { run, text } = yield* Conductor.run(agent, "What is the weather in Berlin?", { limits: { attempts: 2 } })
        assert.match(text, /^The weather in Berlin is currently:\n[^]*a walk around the city!$/)
        const state = yield* testing.check(run)
        assert.deepStrictEqual([state.turns, state.model, server.received.length], [2, claude, 3])
        assert.deepStrictEqual([...world].filter(([key]) => key.startsWith(run)).map(([, times]) => times), [1])
        // Both requests for the second turn were the same.
        assert.strictEqual(server.received[1]?.body, server.received[2]?.body)
        const rows = yield* rowsInMemory
        assert.deepStrictEqual(rows.map((row) => `${row.turn}.${row.attempt} ${row.error}`), ["1.1 null", "2.1 NetworkError", "2.2 null"])
      }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models: models(server.url) })))
    }).pipe(Effect.scoped))
})
