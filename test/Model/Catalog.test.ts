import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Option, PlatformError, Result } from "effect"
import * as Money from "../../src/Money.ts"
import { BudgetTier, budgetOf, Catalog, type Criteria, Models, pick, price, Scripted, Task } from "../../src/Model.ts"
import { isDearer } from "../../src/Model/Strengths.ts"
import { ModelRef } from "../../src/Run.ts"

const ref = (text: string) => ModelRef.make(text)

/** The catalogue with a user's file of that text, or the error. */
const withFile = (text: string) =>
  Catalog.layer.pipe(
    Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.succeed(text) })),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CONDUCTOR_CATALOG: "/home/me/models.json" })))
  )

const opened = <E>(layer: Layer.Layer<Catalog, E>) => Effect.scoped(Effect.map(Layer.build(Layer.fresh(layer)), () => undefined))

const find = (text: string) => Effect.map(Catalog, (catalog) => Option.getOrUndefined(catalog.find(ref(text))))

describe("Catalog", () => {
  it.effect("ships the prices that the price lists say", () =>
    Effect.gen(function*() {
      const prices = (text: string) => Effect.map(find(text), (entry) => entry?.prices)
      // Anthropic's price list of 2026-11: input, output, cache read, five-minute and one-hour write.
      for (const [id, ...expected] of [
        ["claude-fable-5-2", "8", "40", "0.2", "10", "16"], ["claude-fable-5-1", "10", "50", "0.25", "12.5", "20"],
        ["claude-opus-5-5", "4", "20", "0.2", "5", "8"], ["claude-opus-5", "5", "25", "0.5", "6.25", "10"],
        ["claude-sonnet-5-5", "2", "10", "0.1", "2.5", "4"], ["claude-sonnet-5", "2", "10", "0.2", "2.5", "4"],
        ["claude-haiku-5-5", "0.1", "0.5", "0.01", "0.125", "0.2"], ["claude-haiku-4-5", "1", "5", "0.1", "1.25", "2"]
      ] as const) {
        const found = yield* prices(`anthropic:${id}`)
        const listed = [found?.input, found?.output, found?.cacheRead, found?.cacheWrite, found?.cacheWriteHour]
        assert.deepStrictEqual(listed, expected.map(Money.usd))
      }
      assert.deepStrictEqual((yield* find("anthropic:claude-haiku-5-5"))?.tiers, [{
        above: 100_000,
        prices: { input: Money.usd("0.5"), output: Money.usd("2.5"), cacheRead: Money.usd("0.05"), cacheWrite: Money.usd("0.625"), cacheWriteHour: Money.usd("1"), webSearch: Money.usd("10") }
      }])
      assert.deepStrictEqual((yield* find("openrouter:qwen/qwen3.7-flash"))?.tiers.map((tier) => tier.above), [32_000, 256_000])
      assert.isUndefined((yield* prices("google:gemini-4-argon"))?.cacheWrite)
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it.effect("knows what each model can do", () =>
    Effect.gen(function*() {
      const able = (text: string) => Effect.map(find(text), (entry) => [entry?.thinking, entry?.forcedToolUse, entry?.vision, entry?.context])
      assert.deepStrictEqual(yield* able("anthropic:claude-opus-5-5"), ["always", false, true, 1_000_000])
      assert.deepStrictEqual(yield* able("anthropic:claude-opus-5"), ["adaptive", true, true, 1_000_000])
      assert.deepStrictEqual(yield* able("anthropic:claude-haiku-4-5"), ["optional", true, true, 200_000])
      assert.deepStrictEqual(yield* able("openrouter:deepseek/deepseek-v4-pro-0813"), ["optional", true, false, 1_048_576])
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it.effect("says of every model where its prices are from, of which day, what it is good at, and how dear it is", () =>
    Effect.gen(function*() {
      const { entries } = yield* Catalog
      for (const { budget, date, prices, ref, source, tasks, tiers } of entries) {
        assert.match(source ?? "", /^@earendil-works\/pi-ai@\d+\.\d+\.\d+ (anthropic|google|openrouter)\.json$/, ref)
        assert.match(date ?? "", /^2026-\d\d-\d\d$/, ref)
        assert.isAbove(tasks?.general ?? 0, 0, ref)
        assert.isDefined(prices, ref)
        assert.strictEqual(budget, prices === undefined ? undefined : budgetOf(prices), ref)
        assert.isTrue(tiers.every(({ prices: above }) => prices !== undefined && above.input > prices.input), ref)
        const isAnthropic = ref.startsWith("anthropic:")
        assert.deepStrictEqual([prices?.webSearch, ...tiers.map((tier) => tier.prices.webSearch)], Array(1 + tiers.length).fill(isAnthropic ? Money.usd("10") : undefined), ref)
      }
      // Where the hosts of a model have several prices, more is set aside than the cheapest asks.
      const routed = entries.filter(({ budget, ref }) => ref.startsWith("openrouter:") && budget !== "free")
      for (const { ceiling, prices, ref } of routed) {
        assert.isTrue(ceiling !== undefined && prices !== undefined && ceiling.input > prices.input && ceiling.output > prices.output, ref)
      }
      assert.strictEqual(entries.filter(({ ceiling }) => ceiling !== undefined).length, routed.length)
      const free = entries.filter(({ budget }) => budget === "free")
      assert.isNotEmpty(free)
      for (const { prices, ref } of free) assert.isTrue(ref.endsWith(":free") && Object.values(prices ?? {}).every((rate) => rate === 0n), ref)
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it.effect("has something for every task and budget, of the makers whom it is about", () =>
    Effect.gen(function*() {
      const { entries } = yield* Catalog
      for (const task of Task.literals) {
        for (const budget of BudgetTier.literals.slice(1)) {
          const picked = Result.getOrThrow(pick({ task, budget }, entries))
          assert.isFalse(isDearer(picked.entry.budget ?? "flagship", budget), picked.reason)
        }
        assert.isAtMost(Math.max(...entries.map(({ tasks }) => tasks?.[task] ?? 0)), 10)
      }
      for (const maker of ["claude", "gemini", "deepseek", "qwen", "kimi"]) {
        const { entry } = Result.getOrThrow(pick({ task: "general", budget: "flagship", prefer: maker }, entries))
        assert.include(entry.ref, maker)
      }
      const chosen = (criteria: Criteria) => Result.getOrThrow(pick(criteria, entries)).entry.ref
      assert.deepStrictEqual(
        [
          chosen({ task: "coding", budget: "flagship" }), chosen({ task: "coding", budget: "premium" }), chosen({ task: "agents" }),
          chosen({ task: "coding", budget: "budget" }), chosen({ task: "agents", budget: "budget" }), chosen({ task: "fast" }),
          chosen({ task: "vision" }), chosen({ task: "multilingual", prefer: "qwen" }), chosen({ task: "general", budget: "free" })
        ].map(String),
        [
          "anthropic:claude-fable-5-2", "anthropic:claude-opus-5-5", "anthropic:claude-sonnet-5-5",
          "openrouter:deepseek/deepseek-v4.1-flash", "anthropic:claude-haiku-5-5", "anthropic:claude-haiku-5-5",
          "google:gemini-4-argon", "openrouter:qwen/qwen3.8-max-0902", "openrouter:google/gemma-4-31b-it:free"
        ]
      )
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it.effect("finds exact references only, each once, under a version with source and date", () =>
    Effect.gen(function*() {
      const catalog = yield* Catalog
      for (const near of ["anthropic:claude-opus-5-5-20260901", "anthropic:claude", "anthropic:Claude-opus-5-5", "openrouter:claude-opus-5-5"]) {
        assert.isUndefined(yield* find(near))
      }
      assert.strictEqual(new Set(catalog.entries.map((entry) => entry.ref)).size, catalog.entries.length)
      assert.match(catalog.version, /^@earendil-works\/pi-ai@\d+\.\d+\.\d+ \d{4}-\d\d-\d\d$/)
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it.effect("is as shipped without a file of the user's", () =>
    Effect.gen(function*() {
      assert.isDefined(yield* find("anthropic:claude-opus-5-5"))
      assert.notInclude((yield* Catalog).version, "+")
    }).pipe(Effect.provide(Layer.fresh(Catalog.layer).pipe(
      Layer.provide(FileSystem.layerNoop({})),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CONDUCTOR_CATALOG: " " })))
    ))))

  it.effect("takes the user's models and prices over its own", () =>
    Effect.gen(function*() {
      const opus = yield* find("anthropic:claude-opus-5-5")
      assert.deepStrictEqual(opus?.prices, { input: Money.usd("3"), output: Money.usd("15") })
      assert.strictEqual(opus?.thinking, "always")
      const haiku = yield* find("anthropic:claude-haiku-5-5")
      assert.deepStrictEqual(haiku?.tiers, [])
      const sonnet = yield* find("anthropic:claude-sonnet-5-5")
      assert.deepStrictEqual([sonnet?.maxOutput, sonnet?.prices?.input], [9, Money.usd("2")])
      const own = yield* find("local:mine")
      assert.isDefined(own)
      assert.isUndefined(own.prices)
      assert.isTrue(Option.isNone(price(own, { uncached: 1, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 0, reasoning: 0 })))
      assert.include((yield* Catalog).version, " + /home/me/models.json")
      // Other prices are another budget, unless the file says which.
      assert.deepStrictEqual([opus?.budget, haiku?.budget, own.budget], ["premium", "budget", undefined])
      assert.deepStrictEqual([opus?.tasks?.coding, sonnet?.tasks?.coding], [9, 8])
      assert.isUndefined((yield* find("openrouter:moonshotai/kimi-k3"))?.ceiling)
      const judged = yield* find("local:judged")
      assert.deepStrictEqual([judged?.tasks, judged?.budget, judged?.source, judged?.date], [{ coding: 10 }, "standard", "my own bench", "2026-11-23"])
      assert.strictEqual(Result.getOrThrow(pick({ task: "coding" }, (yield* Catalog).entries)).entry, judged)
    }).pipe(Effect.provide(Layer.fresh(withFile(JSON.stringify({
      models: [
        { ref: "anthropic:claude-opus-5-5", prices: { input: "3", output: "15" } },
        { ref: "anthropic:claude-haiku-5-5", prices: { input: "1", output: "1" } },
        { ref: "anthropic:claude-sonnet-5-5", maxOutput: 9 },
        { ref: "local:mine" },
        { ref: "openrouter:moonshotai/kimi-k3", prices: { input: "3", output: "15" } },
        { ref: "local:judged", prices: { input: "0.1", output: "0.1" }, tasks: { coding: 10 }, budget: "standard", source: "my own bench", date: "2026-11-23" }
      ]
    }))))))

  for (const [name, text, problem] of [
    ["no JSON", "{", "JSON"],
    ["a price that is no text", "{\"models\":[{\"ref\":\"a:b\",\"prices\":{\"input\":1,\"output\":\"1\"}}]}", "input"],
    ["a price below zero", "{\"models\":[{\"ref\":\"a:b\",\"prices\":{\"input\":\"-1\",\"output\":\"1\"}}]}", "below zero"],
    ["a strength that is none", "{\"models\":[{\"ref\":\"a:b\",\"tasks\":{\"coding\":11}}]}", "coding"],
    ["a budget that there is not", "{\"models\":[{\"ref\":\"a:b\",\"budget\":\"cheap\"}]}", "budget"],
    ["a model that is free at a price", "{\"models\":[{\"ref\":\"a:b\",\"budget\":\"free\",\"prices\":{\"input\":\"1\",\"output\":\"0\"}}]}", "free"],
    ["no reference", "{\"models\":[{\"ref\":\"claude\"}]}", "ref"],
    ["another shape", "[]", "object"],
    ["an OpenAI model", "{\"models\":[{\"ref\":\"openrouter:openai/gpt-5\"}]}", "OpenAI"]
  ] as const) {
    it.effect(`refuses a file with ${name}, by one sentence that names it`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(opened(withFile(text)))
        assert.strictEqual(error._tag, "CatalogInvalid")
        assert.include(error.message, "/home/me/models.json")
        assert.include(error.message, "unset CONDUCTOR_CATALOG")
        assert.include(error.message, problem)
        assert.notInclude(error.message, "\n")
      }))
  }

  it.effect("refuses a file that cannot be read", () =>
    Effect.gen(function*() {
      const missing = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "readFileString" })
      const error = yield* Effect.flip(opened(Catalog.layer.pipe(
        Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.fail(missing) })),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CONDUCTOR_CATALOG: "/nowhere" })))
      )))
      assert.strictEqual(error._tag, "CatalogInvalid")
      assert.include(error.message, "/nowhere")
    }))
})

describe("Models", () => {
  const layer = (providers: Parameters<typeof Models.layerOf>[0]) => Models.layerOf(providers).pipe(Layer.provide(Catalog.layerShipped))
  const resolve = (text: string) => Effect.flatMap(Models, (models) => models.resolve(ref(text)))

  it.effect("resolves a model with what is known of it, and one that is not in the catalogue without a price", () =>
    Effect.gen(function*() {
      const known = yield* resolve("anthropic:claude-opus-5-5")
      assert.strictEqual(known.id, "claude-opus-5-5")
      assert.strictEqual(known.ref, "anthropic:claude-opus-5-5")
      assert.include(known.prices, "pi-ai")
      assert.isTrue(Option.isSome(known.entry))
      const next = yield* resolve("anthropic:claude-next:beta")
      assert.strictEqual(next.id, "claude-next:beta")
      assert.isNull(next.prices)
      assert.isTrue(Option.isNone(next.entry))
    }).pipe(Effect.provide(layer({ anthropic: Scripted.make([]) }))))

  it.effect("says which providers there are", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(resolve("mistral:large"))
      assert.strictEqual(error._tag, "UnknownModel")
      assert.include(error.message, "no provider \"mistral\" here, only anthropic, scripted.")
      assert.strictEqual((yield* Effect.flip(resolve("constructor:x")))._tag, "UnknownModel")
    }).pipe(Effect.provide(layer({ anthropic: Scripted.make([]), scripted: Scripted.make([]) }))))

  it.effect("says when there are none", () =>
    Effect.gen(function*() {
      assert.include((yield* Effect.flip(resolve("a:b"))).message, "only none.")
    }).pipe(Effect.provide(layer({}))))

  it.effect("takes more providers beside its own", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* resolve("scripted:demo")).id, "demo")
      assert.strictEqual((yield* resolve("anthropic:claude-opus-5-5")).id, "claude-opus-5-5")
    }).pipe(Effect.provide(Models.layerWith({ scripted: Scripted.make([]) }).pipe(
      Layer.provide(Catalog.layerOf([])),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
    ))))
})
