import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { isCount, isRecord, isText } from "../Json.ts"
import type * as Wire from "../Wire.ts"
import { Calls } from "./Calls.ts"
import { classify } from "./Failure.ts"

type Part = Wire.Part
type Finish = Response.FinishPartEncoded
type Fields = Readonly<Record<string, unknown>>

const reasons: Readonly<Record<string, Finish["reason"]>> = {
  stop: "stop",
  length: "length",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  content_filter: "content-filter"
}

/** What hosts send in place of an end when they break off; the second is DeepSeek's. */
const broken = new Set(["error", "insufficient_system_resource"])

const nothing: Fields = {}

const inner = (fields: Fields, key: string): Fields => {
  const value = fields[key]
  return isRecord(value) ? value : nothing
}

const count = (value: unknown): number => isCount(value) ? value : 0

/** Dollars as decimal text, without the noise of binary fractions: what is below 10⁻¹² is none. */
const decimal = (dollars: number): string => dollars.toFixed(12).replace(/\.?0+$/, "")

const isCost = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 1e12

/** What the provider took: its own charge, and with a key of one's own for the host what the host takes beside it. */
const costOf = (usage: Fields): string | undefined => {
  if (!isCost(usage["cost"])) return undefined
  const upstream = inner(usage, "cost_details")["upstream_inference_cost"]
  return decimal(usage["cost"] + (usage["is_byok"] === true && isCost(upstream) ? upstream : 0))
}

const usageOf = (usage: Fields): Finish["usage"] => {
  const prompt = inner(usage, "prompt_tokens_details")
  const answer = inner(usage, "completion_tokens_details")
  const cacheRead = isCount(prompt["cached_tokens"]) ? prompt["cached_tokens"] : count(usage["prompt_cache_hit_tokens"])
  const cacheWrite = count(prompt["cache_write_tokens"])
  const total = count(usage["prompt_tokens"])
  const output = count(usage["completion_tokens"])
  const reasoning = isCount(answer["reasoning_tokens"]) ? Math.min(answer["reasoning_tokens"], output) : undefined
  return {
    inputTokens: { uncached: Math.max(0, total - cacheRead - cacheWrite), cacheRead, cacheWrite, total },
    outputTokens: { total: output, reasoning, text: reasoning === undefined ? undefined : output - reasoning }
  }
}

/** The text of `content`, which some hosts send as a list of pieces. */
const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : Array.isArray(content)
    ? content.map((piece) => isRecord(piece) && isText(piece["text"]) ? piece["text"] : "").join("")
    : ""

/**
 * Reasoning details of one answer, put together from their pieces as OpenRouter wants them back: text and summaries
 * joined within a block, which a signature ends; everything else as it came, in order.
 */
class Details {
  readonly #blocks: Array<Record<string, unknown>> = []

  add(pieces: ReadonlyArray<unknown>): void {
    for (const piece of pieces) {
      if (!isRecord(piece)) continue
      const last = this.#blocks.at(-1)
      if (last !== undefined && this.#continues(last, piece)) {
        for (const [key, value] of Object.entries(piece)) {
          if ((key === "text" || key === "summary") && typeof last[key] === "string" && typeof value === "string") last[key] += value
          else if (value !== null && value !== undefined) last[key] = value
        }
      } else this.#blocks.push({ ...piece })
    }
  }

  #continues(last: Fields, piece: Fields): boolean {
    const isSame = (key: string) => last[key] === piece[key] || !(key in last) || !(key in piece) || last[key] === null || piece[key] === null
    return (piece["type"] === "reasoning.text" || piece["type"] === "reasoning.summary") && last["type"] === piece["type"] &&
      isSame("index") && isSame("id") && !(isText(last["signature"]) && (isText(piece["text"]) || isText(piece["signature"])))
  }

  json(): string | undefined {
    return this.#blocks.length === 0 ? undefined : JSON.stringify(this.#blocks)
  }
}

const textOfDetails = (details: ReadonlyArray<unknown>): string =>
  details.map((detail) => isRecord(detail) ? textOf(detail["text"] ?? detail["summary"]) : "").join("")

/** Turns the chunks of one answer into parts; a whole answer of a gateway that does not stream is one chunk. */
export class Decoder implements Wire.Decoder {
  finished = false
  readonly #requestId: string | null
  readonly #calls = new Calls()
  readonly #details = new Details()
  readonly #reasoning: Array<string> = []
  #open: { readonly type: "text" | "reasoning"; readonly id: string } | undefined
  #count = 0
  #begun = false
  #id: string | undefined
  #host: string | undefined
  #finish: string | undefined
  #native: string | undefined
  #usage: Fields | undefined
  #refusal = ""

  constructor(requestId: string | null) {
    this.#requestId = requestId
  }

  decode(value: unknown, out: Array<Part>): AiError.AiError | undefined {
    if (!isRecord(value)) return undefined
    if (!this.#begun) this.#begin(value, out)
    if (isRecord(value["usage"])) this.#usage = value["usage"]
    const choices = value["choices"]
    const choice: unknown = Array.isArray(choices) ? choices[0] : undefined
    const fields = isRecord(choice) ? choice : nothing
    const error = value["error"] ?? fields["error"]
    if (error !== undefined && error !== null) return classify(error, this.#known())
    const delta = fields["delta"] ?? fields["message"]
    if (isRecord(delta)) this.#delta(delta, out)
    if (isText(fields["native_finish_reason"])) this.#native = fields["native_finish_reason"]
    const finish = fields["finish_reason"]
    if (!isText(finish)) return undefined
    if (broken.has(finish)) return classify({ code: 502, message: `the model's host broke the answer off (${this.#native ?? finish})` }, this.#known())
    this.#finish = finish
    return undefined
  }

  /** What has neither an end nor a bill at its mark was broken off. */
  end(out: Array<Part>, marked: boolean): void {
    if (this.#finish === undefined && !(marked && this.#usage !== undefined)) return
    const refused = this.#finish === "content_filter"
    this.#close(out)
    this.#endReasoning(out)
    // A call that a refusal cut off is not a call.
    if (!refused) this.#calls.end(out)
    out.push(this.#end())
    this.finished = true
  }

  bill(out: Array<Part>): boolean {
    if (this.#usage !== undefined) out.push({ ...this.#end(), reason: "error" })
    return this.#usage !== undefined
  }

  #known(): string | undefined {
    return this.#requestId ?? this.#id
  }

  #begin(value: Fields, out: Array<Part>): void {
    if (!isText(value["id"]) && !isText(value["model"])) return
    this.#begun = true
    this.#id = isText(value["id"]) ? value["id"] : undefined
    this.#host = isText(value["provider"]) ? value["provider"] : undefined
    out.push({
      type: "response-metadata",
      ...(this.#id === undefined ? {} : { id: this.#id }),
      ...(isText(value["model"]) ? { modelId: value["model"] } : {}),
      metadata: { openrouter: this.#about() }
    })
  }

  #about() {
    const requestId = this.#known()
    return {
      ...(requestId === undefined ? {} : { requestId }),
      ...(this.#host === undefined ? {} : { host: this.#host })
    }
  }

  #delta(delta: Fields, out: Array<Part>): void {
    const details = delta["reasoning_details"]
    if (Array.isArray(details)) this.#details.add(details)
    const reasoning = textOf(delta["reasoning"]) || textOf(delta["reasoning_content"]) || (Array.isArray(details) ? textOfDetails(details) : "")
    if (reasoning !== "") out.push({ type: "reasoning-delta", id: this.#into("reasoning", out), delta: reasoning })
    const text = textOf(delta["content"])
    if (text !== "") out.push({ type: "text-delta", id: this.#into("text", out), delta: text })
    if (isText(delta["refusal"])) this.#refusal += delta["refusal"]
    const calls = delta["tool_calls"]
    if (!Array.isArray(calls) || calls.length === 0) return
    this.#close(out)
    for (const call of calls) this.#calls.take(call, out)
  }

  /** The id of the open part of a kind; one of the other kind ends. */
  #into(type: "text" | "reasoning", out: Array<Part>): string {
    if (this.#open?.type === type) return this.#open.id
    this.#close(out)
    this.#open = { type, id: String(this.#count++) }
    if (type === "reasoning") this.#reasoning.push(this.#open.id)
    out.push({ type: `${type}-start`, id: this.#open.id })
    return this.#open.id
  }

  /** Reasoning stays open until its details are known, which may come last. */
  #close(out: Array<Part>): void {
    if (this.#open?.type === "text") out.push({ type: "text-end", id: this.#open.id })
    this.#open = undefined
  }

  /** The details of all reasoning go with the first of its parts, because they go back as one list. */
  #endReasoning(out: Array<Part>): void {
    const details = this.#details.json()
    if (details !== undefined && this.#reasoning.length === 0) this.#into("reasoning", out)
    for (const [index, id] of this.#reasoning.entries()) {
      const metadata = index === 0 && details !== undefined ? { metadata: { openrouter: { reasoning_details: details } } } : {}
      out.push({ type: "reasoning-end", id, ...metadata })
    }
  }

  #end(): Finish {
    const native = this.#native ?? this.#finish
    const usage = this.#usage ?? nothing
    const cost = costOf(usage)
    const searches = inner(usage, "server_tool_use")["web_search_requests"]
    const reason = this.#finish === undefined ? "unknown" : reasons[this.#finish] ?? "other"
    return {
      type: "finish",
      // Some hosts say "stop" after tool calls too.
      reason: this.#calls.count > 0 && (reason === "stop" || reason === "unknown") ? "tool-calls" : reason,
      usage: this.#usage === undefined ? { inputTokens: {}, outputTokens: {} } : usageOf(usage),
      metadata: {
        openrouter: {
          ...this.#about(),
          ...(native === undefined ? {} : { nativeFinish: native }),
          ...(cost === undefined ? {} : { cost }),
          ...(isCount(searches) ? { webSearches: searches } : {}),
          ...(this.#refusal === "" ? {} : { note: this.#refusal })
        }
      }
    }
  }
}
