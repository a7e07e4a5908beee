import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import { Tables } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"

const tool = (effect: "pure" | "idempotent", field: "city" | "town" = "city") =>
  Tool.make("weather", {
    description: "Looks the weather up.",
    parameters: Schema.Struct({ [field]: Schema.optionalKey(Schema.String) }),
    success: Schema.String,
    effect,
    approval: true
  })

/** A version of the agent: its instructions, what its tool is like, and what becomes of older runs. */
const version = (instructions: string, weather: ReturnType<typeof tool>, upgrade?: Agent.Policy) =>
  Agent.make("forecaster", {
    instructions,
    model: "scripted:test",
    plugins: [Plugin.make("weather", { tools: [weather], handlers: { weather: () => Effect.succeed("rain") } })],
    ...(upgrade === undefined ? {} : { upgrade })
  })

type Version = ReturnType<typeof version>

const first = version("Be brief.", tool("pure"))

/** Calls the tool, then says what it was told and what it hears. */
const provider = Model.Scripted.make((request) => {
  const users = request.messages.flatMap((message) => message.role === "user" ? [message.text] : [])
  return request.messages.some((message) => message.role === "tool")
    ? `${request.system} ${request.tools.map((spec) => Object.keys((spec.parameters as { properties?: object }).properties ?? {})).join()} ${users.join("|")}`
    : { toolCalls: [{ name: "weather" }] }
})

/** Starts runs under the first version, parks them, deploys the second over the same store, and approves each. */
const deploy = (second: Version, count = 1) =>
  Effect.gen(function*() {
    const runs = yield* Effect.gen(function*() {
      const runs: Array<Run.RunId> = []
      for (let n = 0; n < count; n++) runs.push(yield* Conductor.start(first, "Will it rain?"))
      yield* Effect.forEach(runs, (run) => Effect.flip(Conductor.result(run)))
      return runs
    }).pipe(Effect.provide(Conductor.layerTables({ agents: [first], models: testing.models(provider) })))
    return yield* Effect.gen(function*() {
      for (const { id } of yield* Conductor.approvals({ limit: count })) yield* Conductor.decide(id, { decision: "approved" })
      return yield* Effect.forEach(runs, (run) =>
        Effect.gen(function*() {
          const end = yield* Effect.result(Conductor.result(run))
          return { end, state: yield* testing.check(run), tags: yield* testing.tags(run) }
        }))
    }).pipe(Effect.provide(Conductor.layerTables({ agents: [second], models: testing.models(provider) })))
  }).pipe(Effect.provide(Tables.layer))

const only = Effect.fnUntraced(function*(second: Version) {
  const [one] = yield* deploy(second)
  assert.isDefined(one)
  return one
})

describe("A run whose agent has changed", () => {
  it.effect("goes on with the stored definition where today's handlers fit it, and the log says so", () =>
    Effect.gen(function*() {
      const { end, tags } = yield* only(version("Be long.", tool("pure")))
      assert.isTrue(end._tag === "Success" && end.success.text === "Be brief. city Will it rain?")
      assert.include(tags, "DefinitionKept")
    }))

  it.effect("is refused where the handlers do not fit the stored definition any more", () =>
    Effect.gen(function*() {
      for (const [changed, why] of [[tool("idempotent"), "was pure and is idempotent"], [tool("pure", "town"), "takes other parameters"]] as const) {
        const { end, state } = yield* only(version("Be long.", changed))
        assert.isTrue(end._tag === "Failure" && end.failure._tag === "DefinitionChanged" && end.failure.message.includes(why))
        assert.strictEqual(state.status, "failed")
      }
    }))

  it.effect("goes on with today's definition, told what has changed, where the agent says so", () =>
    Effect.gen(function*() {
      const { end, state, tags } = yield* only(version("Be long.", tool("pure"), Agent.adopt("Towns are cities now.")))
      assert.isTrue(end._tag === "Success" && end.success.text === "Be long. city Will it rain?|Towns are cities now.")
      assert.include(tags, "DefinitionMigrated")
      assert.notStrictEqual(state.definition, state.started.definition)
    }))

  it.effect("is refused where the agent says so, and can be asked about by a function of the change", () =>
    Effect.gen(function*() {
      const refused = yield* only(version("Be long.", tool("pure"), Agent.refuse("the old prices are wrong")))
      assert.isTrue(refused.end._tag === "Failure" && refused.end.failure.message.includes("the old prices are wrong"))
      const decide = ({ from, run, to }: Agent.Change) =>
        Effect.succeed(from.instructions === "Be brief." && to.tools.length === 1 && run.turns === 1 ? Agent.adopt() : Agent.refuse())
      assert.strictEqual((yield* only(version("Be long.", tool("pure"), decide))).end._tag, "Success")
    }))

  it.effect("is one of a hundred parked ones, each of which ends as configured", () =>
    Effect.gen(function*() {
      for (const [policy, ended] of [[Agent.keep, "completed"], [Agent.adopt(), "completed"], [Agent.refuse(), "failed"]] as const) {
        const runs = yield* deploy(version("Be long.", tool("pure"), policy), 100)
        assert.deepStrictEqual(runs.map(({ state }) => state.status), Array.from({ length: 100 }, () => ended))
      }
    }))
})

