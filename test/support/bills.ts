/**
 * Bills worked out by hand. Prices are dollars per million tokens, so that tokens times price are millionths of a dollar; each
 * sum stands beside its bill in millionths. The price lists are those that the makers published in November 2026; they are
 * written down here, so that a newer catalogue changes no bill.
 */
import type { Model, Run } from "../../src/index.ts"
import * as Money from "../../src/Money.ts"

const prices = (input: string, output: string, cacheRead?: string, cacheWrite?: string, cacheWriteHour?: string, webSearch?: string): Model.Prices => ({
  input: Money.usd(input),
  output: Money.usd(output),
  ...(cacheRead === undefined ? {} : { cacheRead: Money.usd(cacheRead) }),
  ...(cacheWrite === undefined ? {} : { cacheWrite: Money.usd(cacheWrite) }),
  ...(cacheWriteHour === undefined ? {} : { cacheWriteHour: Money.usd(cacheWriteHour) }),
  ...(webSearch === undefined ? {} : { webSearch: Money.usd(webSearch) })
})

/** Price lists by the name of their model. */
export const lists = {
  fable: { prices: prices("8", "40", "0.2", "10", "16", "10"), tiers: [] },
  opus: { prices: prices("4", "20", "0.2", "5", "8", "10"), tiers: [] },
  sonnet: { prices: prices("2", "10", "0.1", "2.5", "4", "10"), tiers: [] },
  haiku: {
    prices: prices("0.1", "0.5", "0.01", "0.125", "0.2", "10"),
    tiers: [{ above: 100_000, prices: prices("0.5", "2.5", "0.05", "0.625", "1", "10") }]
  },
  gemini: { prices: prices("2", "12", "0.2"), tiers: [{ above: 200_000, prices: prices("4", "18", "0.4") }] },
  qwen: {
    prices: prices("0.03", "0.13", "0.006", "0.038"),
    tiers: [{ above: 32_000, prices: prices("0.1", "0.4", "0.02", "0.125") }, { above: 256_000, prices: prices("0.2", "0.8", "0.04", "0.25") }]
  },
  deepseek: { prices: prices("0.006", "0.5", "0.005"), tiers: [] },
  /** Hosts at several prices: the cheapest one's, and the most that is asked for. */
  kimi: {
    prices: prices("0.6", "2.5", "0.15"),
    tiers: [{ above: 100_000, prices: prices("1.2", "5", "0.3") }],
    ceiling: { input: Money.usd("1.5"), output: Money.usd("4") }
  },
  tiny: { prices: prices("0.0000001", "0.0000003", "0.0000002"), tiers: [] },
  free: { prices: prices("0", "0", "0", "0"), tiers: [] },
  unpriced: { tiers: [] }
} satisfies Record<string, Pick<Model.Entry, "prices" | "tiers" | "ceiling">>

/** An answer, and what it costs. */
export interface Bill {
  readonly what: string
  readonly list: keyof typeof lists
  readonly usage: Partial<Run.Usage>
  /** What the provider says that it cost. */
  readonly reported?: string
  readonly cost: string
  readonly source: Run.CostSource
}

export const bills: ReadonlyArray<Bill> = [
  {
    what: "input and output",
    list: "sonnet",
    usage: { uncached: 1_234, output: 567 },
    cost: "0.008138", // 1,234 × 2 + 567 × 10 = 2,468 + 5,670
    source: "priced"
  },
  {
    what: "a prompt read from the cache, with a new end written to it",
    list: "sonnet",
    usage: { uncached: 1_000, cacheRead: 48_321, cacheWrite: 2_048, output: 777 },
    cost: "0.0197221", // 1,000 × 2 + 48,321 × 0.1 + 2,048 × 2.5 + 777 × 10 = 2,000 + 4,832.1 + 5,120 + 7,770
    source: "priced"
  },
  {
    what: "writing to the cache for five minutes and for an hour",
    list: "opus",
    usage: { uncached: 12, cacheRead: 10_000, cacheWrite: 300, cacheWriteHour: 7_001, output: 1_500 },
    cost: "0.089556", // 12 × 4 + 10,000 × 0.2 + 300 × 5 + 7,001 × 8 + 1,500 × 20 = 48 + 2,000 + 1,500 + 56,008 + 30,000
    source: "priced"
  },
  {
    what: "reasoning, which is output and counted once",
    list: "fable",
    usage: { uncached: 2_500, output: 9_000, reasoning: 8_500 },
    cost: "0.38", // 2,500 × 8 + 9,000 × 40 = 20,000 + 360,000
    source: "priced"
  },
  {
    what: "a prompt that just stays in the lower tier",
    list: "haiku",
    usage: { uncached: 60_000, cacheRead: 40_000, output: 1_000 },
    cost: "0.0069", // 60,000 × 0.1 + 40,000 × 0.01 + 1,000 × 0.5 = 6,000 + 400 + 500
    source: "priced"
  },
  {
    what: "one token written to the cache more, and all of it is in the higher tier",
    list: "haiku",
    usage: { uncached: 60_000, cacheRead: 40_000, cacheWrite: 1, output: 1_000 },
    cost: "0.034500625", // 60,000 × 0.5 + 40,000 × 0.05 + 1 × 0.625 + 1,000 × 2.5 = 30,000 + 2,000 + 0.625 + 2,500
    source: "priced"
  },
  {
    what: "output does not count for the tier",
    list: "gemini",
    usage: { uncached: 50_000, cacheRead: 150_000, output: 60_000, reasoning: 59_000 },
    cost: "0.85", // 50,000 × 2 + 150,000 × 0.2 + 60,000 × 12 = 100,000 + 30,000 + 720,000
    source: "priced"
  },
  {
    what: "the tier above 200,000 tokens",
    list: "gemini",
    usage: { uncached: 50_001, cacheRead: 150_000, output: 10 },
    cost: "0.260184", // 50,001 × 4 + 150,000 × 0.4 + 10 × 18 = 200,004 + 60,000 + 180
    source: "priced"
  },
  {
    what: "the last of three tiers",
    list: "qwen",
    usage: { uncached: 200_000, cacheWrite: 56_001, output: 1_000 },
    cost: "0.05480025", // 200,000 × 0.2 + 56,001 × 0.25 + 1,000 × 0.8 = 40,000 + 14,000.25 + 800
    source: "priced"
  },
  {
    what: "the provider's own web searches, ten dollars a thousand",
    list: "sonnet",
    usage: { uncached: 4_000, output: 250, webSearches: 3 },
    cost: "0.0405", // 4,000 × 2 + 250 × 10 + 3 × 10,000 = 8,000 + 2,500 + 30,000
    source: "priced"
  },
  {
    what: "a web search in the higher tier, which costs no more there",
    list: "haiku",
    usage: { uncached: 100_001, output: 2, webSearches: 1 },
    cost: "0.0600055", // 100,001 × 0.5 + 2 × 2.5 + 1 × 10,000 = 50,000.5 + 5 + 10,000
    source: "priced"
  },
  {
    what: "web searches that have no price",
    list: "gemini",
    usage: { uncached: 10, output: 10, webSearches: 1 },
    cost: "0",
    source: "unpriced"
  },
  {
    what: "a single cheap token, to the last digit",
    list: "deepseek",
    usage: { uncached: 0, cacheRead: 1, output: 0 },
    cost: "0.000000005", // 1 × 0.005
    source: "priced"
  },
  {
    what: "less than the smallest unit of money, rounded up once and not three times",
    list: "tiny",
    usage: { uncached: 1, cacheRead: 1, output: 1 },
    cost: "0.000000000001", // 1 × 0.0000001 + 1 × 0.0000002 + 1 × 0.0000003 = 0.0000006 millionths, which are 0.6 units
    source: "priced"
  },
  {
    what: "what OpenRouter says that it cost, whatever the list says",
    list: "deepseek",
    usage: { uncached: 15, output: 43, reasoning: 30 },
    reported: "0.00014762",
    cost: "0.00014762",
    source: "reported"
  },
  {
    what: "what one of several hosts says that it cost, which is below the most and need not be the least",
    list: "kimi",
    usage: { uncached: 1_000, output: 100 },
    reported: "0.0011",
    cost: "0.0011",
    source: "reported"
  },
  {
    what: "an answer of some host that says nothing of its cost, at the most that any of them asks",
    list: "kimi",
    usage: { uncached: 10_000, cacheRead: 20_000, output: 1_000, reasoning: 400 },
    cost: "0.0265", // 10,000 × 1.5 + 20,000 × 0.15 × 1.5 / 0.6 + 1,000 × 4 = 15,000 + 7,500 + 4,000
    source: "bound"
  },
  {
    what: "the same in the higher tier, raised as far",
    list: "kimi",
    usage: { uncached: 100_001, output: 1_000 },
    cost: "0.308003", // 100,001 × 1.2 × 1.5 / 0.6 + 1,000 × 5 × 4 / 2.5 = 300,003 + 8,000
    source: "bound"
  },
  {
    what: "what none of the hosts has a price for",
    list: "kimi",
    usage: { uncached: 10, cacheWrite: 1, output: 1 },
    cost: "0",
    source: "unpriced"
  },
  {
    what: "a reported cost of nothing",
    list: "deepseek",
    usage: { uncached: 1_000_000, output: 1_000 },
    reported: "0",
    cost: "0",
    source: "reported"
  },
  {
    what: "a reported cost of a model that has no price",
    list: "unpriced",
    usage: { uncached: 10, output: 10 },
    reported: "0.000000000001",
    cost: "0.000000000001",
    source: "reported"
  },
  { what: "a model that is free", list: "free", usage: { uncached: 50_000, cacheRead: 1_000, output: 5_000 }, cost: "0", source: "priced" },
  { what: "a model without a price", list: "unpriced", usage: { uncached: 10, output: 10 }, cost: "0", source: "unpriced" },
  {
    what: "tokens read from a cache that has no price: none of it is priced then",
    list: "tiny",
    usage: { uncached: 10, cacheWrite: 1, output: 10 },
    cost: "0",
    source: "unpriced"
  }
]
