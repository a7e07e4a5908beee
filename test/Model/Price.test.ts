import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Option, Schema } from "effect"
import * as Money from "../../src/Money.ts"
import { bound, type Entry, inputBound, outputRate, price, priceAtMost, type Request } from "../../src/Model.ts"
import { ModelRef, Transcript, type Usage } from "../../src/Run.ts"

const entry = (more: Partial<Entry> = {}): Entry => ({
  ref: ModelRef.make("test:model"),
  context: 1_000_000,
  maxOutput: 100_000,
  tiers: [],
  tools: true,
  vision: false,
  structuredOutput: false,
  thinking: "none",
  efforts: [],
  forcedToolUse: false,
  returnsReasoning: false,
  ...more
})

const usd = Money.usd
const haiku = entry({
  prices: { input: usd("0.1"), output: usd("0.5"), cacheRead: usd("0.01"), cacheWrite: usd("0.125"), cacheWriteHour: usd("0.2") },
  tiers: [{
    above: 100_000,
    prices: { input: usd("0.5"), output: usd("2.5"), cacheRead: usd("0.05"), cacheWrite: usd("0.625"), cacheWriteHour: usd("1") }
  }]
})

const none: Usage = { uncached: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 0, reasoning: 0 }
const cost = (usage: Partial<Usage>, of = haiku) => Option.map(price(of, { ...none, ...usage }), Money.format)

describe("price", () => {
  it("charges each kind of token apart", () => {
    assert.deepStrictEqual(
      cost({ uncached: 10_000, cacheRead: 20_000, cacheWrite: 30_000, cacheWriteHour: 40_000, output: 1_000, reasoning: 900 }),
      Option.some("0.01345")
    )
    assert.deepStrictEqual(cost({}), Option.some("0"))
  })

  it("takes the tier of the whole prompt for every token, from the first token above it", () => {
    assert.deepStrictEqual(cost({ uncached: 100_000, output: 1000 }), Option.some("0.0105"))
    assert.deepStrictEqual(cost({ uncached: 1, cacheRead: 100_000, output: 1000 }), Option.some("0.0075005"))
    assert.deepStrictEqual(cost({ uncached: 1, cacheWrite: 50_000, cacheWriteHour: 50_000 }), Option.some("0.0812505"))
  })

  it("takes the highest of several tiers, in whatever order they stand", () => {
    const rates = (input: string) => ({ input: usd(input), output: usd("0") })
    const tiered = entry({ prices: rates("1"), tiers: [{ above: 100, prices: rates("3") }, { above: 10, prices: rates("2") }] })
    assert.deepStrictEqual([10, 11, 100, 101].map((uncached) => Option.getOrThrow(cost({ uncached }, tiered))), [
      "0.00001", "0.000022", "0.0002", "0.000303"
    ])
  })

  it("rounds up, once", () => {
    const odd = entry({ prices: { input: usd("0.000000000001"), output: usd("0.000000000001") } })
    assert.deepStrictEqual(price(odd, { ...none, uncached: 1, output: 1 }), Option.some(Money.usd("0.000000000001")))
  })

  it("charges the provider's own web searches by the thousand, and none that have no price", () => {
    const searching = entry({ prices: { input: usd("1"), output: usd("1"), webSearch: usd("10") } })
    assert.deepStrictEqual(cost({ webSearches: 3 }, searching), Option.some("0.03"))
    assert.deepStrictEqual(cost({ uncached: 7, webSearches: 1 }, searching), Option.some("0.010007"))
    assert.deepStrictEqual(cost({ uncached: 1_000_000, webSearches: 0 }), Option.some("0.5"))
    assert.deepStrictEqual(cost({ webSearches: 1 }), Option.none())
  })

  it("knows no price where there is none, for the model or for a kind of token it used", () => {
    assert.deepStrictEqual(cost({ uncached: 1 }, entry()), Option.none())
    const plain = entry({ prices: { input: usd("1"), output: usd("1") } })
    assert.deepStrictEqual(cost({ uncached: 1, output: 1 }, plain), Option.some("0.000002"))
    for (const kind of ["cacheRead", "cacheWrite", "cacheWriteHour"] as const) {
      assert.deepStrictEqual(cost({ [kind]: 1 }, plain), Option.none())
    }
  })
})

const tokens = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_000_000 }))
const rate = Arbitrary.map(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e14 }))),
  (units) => Money.Money.make(BigInt(units))
)
const rates = Arbitrary.all({ input: rate, output: rate, cacheRead: rate, cacheWrite: rate, cacheWriteHour: rate })
const tiers = Arbitrary.array(Arbitrary.all({ above: Arbitrary.schema(tokens), prices: rates }), { maxLength: 3 })
const ceilings = Arbitrary.schema(Schema.UndefinedOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e14 }))))
const entries = Arbitrary.map(Arbitrary.all({ prices: rates, tiers, input: ceilings, output: ceilings }), ({ input, output, ...of }) =>
  entry({ ...of, ...(input === undefined || output === undefined ? {} : { ceiling: { input: Money.Money.make(BigInt(input)), output: Money.Money.make(BigInt(output)) } }) }))
const usages = Schema.Struct({ uncached: tokens, cacheRead: tokens, cacheWrite: tokens, cacheWriteHour: tokens, output: tokens, reasoning: tokens })

describe("bound", () => {
  it.prop("covers every usage within it, whatever the tiers", { of: entries, usage: usages, input: tokens, output: tokens }, ({ input, of, output, usage }) => {
    const prompt = usage.uncached + usage.cacheRead + usage.cacheWrite + usage.cacheWriteHour
    const most = Option.getOrThrow(bound(of, prompt + input, usage.output + output))
    const dearest = Option.getOrThrow(priceAtMost(of, usage))
    assert.isTrue(most >= dearest && dearest >= Option.getOrThrow(price(of, usage)))
  }, { arbitrary: { runs: 500 } })

  it("is that of the dearest host which may answer, every kind of input raised as its input is", () => {
    const routed = entry({
      prices: { input: usd("0.2"), output: usd("1"), cacheRead: usd("0.02"), cacheWrite: usd("0.25") },
      tiers: [{ above: 1000, prices: { input: usd("0.4"), output: usd("3") } }],
      ceiling: { input: usd("1"), output: usd("1.5") }
    })
    // Five times the input price, so that writing to the cache is 1.25; half as much output again. Above 1,000: 2 and 4.5.
    assert.deepStrictEqual(Option.map(bound(routed, 1000, 100), Money.format), Option.some("0.0014"))
    assert.deepStrictEqual(Option.map(bound(routed, 1001, 100), Money.format), Option.some("0.002452"))
    assert.deepStrictEqual([outputRate(routed, 1000), outputRate(routed, 1001)], [Option.some(usd("1.5")), Option.some(usd("4.5"))])
    assert.deepStrictEqual(cost({ uncached: 1000, output: 100 }, routed), Option.some("0.0003"))
    const atMost = (usage: Partial<Usage>) => Option.map(priceAtMost(routed, { ...none, ...usage }), Money.format)
    // 500 × 1 + 400 × 0.1 + 100 × 1.25 + 100 × 1.5, and with one token more 500 × 2 + 501 × … that has no price.
    assert.deepStrictEqual(atMost({ uncached: 500, cacheRead: 400, cacheWrite: 100, output: 100 }), Option.some("0.000815"))
    assert.deepStrictEqual(atMost({ uncached: 1001, output: 100 }), Option.some("0.002452"))
    assert.deepStrictEqual(atMost({ uncached: 500, cacheRead: 501 }), Option.none())
    const low = entry({ prices: { input: usd("1"), output: usd("0") }, ceiling: { input: usd("0.5"), output: usd("2") } })
    // Half a dollar is less than the list's; two dollars are asked for what the list has for nothing.
    assert.deepStrictEqual(Option.map(bound(low, 1000, 100), Money.format), Option.some("0.0012"))
  })

  it("is the dearest input and all output", () => {
    assert.deepStrictEqual(Option.map(bound(haiku, 1000, 100), Money.format), Option.some("0.00025"))
    assert.deepStrictEqual(Option.map(bound(haiku, 100_001, 0), Money.format), Option.some("0.100001"))
    assert.deepStrictEqual(Option.map(bound(haiku, 0.5, 0.5), Money.format), Option.some("0.0000007"))
  })

  it("has none without a price", () => {
    assert.deepStrictEqual(bound(entry(), 1, 1), Option.none())
  })
})

describe("outputRate", () => {
  it.prop("is the dearest of the tiers within reach", { of: entries, input: tokens }, ({ input, of }) => {
    const { ceiling: _, ...listed } = of
    const within = [of.prices, ...of.tiers.filter((tier) => input > tier.above).map((tier) => tier.prices)]
    const dearest = within.reduce((most, rates) => rates !== undefined && rates.output > most ? rates.output : most, Money.zero)
    assert.deepStrictEqual(outputRate(listed, input), Option.some(dearest))
    assert.isTrue(Option.getOrThrow(outputRate(of, input)) >= dearest)
  })

  it("is none without a price", () => assert.deepStrictEqual(outputRate(entry(), 1), Option.none()))
})

const request = (more: Partial<Request> = {}): Request => ({ model: "m", system: "", messages: [], tools: [], maxOutput: 1, ...more })

/** All text of a value, in bytes. */
const bytesIn = (value: unknown): number =>
  typeof value === "string"
    ? Buffer.byteLength(value)
    : typeof value === "object" && value !== null
    ? Object.entries(value).reduce((sum, [key, inner]) => sum + (["role", "type", "model"].includes(key) ? 0 : bytesIn(inner)), 0)
    : 0

describe("inputBound", () => {
  it.prop(
    "is at least the bytes of all text, and grows with every message",
    { messages: Schema.Array(Transcript.Message), system: Schema.String, next: Transcript.Message },
    ({ messages, next, system }) => {
      const before = inputBound(request({ system, messages }))
      assert.isAtLeast(before, bytesIn(messages) + bytesIn(system))
      const after = inputBound(request({ system, messages: [...messages, next] }))
      assert.isAbove(after, before)
      // A measured beginning replaces the estimate of what it covers, and of nothing else.
      const measured = inputBound(request({ system, messages: [...messages, next] }), { messages: messages.length, tokens: 1000 })
      assert.strictEqual(measured - 1000 - 64, after - before)
    }
  )

  it("counts tools and the schema of the answer, and is above what was billed for two tools", () => {
    const tools = [{ name: "weather", description: "Tells", parameters: { type: "object" } }]
    const bare = inputBound(request())
    const tooled = inputBound(request({ tools }))
    assert.strictEqual(tooled - bare, 1024 + 64 + 7 + 5 + 17)
    assert.strictEqual(inputBound(request({ tools })), tooled)
    assert.strictEqual(inputBound(request({ output: { name: "o", schema: {} } })) - bare, 256 + 2)
    // A recorded request with two small tools and a sentence was billed 701 prompt tokens.
    assert.isAbove(tooled, 701)
  })
})
