import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Conductor, Model, Money, Plugin, Run, Tool } from "../../src/index.ts"
import { modelCalls } from "../../src/Budget.ts"
import { Tables } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { recordings } from "../support/anthropic.ts"
import { embedded } from "../support/databases.ts"
import { type Replay, replay, type Script } from "../support/replay.ts"

/** The first models, with the recorded conversation that each plays. */
const recorded = [
  { model: "anthropic:claude-haiku-4-5-20251001", recording: "anthropic-tools-multi-turn-stream", env: "ANTHROPIC" },
  { model: "openrouter:anthropic/claude-haiku-4.5", recording: "openrouter-tools-multi-turn-stream", env: "OPENROUTER" },
  { model: "openrouter:deepseek/deepseek-chat", recording: "deepseek-tools-multi-turn-stream", env: "OPENROUTER" },
  { model: "google:gemini-2.5-flash", recording: "gemini-tools-multi-turn-stream", env: "GEMINI" }
] as const
type Recorded = (typeof recorded)[number]

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
  model: other,
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

/** The catalogue with a price for every model. */
const catalog = Layer.unwrap(Effect.map(Model.Catalog, ({ find }) => {
  const entry = Option.getOrThrow(find(Run.ModelRef.make(recorded[0].model)))
  return Model.Catalog.layerOf([...new Set(recorded.map(({ model }) => model)), other].map((ref) => ({ ...entry, ref: Run.ModelRef.make(ref) })))
})).pipe(Layer.provide(Model.Catalog.layerShipped))

const models = ({ env }: Recorded, url: string) =>
  Layer.fresh(Model.Models.layerWith({ scripted: healthy })).pipe(
    Layer.provideMerge(catalog),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ [`${env}_API_KEY`]: "sk-test", [`${env}_BASE_URL`]: url })))
  )

/** Runs the agent on the recorded model, and on the other one where that cannot answer. */
const forecast = ({ model }: Recorded, limits?: Partial<Run.Limits>) =>
  Conductor.run(agent, "What is the weather in Berlin?", {
    model: Run.ModelRef.make(model),
    fallback: [Run.ModelRef.make(other)],
    ...(limits === undefined ? {} : { limits })
  })

// The first provider fails in every run, which is not to keep the next run from asking it.
const undaunted = Layer.succeed(Model.Routing, { breaker: false })

const eventsOf = (body: string) => body.split(/(?<=\n\n|\r\n\r\n)/).filter((event) => event.trim() !== "")

/** A recorded stream, broken off after so many of its events, or within the one after them. */
const cutAfter = (body: string, events: number, isWithin: boolean): Script => {
  const all = eventsOf(body)
  const rest = all[events] ?? ""
  return { body: all.slice(0, events).join("") + (isWithin ? rest.slice(0, Math.floor(rest.length / 2)) : "") }
}

interface Case {
  readonly name: string
  readonly scripts: ReadonlyArray<Script>
  /** The turn in which the first model is cut. */
  readonly turn: number
}

/** Both turns of the recorded conversation, each cut at every place. */
const casesOf = (bodies: readonly [string, string]): ReadonlyArray<Case> =>
  bodies.flatMap((body, index) =>
    eventsOf(body).flatMap((_, events) => [false, true].map((isWithin) => ({
      name: `turn ${index + 1} after ${events} events${isWithin ? " and a half" : ""}`,
      scripts: [...(index === 0 ? [] : [{ body: bodies[0] }]), cutAfter(body, events, isWithin), { body: bodies[1] }],
      turn: index + 1
    }))))

const rowsInMemory = Effect.map(Tables, (tables) =>
  modelCalls(tables).map(({ attempt, cost, error, model, turn }) => ({ turn, attempt, provider: model.slice(0, model.indexOf(":")), cost, error })))

/** What the run is when nobody breaks off. */
const undisturbed = Effect.fnUntraced(function*(server: Replay, first: Recorded, bodies: readonly [string, string]) {
  server.play(...bodies.map((body) => ({ body })))
  const { run } = yield* forecast(first)
  return yield* testing.check(run)
})

/** Runs the agent over a first provider that is cut, and states what must hold. */
const survives = Effect.fnUntraced(function*<R>(
  server: Replay,
  first: Recorded,
  whole: Run.RunState,
  { name, scripts, turn }: Case,
  rowsOf: (run: Run.RunId) => Effect.Effect<Effect.Success<typeof rowsInMemory>, unknown, R>
) {
  server.play(...scripts)
  const { run } = yield* forecast(first)
  const state = yield* testing.check(run)
  const [provider] = first.model.split(":")
  const rows = yield* rowsOf(run)
  // A stream of which only the farewell is missing is a whole answer.
  const isWhole = rows.every((row) => row.error === null)
  assert.deepStrictEqual([...world].filter(([key]) => key.startsWith(run)).map(([, times]) => times), [1], name)
  assert.isUndefined(Run.Transcript.problem(state.messages))
  for (const row of rows) assert.isTrue(row.cost > 0n, `${name}: ${row.turn}.${row.attempt} cost nothing`)
  assert.strictEqual(rows.reduce((sum, row) => Money.add(sum, row.cost), Money.zero), state.cost, name)
  if (isWhole) {
    assert.deepStrictEqual(state.messages, whole.messages, name)
    return 0
  }
  assert.strictEqual(Run.answerOf(state), "The other one heard: \"15 degrees at 52.5200 13.4050\"", name)
  // Of what was broken off nothing is in the conversation, and of the finished turns everything.
  assert.deepStrictEqual(state.messages.map((message) => message.role === "assistant" ? message.model : message.role), [
    "user", turn === 1 ? other : first.model, "tool", other
  ], name)
  if (turn === 2) assert.deepStrictEqual(state.messages.slice(0, 3), whole.messages.slice(0, 3), name)
  assert.deepStrictEqual(rows.map((row) => `${row.turn}.${row.attempt} ${row.provider} ${row.error}`), [
    ...(turn === 1 ? [] : [`1.1 ${provider} null`]),
    `${turn}.1 ${provider} NetworkError`,
    `${turn}.2 scripted null`,
    ...(turn === 1 ? ["2.1 scripted null"] : [])
  ], name)
  return 1
})

for (const first of recorded) {
  const provider = first.recording.slice(0, first.recording.indexOf("-"))
  const [one, two] = recordings(provider).filter(({ name }) => name.startsWith(first.recording)).map(({ body }) => body)

  describe(`${first.model}, where it breaks off`, () => {
    if (one === undefined || two === undefined) {
      it("is played where there are recordings", () => assert.isUndefined(process.env["CONDUCTOR_RECORDINGS"]))
      return
    }
    const bodies = [one, two] as const
    const cases = casesOf(bodies)
    const runtime = (url: string) =>
      Layer.fresh(Conductor.layerMemory({ agents: [agent], models: models(first, url) })).pipe(Layer.provide(undaunted))

    it.live(`loses nothing of the run: ${cases.length} places (memory)`, () =>
      Effect.gen(function*() {
        const server = yield* replay()
        const whole = yield* Effect.provide(undisturbed(server, first, bodies), runtime(server.url))
        let broken = 0
        for (const one of cases) {
          broken += yield* Effect.provide(survives(server, first, whole, one, () => rowsInMemory), runtime(server.url))
        }
        // The end of the answer comes before at most two more events.
        assert.isAtLeast(broken, cases.length - 8)
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
        yield* Effect.gen(function*() {
          const whole = yield* undisturbed(server, first, bodies)
          for (const one of cases.filter((_, index) => index % 7 === 3)) yield* survives(server, first, whole, one, rowsOf)
        }).pipe(
          Effect.provide(Layer.provide(Conductor.layerDatabase({ agents: [agent], models: models(first, server.url), database: embedded }), undaunted))
        )
      }).pipe(Effect.scoped), 120_000)

    it.live("is asked again itself where the agent allows it, for the same turn", () =>
      Effect.gen(function*() {
        const server = yield* replay()
        const whole = yield* Effect.provide(undisturbed(server, first, bodies), runtime(server.url))
        yield* Effect.gen(function*() {
          server.play({ body: one }, cutAfter(two, 1, false), { body: two })
          const { run } = yield* forecast(first, { attempts: 2 })
          const state = yield* testing.check(run)
          assert.deepStrictEqual([state.turns, state.model, state.messages], [2, whole.model, whole.messages])
          assert.deepStrictEqual([...world].filter(([key]) => key.startsWith(run)).map(([, times]) => times), [1])
          // Both requests for the second turn were the same.
          assert.strictEqual(server.received.at(-2)?.body, server.received.at(-1)?.body)
          const rows = yield* rowsInMemory
          assert.deepStrictEqual(rows.map((row) => `${row.turn}.${row.attempt} ${row.error}`), ["1.1 null", "2.1 NetworkError", "2.2 null"])
        }).pipe(Effect.provide(runtime(server.url)))
      }).pipe(Effect.scoped))
  })
}
