import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Arbitrary, Deferred, Duration, Effect, Layer, Result, Schema, Stream } from "effect"
import { Agent, Conductor, DrainTime, Model, Run } from "../../src/index.ts"
import { isDearer } from "../../src/Model/Strengths.ts"
import * as Money from "../../src/Money.ts"
import { Tables } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"

const { fallback, pick, select } = Model

/** A model at a price in and out, with what it is good at. */
const model = (ref: string, [input, output]: readonly [string, string], tasks: Model.Strengths, more: Partial<Model.Entry> = {}): Model.Entry => ({
  ref: Run.ModelRef.make(ref),
  prices: { input: Money.usd(input), output: Money.usd(output) },
  tiers: [],
  context: 1_000_000,
  maxOutput: 64_000,
  tools: true,
  vision: false,
  structuredOutput: true,
  thinking: "adaptive",
  efforts: [],
  forcedToolUse: true,
  returnsReasoning: false,
  tasks,
  ...more
})

const great = model("anthropic:great", ["8", "40"], { coding: 10, general: 10, vision: 9 }, { vision: true })
const good = model("anthropic:good", ["2", "10"], { coding: 8, general: 8, vision: 7 }, { vision: true })
const alike = model("google:alike", ["2", "12"], { coding: 8, general: 8 })
const open = model("openrouter:deepseek/open", ["0.1", "0.4"], { coding: 7, general: 7 })
const gift = model("openrouter:google/gift:free", ["0", "0"], { coding: 3 }, { context: 100_000, thinking: "none", tools: false })
const house = [great, good, alike, open, gift]

const chosen = (criteria: Model.Criteria, entries: ReadonlyArray<Model.Entry> = house, usable?: Model.Usable) =>
  Result.map(pick(criteria, entries, usable), ({ entry }) => entry.ref)

const refused = (criteria: Model.Criteria, entries: ReadonlyArray<Model.Entry> = house, usable?: Model.Usable) =>
  Result.getOrThrow(Result.flip(pick(criteria, entries, usable)))

describe("pick", () => {
  it("takes the strongest model that is not dearer than the budget, which is standard where none is named", () => {
    assert.deepStrictEqual(chosen({ task: "coding", budget: "flagship" }), Result.succeed(great.ref))
    assert.deepStrictEqual(chosen({ task: "coding" }), Result.succeed(good.ref))
    assert.deepStrictEqual(chosen({ task: "coding", budget: "budget" }), Result.succeed(open.ref))
    assert.deepStrictEqual(chosen({ task: "coding", budget: "free" }), Result.succeed(gift.ref))
  })

  it("goes down where a tier has no model of its own, never up", () => {
    assert.deepStrictEqual(chosen({ task: "coding", budget: "premium" }), Result.succeed(good.ref))
    assert.deepStrictEqual(chosen({ task: "coding", budget: "standard" }, [great, open]), Result.succeed(open.ref))
    assert.strictEqual(refused({ task: "coding", budget: "standard" }, [great])._tag, "NoModelFits")
  })

  it("takes the cheaper of two that are as strong, then the one with the cheaper cache, then the first by name", () => {
    assert.deepStrictEqual(chosen({ task: "coding" }, [alike, good]), Result.succeed(good.ref))
    const cached = { ...good, ref: Run.ModelRef.make("google:cached"), prices: { input: Money.usd("2"), output: Money.usd("10"), cacheRead: Money.usd("0.1") } }
    assert.deepStrictEqual(chosen({ task: "coding" }, [good, cached]), Result.succeed(cached.ref))
    assert.include(Result.getOrThrow(pick({ task: "coding" }, [good, cached])).reason, "Next is anthropic:good: as strong and as dear, and dearer where the prompt is cached.")
    const twin = { ...good, ref: Run.ModelRef.make("anthropic:better") }
    assert.deepStrictEqual(chosen({ task: "coding" }, [good, twin]), Result.succeed(twin.ref))
    assert.include(Result.getOrThrow(pick({ task: "coding" }, [good, twin])).reason, "Next is anthropic:good: alike in all that counts, and later in the alphabet.")
  })

  it("heeds what the agent needs, and what its task implies", () => {
    const blind = model("google:blind", ["1", "1"], { coding: 9, vision: 9, "long-context": 9, agents: 9, reasoning: 9 }, { context: 200_000, tools: false, thinking: "none" })
    const able = model("google:able", ["1", "1"], { coding: 1, vision: 1, "long-context": 1, agents: 1, reasoning: 1 }, { vision: true })
    for (const criteria of [
      { task: "coding", vision: true }, { task: "coding", longContext: true }, { task: "coding", tools: true }, { task: "coding", reasoning: true },
      { task: "vision" }, { task: "long-context" }, { task: "agents" }, { task: "reasoning" }
    ] as const) {
      assert.deepStrictEqual(chosen(criteria, [blind, able]), Result.succeed(able.ref))
    }
    assert.deepStrictEqual(chosen({ task: "coding", vision: false }, [blind, able]), Result.succeed(blind.ref))
  })

  it("compares the prices of long prompts where the context is to be long", () => {
    const prices = { input: Money.usd("4"), output: Money.usd("12") }
    const tiered = model("google:tiered", ["1", "1"], { "long-context": 9 }, { tiers: [{ above: 200_000, prices }] })
    const flat = model("google:flat", ["2", "6"], { "long-context": 8 })
    assert.deepStrictEqual(chosen({ task: "long-context" }, [tiered, flat]), Result.succeed(flat.ref))
    const picked = Result.getOrThrow(pick({ task: "long-context", budget: "premium" }, [tiered, flat]))
    assert.strictEqual(picked.entry.ref, tiered.ref)
    assert.include(picked.reason, "$4 in and $12 out per million tokens (premium, at long prompts)")
  })

  it("prefers a provider, a maker or a model among those that fit, in the order of the preferences", () => {
    for (const prefer of ["openrouter", "deepseek", " DeepSeek ", "openrouter:deepseek/open", ["mistral", "deepseek", "claude"]]) {
      assert.deepStrictEqual(chosen({ task: "coding", prefer }), Result.succeed(open.ref), String(prefer))
    }
    assert.deepStrictEqual(chosen({ task: "coding", prefer: "gemini" }), Result.succeed(alike.ref))
    assert.deepStrictEqual(chosen({ task: "coding", prefer: ["gemini", "claude"] }), Result.succeed(alike.ref))
    assert.deepStrictEqual(chosen({ task: "coding", prefer: "anthropic:great" }), Result.succeed(good.ref))
    const kimi = model("openrouter:moonshotai/kimi-k3", ["1", "1"], { coding: 1 })
    for (const prefer of ["kimi", "moonshotai", "moonshot"]) assert.deepStrictEqual(chosen({ task: "coding", prefer }, [good, kimi]), Result.succeed(kimi.ref))
  })

  it("leaves out providers without a key where another has one, and those that are not there", () => {
    const keys = new Map([["anthropic", false], ["google", true], ["openrouter", false]])
    const picked = Result.getOrThrow(pick({ task: "coding" }, house, keys))
    assert.strictEqual(picked.entry.ref, alike.ref)
    assert.include(picked.reason, "Left out without a key: anthropic, openrouter.")
    assert.include(picked.considered.find(({ entry }) => entry === good)?.why, "anthropic has no key")
    const none = Result.getOrThrow(pick({ task: "coding" }, house, new Map([["anthropic", false], ["openrouter", false]])))
    assert.strictEqual(none.entry.ref, good.ref)
    assert.include(none.reason, "No provider has a key yet: set that of anthropic or openrouter.")
    // A provider of no model in the catalogue, such as a script, does not count.
    assert.deepStrictEqual(chosen({ task: "coding" }, house, new Map([["anthropic", false], ["scripted", true]])), Result.succeed(good.ref))
    assert.include(refused({ task: "coding" }, house, new Map([["scripted", true]])).message, `there is no provider "anthropic" here`)
  })

  it("says in a sentence why, and of every other model why not", () => {
    const { considered, reason } = Result.getOrThrow(pick({ task: "coding" }, house))
    assert.strictEqual(
      reason,
      "anthropic:good is the strongest at coding (8 of 10) of the 4 models that fit, at $2 in and $10 out per million tokens (standard). " +
        "Next is google:alike: as strong and dearer, at $2 in and $12 out per million tokens (standard)."
    )
    assert.deepStrictEqual(considered.map(({ entry, fits, why }) => [entry.ref, fits, why]), [
      ["google:alike", true, "as strong and dearer, at $2 in and $12 out per million tokens (standard)"],
      ["openrouter:deepseek/open", true, "weaker, with 7 of 10 at coding, at $0.1 in and $0.4 out per million tokens (budget)"],
      ["openrouter:google/gift:free", true, "weaker, with 3 of 10 at coding, at $0 in and $0 out per million tokens (free)"],
      ["anthropic:great", false, "it costs $8 in and $40 out per million tokens (flagship)"]
    ])
    assert.match(Result.getOrThrow(pick({ task: "coding", prefer: "deepseek" }, house)).reason, /^openrouter:deepseek\/open has 7 of 10 at coding and is preferred \("deepseek"\), at .*\. Next is anthropic:good: less preferred, with 8 of 10/)
    assert.match(Result.getOrThrow(pick({ task: "vision" }, house)).reason, /^anthropic:good has 7 of 10 at vision and is the only model that fits, at [^.]*\.$/)
    assert.include(Result.getOrThrow(pick({ task: "coding", prefer: ["mistral", "acme"] }, house)).reason, `Nothing in the catalogue goes by the preferred name "mistral" or "acme".`)
  })

  it("fails with what is nearest and what to do", () => {
    const error = refused({ task: "vision", budget: "budget" })
    assert.strictEqual(
      error.message,
      `No model of the catalogue fits the task "vision" on the budget "budget" as asked: the nearest is anthropic:good, and it costs $2 in and $10 out per million tokens (standard); allow the budget "standard".`
    )
    assert.strictEqual(error._tag === "NoModelFits" ? error.nearest : null, good.ref)
    assert.include(refused({ task: "coding", budget: "free", tools: true }).message, "it takes no tools; do without tools.")
    assert.include(refused({ task: "coding", budget: "free" }, house, new Map([["anthropic", true], ["openrouter", false]])).message, "openrouter has no key; set the key of openrouter.")
    assert.include(refused({ task: "multilingual" }).message, "say in your catalogue file how good it is at multilingual")
    assert.include(refused({ task: "coding" }, []).message, "it holds none; add one")
    const { prices: _, ...unpriced } = good
    assert.include(refused({ task: "coding" }, [unpriced]).message, "it has no known price; add its price")
  })

  it("never takes an OpenAI model, whoever prefers or lists one", () => {
    for (const prefer of ["openai", "gpt-5", "openrouter:openai/o3", "openrouter:openrouter/auto"]) {
      assert.strictEqual(refused({ task: "coding", prefer })._tag, "ForbiddenModel")
      assert.strictEqual(refused({ task: "coding", prefer: ["claude", prefer] })._tag, "ForbiddenModel")
    }
    const listed = model("openrouter:openai/gpt-6", ["0", "0"], { coding: 10 })
    const picked = Result.getOrThrow(pick({ task: "coding" }, [listed, good]))
    assert.deepStrictEqual([picked.entry.ref, picked.considered], [good.ref, []])
    assert.strictEqual(refused({ task: "coding" }, [listed])._tag, "NoModelFits")
  })

  const prices = Arbitrary.all([Arbitrary.schema(Schema.Literals(["0", "0.1", "1", "4", "20"])), Arbitrary.schema(Schema.Literals(["0", "0.5", "5", "25"]))])
  const strengths = Schema.Struct({ coding: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10 })) })
  const entries = Arbitrary.map(
    Arbitrary.array(Arbitrary.all({ prices, tasks: Arbitrary.schema(strengths) }), { maxLength: 12 }),
    (list) => list.map(({ prices, tasks }, index) => model(`google:m${index}`, prices, tasks))
  )

  it.prop("is the same in whatever order the catalogue stands, and never above the budget", { entries, budget: Model.BudgetTier }, ({ budget, entries }) => {
    const forwards = chosen({ task: "coding", budget }, entries)
    assert.deepStrictEqual(Result.map(forwards, String), Result.map(chosen({ task: "coding", budget }, entries.toReversed()), String))
    const found = Result.getOrElse(forwards, () => undefined)
    const within = entries.filter(({ prices }) => prices !== undefined && !isDearer(Model.budgetOf(prices), budget))
    assert.strictEqual(found === undefined, within.length === 0)
    const entry = within.find(({ ref }) => ref === found)
    if (found !== undefined) assert.isTrue(within.every(({ tasks }) => (tasks?.coding ?? 0) <= (entry?.tasks?.coding ?? 0)))
  })
})

describe("budgetOf", () => {
  it("is by the price of a million tokens, three of input to one of output", () => {
    const tier = (input: string, output: string) => Model.budgetOf({ input: Money.usd(input), output: Money.usd(output) })
    assert.deepStrictEqual(
      [tier("0", "0"), tier("0.000000000001", "0"), tier("1", "1"), tier("1", "1.000000000001"), tier("5", "5"), tier("2", "15"), tier("10", "10"), tier("8", "40")],
      ["free", "budget", "budget", "standard", "standard", "premium", "premium", "flagship"]
    )
    assert.strictEqual(Model.budgetOf({ input: Money.zero, output: Money.zero, cacheRead: Money.usd("0.1") }), "budget")
  })
})

/** An agent with a model, registered in memory with these keys; the models that it has then. */
const registered = (choice: Model.Choice | string, providers: Model.Providers) => {
  const agent = Agent.make("assistant", { instructions: "Help.", model: choice, output: Schema.Struct({ sum: Schema.Int }) })
  const models = Model.Models.layerOf(providers).pipe(Layer.provideMerge(Model.Catalog.layerOf(house)))
  const layer = Conductor.layerMemory({ agents: [agent], models })
  return Effect.provide(Effect.map(Conductor, ({ agents }) => agents[0]), layer)
}

const script = Model.Scripted.make([])
const without = Object.assign(Model.Scripted.make([]), { ready: false })

describe("an agent that names what it needs", () => {
  it.effect("has its model from the moment that it is registered, by catalogue and keys", () =>
    Effect.gen(function*() {
      const coding = select({ task: "coding" })
      const models = (providers: Model.Providers) => Effect.map(registered(coding, providers), (agent) => agent?.models)
      assert.deepStrictEqual(yield* models({ anthropic: script, google: script }), [good.ref])
      assert.deepStrictEqual(yield* models({ anthropic: without, google: script }), [alike.ref])
      assert.deepStrictEqual(yield* models({ anthropic: without, google: without }), [good.ref])
    }))

  it.effect("has one definition whatever is chosen, so that its unfinished runs go on under another choice", () =>
    Effect.gen(function*() {
      const hash = (choice: Model.Choice | string, anthropic: Model.Provider) =>
        Effect.map(registered(choice, { anthropic, google: script }), (agent) => agent?.definition.hash)
      const coding = select({ task: "coding" })
      assert.strictEqual(yield* hash(coding, script), yield* hash(coding, without))
      assert.strictEqual(yield* hash(fallback("anthropic:good", coding), script), yield* hash("anthropic:good", script))
      assert.notStrictEqual(yield* hash("anthropic:good", script), yield* hash(coding, script))
    }))

  it.effect("may name others to fall back to, each model once", () =>
    Effect.gen(function*() {
      const chain = fallback(select({ task: "coding" }), "anthropic:other", select({ task: "general" }), select({ task: "coding", prefer: "deepseek" }))
      const agent = yield* registered(chain, { anthropic: script, openrouter: script })
      assert.deepStrictEqual(agent?.models, [good.ref, Run.ModelRef.make("anthropic:other"), open.ref])
    }))

  it.effect("is refused with the layer where nothing fits, and where an OpenAI model is preferred", () =>
    Effect.gen(function*() {
      const fails = (choice: Model.Choice) => Effect.flip(registered(choice, { anthropic: script }))
      assert.strictEqual((yield* fails(select({ task: "coding", budget: "free" })))._tag, "NoModelFits")
      assert.strictEqual((yield* fails(fallback("anthropic:good", select({ task: "coding", prefer: "openai" }))))._tag, "ForbiddenModel")
    }))

  it.live("keeps for each run the model that it was started with, whatever is chosen since", () =>
    Effect.gen(function*() {
      const agent = Agent.make("assistant", { instructions: "Help.", model: select({ task: "coding" }), limits: { cost: "1 USD" } })
      const runtime = (anthropic: Model.Provider) =>
        Layer.fresh(Conductor.layerTables({
          agents: [agent],
          models: Model.Models.layerOf({ anthropic, google: Model.Scripted.make(["From Google."]) }).pipe(Layer.provideMerge(Model.Catalog.layerOf(house)))
        })).pipe(Layer.provide(Layer.succeed(DrainTime, Duration.zero)))
      const asked = yield* Deferred.make<void>()
      const hangs: Model.Provider = () => Stream.fromEffect(Effect.andThen(Deferred.succeed(asked, undefined), Effect.never))
      const run = yield* Effect.tap(Conductor.start(agent, "Hi"), Deferred.await(asked)).pipe(Effect.provide(runtime(hangs)))
      // The next process has no key for that model's provider any more, so that it chooses another for new runs.
      const keyless = Object.assign((request: Model.Request) => Model.Scripted.make(["From Anthropic."])(request), { ready: false })
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Conductor.result(run)).text, "From Anthropic.")
        const started = (yield* testing.events(run)).flatMap(({ event }) => event._tag === "RunStarted" || event._tag === "TurnStarted" ? [event.model] : [])
        assert.deepStrictEqual(started, [good.ref, good.ref, good.ref])
        assert.strictEqual((yield* Conductor.run(agent, "Hi again")).text, "From Google.")
      }).pipe(Effect.provide(runtime(keyless)))
    }).pipe(Effect.provide(Tables.layer)), 30_000)

  it.live("can be replayed without keys and catalogue, with the model of the log", () =>
    Effect.gen(function*() {
      for (const provider of ["anthropic", "google"]) {
        const agent = Agent.make("adder", { instructions: "Add.", model: select({ task: "coding", prefer: provider }), output: Schema.Struct({ sum: Schema.Int }) })
        const answers = Model.Scripted.make([`{"sum":3}`])
        const models = Model.Models.layerOf({ anthropic: answers, google: answers }).pipe(Layer.provideMerge(Model.Catalog.layerOf(house)))
        const document = yield* Effect.gen(function*() {
          const { output, run } = yield* Conductor.run(agent, "1 + 2")
          assert.deepStrictEqual(output, { sum: 3 })
          return yield* testing.Export.of(run)
        }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models })))
        const { state } = yield* testing.Replay.run(document, { agents: [agent] })
        assert.strictEqual(state.model, provider === "anthropic" ? good.ref : alike.ref)
      }
    }))

  it("needs no service that the runtime does not bring", () => {
    const agent = Agent.make("assistant", { instructions: "Help.", model: select({ task: "agents", budget: "standard" }) })
    expectTypeOf<Agent.Services<typeof agent>>().toBeNever()
    const runtime = Conductor.layerMemory({ agents: [agent] })
    expectTypeOf<Layer.Services<typeof runtime>>().toBeNever()
    expectTypeOf<Model.NoModelFits>().toExtend<Layer.Error<typeof runtime>>()
    // @ts-expect-error there is no such task
    void select({ task: "cooking" })
    // @ts-expect-error there is no such tier
    void select({ task: "coding", budget: "cheap" })
  })
})
