/**
 * Writes `src/Model/Catalog.json` from the model data of `@earendil-works/pi-ai` (MIT), fetched with `npm pack`; it is no
 * dependency. Start it with `npm run catalogue`, or with a folder that holds the unpacked tarball as its argument.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const source = "@earendil-works/pi-ai"
const version = "1.5.2"
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
    "qwen/qwen3.8-max-0902", "qwen/qwen3.8-flash", "qwen/qwen3.8-27b", "qwen/qwen3.7-plus", "qwen/qwen3.7-flash",
    "qwen/qwen3-coder-flash"
  ]
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

/** The data writes zero where a provider has no such price; what has no price must not look free. */
const rates = (provider: string, cost: Rates) => ({
  input: decimal(cost.input),
  output: decimal(cost.output),
  ...(cost.cacheRead !== undefined && cost.cacheRead > 0 ? { cacheRead: decimal(cost.cacheRead) } : {}),
  ...(cost.cacheWrite !== undefined && cost.cacheWrite > 0 ? { cacheWrite: decimal(cost.cacheWrite) } : {}),
  // Anthropic's price list: writing for an hour costs twice the input price.
  ...(provider === "anthropic" ? { cacheWriteHour: decimal(cost.input * 2) } : {})
})

const efforts = ["low", "medium", "high", "xhigh", "max"]

const entry = (provider: string, chat: Chat) => {
  const levels = chat.thinkingLevelMap ?? {}
  const adaptive = provider === "anthropic" && chat.compat?.forceAdaptiveThinking === true
  return {
    ref: `${provider}:${chat.id}`,
    context: chat.contextWindow,
    maxOutput: chat.maxTokens,
    prices: rates(provider, chat.cost),
    tiers: (chat.cost.tiers ?? []).map((tier) => ({ above: tier.inputTokensAbove, prices: rates(provider, tier) })),
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

const unpack = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "catalogue-"))
  execFileSync("npm", ["pack", "--silent", `${source}@${version}`], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  if (tarball === undefined) throw new Error(`npm pack made no tarball of ${source}@${version}`)
  execFileSync("tar", ["xzf", tarball], { cwd: folder })
  return folder
}

const given = process.argv[2]
const folder = given ?? unpack()
const read = (...path: ReadonlyArray<string>): unknown =>
  JSON.parse(readFileSync(join(folder, "package", ...path), "utf8"))

const manifest = read("package.json") as { readonly version: string } // every npm package has a version
if (manifest.version !== version) throw new Error(`expected ${source}@${version}, found ${manifest.version}`)

const models = Object.entries(wanted).flatMap(([provider, ids]) => {
  // The shape of this data is that of the pinned version; a model that is not found below ends the program.
  const data = read("dist", "providers", "data", `${provider}.json`) as Record<string, Record<string, Chat>>
  const chats = Object.values(data).flatMap((models) => Object.values(models)).filter((model) => model.type === "chat")
  return ids.map((id) => {
    const chat = chats.find((model) => model.id === id)
    if (chat === undefined) throw new Error(`${source}@${version} has no ${provider} model "${id}"`)
    return entry(provider, chat)
  })
})

const generatedAt = new Date().toISOString().slice(0, 10)
writeFileSync(target, `${JSON.stringify({ source, sourceVersion: version, generatedAt, models }, null, 2)}\n`)
if (given === undefined) rmSync(folder, { recursive: true })
console.log(`${target}: ${models.length} models of ${source}@${version}`)
