import { assert, describe, expectTypeOf, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { AuditLog } from "../src/AuditLog.ts"
import { Agent, Conductor, CurrentOrg, CurrentPrincipal, Model, Plugin, Run, type RunResult, Tool } from "../src/index.ts"
import * as Money from "../src/Money.ts"
import * as testing from "../src/testing.ts"
import { runtimes } from "./support/conductors.ts"

const Weather = Tool.make("weather", {
  description: "The weather of a city.",
  parameters: Schema.Struct({ city: Schema.String, pin: Schema.optionalKey(Tool.sensitive(Schema.String)) }),
  success: Schema.Struct({ sky: Schema.String }),
  effect: "pure",
  target: ({ city }) => `city:${city}`
})

const weather = Plugin.make("weather", {
  tools: [Weather],
  handlers: { weather: ({ city }) => Effect.succeed({ sky: city === "Lisbon" ? "rain" : "sun" }) }
})

const assistant = Agent.make("assistant", {
  instructions: "Answer in one sentence.",
  model: "scripted:test",
  plugins: [weather],
  limits: { cost: "0.50 USD" }
})

const provider = testing.script([
  { toolCalls: [{ name: "weather", params: { city: "Lisbon", pin: "1234" } }, { name: "weather", params: { city: "Porto" } }] },
  (request) => {
    const last = request.messages.at(-1)
    return last?.role === "tool" ? last.results.map((result) => result.result).join(" ") : "no results"
  }
], { pieces: 4 })

for (const { layer: runtime, name } of runtimes([assistant], provider)) {
  layer(runtime, { excludeTestServices: true })(`Conductor (${name})`, (it) => {
    it.effect("runs an agent to its answer, with parallel tools, its cost and its audit trail", () =>
      Effect.gen(function*() {
        const result = yield* Conductor.run(assistant, "Weather?", { sourceProject: "demo" })
        assert.strictEqual(result.output, `{"sky":"rain"} {"sky":"sun"}`)
        assert.strictEqual(result.turns, 2)
        assert.strictEqual(Money.format(result.cost), "0.00004")
        yield* testing.check(result.run)
        assert.deepStrictEqual(yield* testing.tags(result.run), [
          "RunStarted", "RunClaimed", "TurnStarted", "TurnCompleted", "ToolStarted", "ToolCompleted", "ToolStarted",
          "ToolCompleted", "TurnStarted", "TurnCompleted", "RunCompleted"
        ])
        assert.deepStrictEqual((yield* testing.toolCalls(result.run)).map((call) => [call.name, call.outcome, call.result]), [
          ["weather", "success", `{"sky":"rain"}`],
          ["weather", "success", `{"sky":"sun"}`]
        ])
        const audit = yield* AuditLog
        const rows = yield* audit.list({ org: Run.OrgId.make("local"), run: result.run, action: "tool_call", limit: 10 })
        assert.deepStrictEqual(rows.map((row) => [row.target, row.input, row.sourceProject, row.principal]).toReversed(), [
          ["city:Lisbon", { city: "Lisbon", pin: "[REDACTED]" }, "demo", "local"],
          ["city:Porto", { city: "Porto" }, "demo", "local"]
        ])
        const all = yield* audit.list({ org: Run.OrgId.make("local"), run: result.run, limit: 100 })
        assert.deepStrictEqual(all.map((row) => row.action).toReversed(), [
          "run", "run", "model_attempt", "tool_call", "tool_call", "model_attempt", "run"
        ])
      }))

    it.effect("acts for the organisation and the person that the door names", () =>
      Effect.gen(function*() {
        const org = Run.OrgId.make(`org-${name}`)
        const { run } = yield* Conductor.run(assistant, "Weather?").pipe(
          Effect.provideService(CurrentOrg, org),
          Effect.provideService(CurrentPrincipal, "user:7")
        )
        const state = yield* testing.check(run)
        assert.strictEqual(state.org, org)
        const rows = yield* (yield* AuditLog).list({ org, limit: 100 })
        assert.strictEqual(rows.length, 7)
        assert.isTrue(rows.every((row) => row.principal === "user:7"))
      }))

    it.effect("runs many at once, each sound", () =>
      Effect.gen(function*() {
        const results = yield* Effect.forEach(
          Array.from({ length: 50 }, (_, n) => n),
          (n) => Conductor.run(assistant, `Weather ${n}?`),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(new Set(results.map((result) => result.run)).size, 50)
        yield* Effect.forEach(results.slice(0, 5), (result) => testing.check(result.run))
      }))
  })
}

class Key extends Context.Service<Key, { readonly value: string }>()("test/Key") {}
class Jammed extends Schema.TaggedError<Jammed>()("Jammed", { floor: Schema.Int }) {}

const Lift = Tool.make("lift", {
  description: "Goes up.",
  success: Schema.Void,
  failure: Jammed,
  failureMode: "error",
  effect: "unsafe"
})
const lift = Plugin.make("lift", {
  tools: [Lift],
  handlers: Effect.gen(function*() {
    const key = yield* Key
    return { lift: () => Effect.fail(new Jammed({ floor: key.value.length })) }
  })
})
const porter = Agent.make("porter", { instructions: "Lift.", model: "scripted:test", plugins: [lift, weather] })
const calculator = Agent.make("calculator", {
  instructions: "Add.",
  model: "scripted:test",
  input: Schema.Struct({ a: Schema.Int }),
  output: Schema.Struct({ sum: Schema.Int })
})

describe("Conductor's types", () => {
  it("carry a tool's own failure to an exhaustive match, and the answer's type to the result", () => {
    const run = Conductor.run(porter, "Up!")
    expectTypeOf(run).toEqualTypeOf<Effect.Effect<RunResult<string>, Run.RunError | Jammed, Conductor>>()
    const told = run.pipe(
      Effect.map((result) => result.output),
      Effect.catchTags({
        Jammed: (error) => Effect.succeed(`stuck at ${error.floor}`),
        BudgetExceeded: (error) => Effect.succeed(error.scope)
      })
    )
    expectTypeOf<Effect.Error<typeof told>>().toEqualTypeOf<Exclude<Run.RunError, Run.BudgetExceeded>>()
    const match = (error: Run.RunError | Jammed): string => {
      switch (error._tag) {
        case "Jammed":
          return "jammed"
        default:
          return error.message
      }
    }
    expectTypeOf(match).returns.toBeString()
    expectTypeOf<Effect.Error<ReturnType<typeof Conductor.run<typeof assistant>>>>().toEqualTypeOf<Run.RunError>()
    expectTypeOf<Effect.Success<ReturnType<typeof Conductor.run<typeof calculator>>>>().toEqualTypeOf<RunResult<{ readonly sum: number }>>()
    // @ts-expect-error the input is of the agent's schema
    void Conductor.run(calculator, { b: 1 })
    // @ts-expect-error the input of an agent without a schema is text
    void Conductor.run(porter, 1)
  })

  it("demand what the handlers of the agents need, and name what registration can fail with", () => {
    const runtime = Conductor.layerMemory({ agents: [porter, assistant] })
    expectTypeOf<Layer.Services<typeof runtime>>().toEqualTypeOf<Key>()
    expectTypeOf<Agent.RegistrationFailed>().toExtend<Layer.Error<typeof runtime>>()
    const free = testing.layer({ agents: [assistant], model: provider })
    expectTypeOf<Layer.Services<typeof free>>().toBeNever()
  })

  it("refuse a handler that does not fit its tool", () => {
    // @ts-expect-error the sky is not a number
    void Plugin.make("wrong", { tools: [Weather], handlers: { weather: () => Effect.succeed({ sky: 1 }) } })
    // @ts-expect-error a handler is missing
    void Plugin.make("none", { tools: [Weather], handlers: {} })
    // @ts-expect-error a tool says how it treats the world
    void Tool.make("careless", { description: "", success: Schema.Void })
  })
})

describe("Conductor.layer", () => {
  const build = <E>(runtime: Layer.Layer<Conductor, E>) => Effect.flip(Effect.scoped(Layer.build(runtime)))
  const model = provider

  it.effect("gives handlers their services, and fails with the tool's own failure", () =>
    Effect.gen(function*() {
      const script = testing.script([{ toolCalls: [{ name: "lift" }] }])
      const error = yield* Effect.flip(Conductor.run(porter, "Up!")).pipe(
        Effect.provide(testing.layer({ agents: [porter], model: script }).pipe(Layer.provide(Layer.succeed(Key, { value: "abc" }))))
      )
      assert.isTrue(error._tag === "Jammed" && error.floor === 3)
    }))

  it.effect("fails on two agents of one name, two tools of one name, and a model that is forbidden or malformed", () =>
    Effect.gen(function*() {
      const twice = yield* build(testing.layer({ agents: [assistant, assistant], model }))
      assert.match(twice.message, /The agent "assistant" cannot be registered: another agent of that name/)
      const again = Plugin.make("again", { tools: [Weather], handlers: { weather: () => Effect.succeed({ sky: "?" }) } })
      const clash = Agent.make("clash", { instructions: "", model: "scripted:test", plugins: [weather, again] })
      assert.match((yield* build(testing.layer({ agents: [clash], model }))).message, /both have a tool named "weather"/)
      const forbidden = Agent.make("forbidden", { instructions: "", model: "openai:gpt-5" })
      assert.strictEqual((yield* build(testing.layer({ agents: [forbidden], model })))._tag, "ForbiddenModel")
      const malformed = Agent.make("malformed", { instructions: "", model: Model.of("sonnet") })
      assert.strictEqual((yield* build(testing.layer({ agents: [malformed], model })))._tag, "UnknownModel")
    }))

  it.effect("says loudly that an agent is not registered", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Conductor.run(calculator, { a: 1 }))
      assert.strictEqual(error._tag, "AgentNotRegistered")
      assert.strictEqual(
        error.message,
        `The agent "calculator" is not registered here (registered: assistant): list it in the agents of Conductor.layer.`
      )
    }).pipe(Effect.provide(testing.layer({ agents: [assistant], model }))))
})
