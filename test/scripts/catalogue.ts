/**
 * Brings `src/Model/Catalog.json` up to date from the model data of `@earendil-works/pi-ai` (MIT), fetched with `npm pack`; it
 * is no dependency. `npm run catalogue` takes the newest version, `npm run catalogue -- 1.5.2` that one, and a folder that
 * holds an unpacked tarball is taken as it is. Prints what has changed, and what the makers have that the catalogue has not.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isForbidden } from "../../src/Model/Forbidden.ts"
import { budgetOf } from "../../src/Model/Strengths.ts"
import * as Money from "../../src/Money.ts"
import { strengthsFrom, strengthsOf } from "./strengths.ts"

const source = "@earendil-works/pi-ai"
const target = join(import.meta.dirname, "../../src/Model/Catalog.json")

/** The models that Conductor ships prices for, by provider, with the provider's exact ids. */
const wanted: Record<string, ReadonlyArray<string>> = {
  anthropic: [
    "claude-fable-5-2", "claude-fable-5-1", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-sonnet-5-5",
    "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-5-5", "claude-haiku-4-5", "claude-haiku-4-5-20251001"
  ],
  google: [
    "gemini-4-argon", "gemini-3.8-flash", "gemini-3.7-flash", "gemini-3.6-flash", "gemini-3.5-flash",
    "gemini-3.5-flash-lite", "gemini-3.1-pro-preview", "gemini-3.1-flash-lite", "gemini-2.5-pro"
  ],
  openrouter: [
    "deepseek/deepseek-v4.1-flash", "deepseek/deepseek-v4-pro-0813", "deepseek/deepseek-v4-flash-0731",
    "moonshotai/kimi-k3.1-pro", "moonshotai/kimi-k3", "moonshotai/kimi-k2.7-code", "moonshotai/kimi-k2.6",
    "qwen/qwen3.8-max-prime", "qwen/qwen3.8-max-0902", "qwen/qwen3.8-flash", "qwen/qwen3.8-27b", "qwen/qwen3.7-plus", "qwen/qwen3.7-flash",
    "qwen/qwen3-coder-flash", "google/gemma-4-31b-it:free", "nvidia/nemotron-3-ultra-550b-a55b:free"
  ]
}

/**
 * OpenRouter's list price is that of its cheapest host on that day, and moves: within four versions of the data, from 2026-10-15
 * to 2026-11-10, one model's input cost 0.00576 to 0.045 and its output 0.1368 to 0.72. What the dearest host may ask is
 * therefore a quarter more than the maker itself asks, or the list where that is dearer; where the data has no price of the
 * maker's, twice the list. That covers all four versions.
 */
const makers: Record<string, readonly [provider: string, id: string]> = {
  "deepseek/deepseek-v4.1-flash": ["deepseek", "deepseek-flash"],
  "deepseek/deepseek-v4-flash-0731": ["deepseek", "deepseek-flash"],
  "deepseek/deepseek-v4-pro-0813": ["deepseek", "deepseek-v4-pro"],
  "moonshotai/kimi-k3.1-pro": ["moonshotai", "kimi-k3.1-pro"],
  "moonshotai/kimi-k3": ["moonshotai", "kimi-k3"],
  "moonshotai/kimi-k2.7-code": ["moonshotai", "kimi-k2.7-code"],
  "moonshotai/kimi-k2.6": ["moonshotai", "kimi-k2.6"]
}

/** Answer 400 to a forced tool (platform.claude.com, extended thinking and tool use, read 2026-11). */
const refusesForcedTool = new Set(["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-fable-5-2"])

interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead?: number
  readonly cacheWrite?: number
}

interface Chat {
  readonly id: string
  readonly type: string
  readonly reasoning: boolean
  readonly input: ReadonlyArray<string>
  readonly cost: Rates & { readonly tiers?: ReadonlyArray<Rates & { readonly inputTokensAbove: number }> }
  readonly contextWindow: number
  readonly maxTokens: number
  readonly thinkingLevelMap?: Record<string, string | null>
  readonly compat?: {
    readonly forceAdaptiveThinking?: boolean
    readonly supportsStrictMode?: boolean
    readonly requiresReasoningContentOnAssistantMessages?: boolean
  }
}

/** A price as a decimal string without binary noise; the data has at most six decimals. */
const decimal = (price: number): string => price.toFixed(9).replace(/\.?0+$/, "")

/** OpenRouter's own mark of a variant that costs nothing. */
const isFree = (id: string): boolean => id.endsWith(":free")

/** The data writes zero where a provider has no such price; what has no price must not look free, unless it says that it is. */
const rates = (provider: string, id: string, cost: Rates) => {
  const kind = (price: number | undefined) => price !== undefined && (price > 0 || isFree(id))
  if (cost.input === 0 && cost.output === 0 && !isFree(id)) throw new Error(`${provider}:${id} has no price in the data`)
  return {
    input: decimal(cost.input),
    output: decimal(cost.output),
    ...(kind(cost.cacheRead) ? { cacheRead: decimal(cost.cacheRead ?? 0) } : {}),
    ...(kind(cost.cacheWrite) ? { cacheWrite: decimal(cost.cacheWrite ?? 0) } : {}),
    // Anthropic's price list: writing for an hour costs twice the input price, and a thousand web searches cost 10 USD.
    ...(provider === "anthropic" ? { cacheWriteHour: decimal(cost.input * 2), webSearch: "10" } : {})
  }
}

const efforts = ["low", "medium", "high", "xhigh", "max"]

/** The most that a host may ask, of OpenRouter's models that cost something. */
const ceiling = (provider: string, { cost, id }: Chat, direct: Chat | undefined) => {
  if (provider !== "openrouter" || isFree(id)) return {}
  const most = (list: number, maker: number | undefined) => decimal(maker === undefined ? list * 2 : Math.max(list, maker) * 1.25)
  return { ceiling: { input: most(cost.input, direct?.cost.input), output: most(cost.output, direct?.cost.output) } }
}

const entry = (provider: string, chat: Chat, from: string, date: string, direct: Chat | undefined) => {
  const levels = chat.thinkingLevelMap ?? {}
  const adaptive = provider === "anthropic" && chat.compat?.forceAdaptiveThinking === true
  const ref = `${provider}:${chat.id}`
  const tasks = strengthsOf(ref)
  if (tasks === undefined) throw new Error(`${ref} has no strengths: judge it in test/scripts/strengths.ts`)
  return {
    ref,
    source: `${from} ${provider}.json`,
    date,
    context: chat.contextWindow,
    maxOutput: chat.maxTokens,
    prices: rates(provider, chat.id, chat.cost),
    ...ceiling(provider, chat, direct),
    tiers: (chat.cost.tiers ?? []).map((tier) => ({ above: tier.inputTokensAbove, prices: rates(provider, chat.id, tier) })),
    budget: budgetOf({ input: Money.usd(decimal(chat.cost.input)), output: Money.usd(decimal(chat.cost.output)) }),
    tasks,
    tools: true,
    vision: chat.input.includes("image"),
    structuredOutput: provider !== "openrouter" || chat.compat?.supportsStrictMode === true,
    thinking: !chat.reasoning ? "none" : levels["off"] === null ? "always" : adaptive ? "adaptive" : "optional",
    efforts: provider === "anthropic"
      // Below `xhigh` the map names only what differs from the default, so what is not null is there.
      ? adaptive ? efforts.filter((effort) => effort === "xhigh" || effort === "max" ? levels[effort] === effort : levels[effort] !== null) : []
      : efforts.filter((effort) => typeof levels[effort] === "string"),
    forcedToolUse: !refusesForcedTool.has(chat.id),
    returnsReasoning: provider === "anthropic" || provider === "google" ||
      chat.compat?.requiresReasoningContentOnAssistantMessages === true
  }
}

type Entry = ReturnType<typeof entry>

/** The newest version of the source, or the one that is asked for. */
const unpack = (version: string): string => {
  const folder = mkdtempSync(join(tmpdir(), "catalogue-"))
  execFileSync("npm", ["pack", "--silent", `${source}@${version}`], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  if (tarball === undefined) throw new Error(`npm pack made no tarball of ${source}@${version}`)
  execFileSync("tar", ["xzf", tarball], { cwd: folder })
  return folder
}

const asked = process.argv[2] ?? "latest"
const isFolder = existsSync(join(asked, "package"))
const folder = isFolder ? asked : unpack(asked)
const read = (...path: ReadonlyArray<string>): unknown => JSON.parse(readFileSync(join(folder, "package", ...path), "utf8"))

// The shape of this data is that of version 1.5.2; what is not found below is said, and what has another shape ends the program.
const { version } = read("package.json") as { readonly version: string }
const { generatedAt } = read("dist", "providers", "data", ".manifest.json") as { readonly generatedAt: string }
const chatsOf = (provider: string): ReadonlyArray<Chat> =>
  Object.values(read("dist", "providers", "data", `${provider}.json`) as Record<string, Record<string, Chat>>)
    .flatMap((models) => Object.values(models))
    .filter((model) => model.type === "chat")
const data = Object.keys(wanted).map((provider) => ({ provider, chats: chatsOf(provider), ids: wanted[provider] ?? [] }))

const from = `${source}@${version}`
const date = generatedAt.slice(0, 10)
const directs = { deepseek: chatsOf("deepseek"), moonshotai: chatsOf("moonshotai") }
const directOf = (id: string): Chat | undefined => {
  const [provider, name] = makers[id] ?? []
  return Object.entries(directs).find(([one]) => one === provider)?.[1].find((chat) => chat.id === name)
}
const models: ReadonlyArray<Entry> = data.flatMap(({ chats, ids, provider }) =>
  ids.flatMap((id) => chats.filter((chat) => chat.id === id).map((chat) => entry(provider, chat, from, date, directOf(id)))))
const forbidden = models.find(({ ref }) => isForbidden(ref))
if (forbidden !== undefined) throw new Error(`${forbidden.ref} is an OpenAI model, which Conductor never uses`)

const before = JSON.parse(readFileSync(target, "utf8")) as { readonly models: ReadonlyArray<Partial<Entry> & Pick<Entry, "ref">> }
const after = { source, sourceVersion: version, generatedAt: date, strengths: strengthsFrom, models }
writeFileSync(target, `${JSON.stringify(after, null, 2)}\n`)
if (!isFolder) rmSync(folder, { recursive: true })

const say = (sentence: string) => void process.stdout.write(`${sentence}\n`)
const flat = (value: unknown, path = ""): ReadonlyArray<readonly [path: string, text: string]> =>
  typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => flat(inner, path === "" ? key : `${path}.${key}`))
    : [[path, String(value)]]

say(`${target}: ${models.length} models of ${from}, whose data is of ${generatedAt}`)
for (const { ref, ...now } of models) {
  const known = before.models.find((one) => one.ref === ref)
  if (known === undefined) {
    say(`  new      ${ref}: ${now.prices.input} in, ${now.prices.output} out (${now.budget})`)
    continue
  }
  const then = new Map(flat(known))
  const today = new Map(flat(now))
  for (const path of new Set([...then.keys(), ...today.keys()])) {
    if (["ref", "source", "date"].includes(path) || then.get(path) === today.get(path)) continue
    const kind = /^(prices|tiers|ceiling)\./.test(path) ? "price" : "changed"
    say(`  ${kind.padEnd(8)} ${ref} ${path}: ${then.get(path) ?? "nothing"} → ${today.get(path) ?? "nothing"}`)
  }
}
for (const { ref } of before.models) if (!models.some((one) => one.ref === ref)) say(`  gone     ${ref}`)
for (const { chats, ids, provider } of data) {
  for (const id of ids) if (!chats.some((chat) => chat.id === id)) say(`  missing  ${provider}:${id} is wanted, and not in the data: take it out of the list here`)
}
const lines = /^(?:claude-|gemini-|deepseek\/|moonshotai\/|qwen\/)/
for (const { chats, ids, provider } of data) {
  const others = chats.filter(({ id }) => lines.test(id) && !ids.includes(id) && !id.endsWith(":batch")).map(({ id }) => id)
  if (others.length > 0) say(`  not taken of ${provider}: ${others.join(", ")}`)
}
