import type { RawMessageStreamEvent } from "@anthropic-ai/sdk/resources/messages"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { isCount, isRecord, isText, parseObject } from "../Json.ts"
import type * as Wire from "../Wire.ts"
import { within } from "./Failure.ts"

type Part = Response.StreamPartEncoded
type Finish = Response.FinishPartEncoded

interface Text {
  readonly type: "text"
  readonly id: string
}

interface Reasoning {
  readonly type: "reasoning"
  readonly id: string
  signature: string | undefined
  readonly redacted: string | undefined
}

interface ToolUse {
  readonly type: "tool"
  readonly id: string
  readonly name: string
  json: string
}

type Block = Text | Reasoning | ToolUse

const reasons: Readonly<Record<string, Finish["reason"]>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool-calls",
  pause_turn: "pause",
  refusal: "content-filter"
}

/** Counts are cumulative: a later one replaces an earlier one, and what is missing leaves it. */
class Counts {
  uncached = 0
  cacheRead = 0
  cacheWrite = 0
  cacheWriteHour = 0
  output = 0
  reasoning: number | undefined
  webSearches = 0
  webFetches = 0

  /** The usage of any event, whatever is in it. */
  read(usage: Partial<Record<string, unknown>> | null | undefined): void {
    if (!isRecord(usage)) return
    const inner = (key: string): Partial<Record<string, unknown>> => {
      const value = usage[key]
      return isRecord(value) ? value : {}
    }
    const count = (value: unknown, before: number): number => isCount(value) ? value : before
    this.uncached = count(usage["input_tokens"], this.uncached)
    this.cacheRead = count(usage["cache_read_input_tokens"], this.cacheRead)
    this.cacheWrite = count(usage["cache_creation_input_tokens"], this.cacheWrite)
    this.cacheWriteHour = count(inner("cache_creation")["ephemeral_1h_input_tokens"], this.cacheWriteHour)
    this.output = count(usage["output_tokens"], this.output)
    const thinking = inner("output_tokens_details")["thinking_tokens"]
    if (isCount(thinking)) this.reasoning = thinking
    this.webSearches = count(inner("server_tool_use")["web_search_requests"], this.webSearches)
    this.webFetches = count(inner("server_tool_use")["web_fetch_requests"], this.webFetches)
  }

  usage(): Finish["usage"] {
    return {
      inputTokens: {
        uncached: this.uncached,
        cacheRead: this.cacheRead,
        cacheWrite: this.cacheWrite,
        total: this.uncached + this.cacheRead + this.cacheWrite
      },
      outputTokens: {
        total: this.output,
        reasoning: this.reasoning,
        text: this.reasoning === undefined ? undefined : Math.max(0, this.output - this.reasoning)
      }
    }
  }
}

/**
 * Turns the events of one answer into parts; a whole answer of a gateway that does not stream is one event. What it does
 * not know (an event, a kind of block or delta, a stop reason) it skips or names, and never fails on.
 */
export class Decoder implements Wire.Decoder {
  readonly #requestId: string | null
  /** By index as text, because nobody says that it is a number. */
  readonly #blocks = new Map<string, Block>()
  readonly #counts = new Counts()
  #started = false
  #stop: string | null = null
  #details: { readonly category: string | null; readonly explanation: string | null } | undefined
  finished = false

  constructor(requestId: string | null) {
    this.#requestId = requestId
  }

  decode(value: unknown, out: Array<Part>): AiError.AiError | undefined {
    if (!isRecord(value)) return undefined
    if (value["type"] === "error") return within(value["error"], this.#requestId ?? undefined)
    if (value["type"] === "message") this.#whole(value, out)
    // The fields that the SDK promises are looked at as if they might not be there.
    else this.#event(value as unknown as RawMessageStreamEvent, out)
    return undefined
  }

  /** Only `message_stop` ends an answer. */
  end(): void {}

  #event(event: RawMessageStreamEvent, out: Array<Part>): void {
    switch (event.type) {
      case "message_start": {
        this.#counts.read({ ...event.message?.usage })
        if (!this.#started) out.push(this.#metadata(event.message?.id, event.message?.model))
        this.#started = true
        break
      }
      case "content_block_start":
        this.#start(String(event.index), event.content_block, out)
        break
      case "content_block_delta":
        this.#delta(this.#blocks.get(String(event.index)), event.delta, out)
        break
      case "content_block_stop":
        this.#end(String(event.index), out)
        break
      case "message_delta":
        this.#counts.read({ ...event.usage })
        this.#stop = event.delta?.stop_reason ?? this.#stop
        if (event.delta?.stop_details) {
          const { category, explanation } = event.delta.stop_details
          this.#details = { category: category ?? null, explanation: explanation ?? null }
        }
        break
      case "message_stop":
        this.#finish(out)
        break
    }
  }

  #whole(message: Readonly<Record<string, unknown>>, out: Array<Part>): void {
    const { content, ...rest } = message
    const blocks: ReadonlyArray<unknown> = Array.isArray(content) ? content : []
    const { stop_details, stop_reason, usage } = rest
    for (const event of [
      { type: "message_start", message: rest },
      ...blocks.flatMap((content_block, index) => [{ type: "content_block_start", index, content_block }, { type: "content_block_stop", index }]),
      { type: "message_delta", delta: { stop_reason, stop_details }, usage },
      { type: "message_stop" }
    ]) this.decode(event, out)
  }

  #metadata(id: unknown, model: unknown): Part {
    return {
      type: "response-metadata",
      ...(isText(id) ? { id } : {}),
      ...(isText(model) ? { modelId: model } : {}),
      metadata: { anthropic: this.#requestId === null ? {} : { requestId: this.#requestId } }
    }
  }

  #start(
    id: string,
    content: Extract<RawMessageStreamEvent, { type: "content_block_start" }>["content_block"],
    out: Array<Part>
  ): void {
    // A block that begins anew at its place was not ended by its own event.
    this.#end(id, out)
    switch (content?.type) {
      case "text":
        this.#blocks.set(id, { type: "text", id })
        out.push({ type: "text-start", id })
        if (isText(content.text)) out.push({ type: "text-delta", id, delta: content.text })
        break
      case "thinking":
        this.#blocks.set(id, {
          type: "reasoning",
          id,
          signature: isText(content.signature) ? content.signature : undefined,
          redacted: undefined
        })
        out.push({ type: "reasoning-start", id })
        if (isText(content.thinking)) out.push({ type: "reasoning-delta", id, delta: content.thinking })
        break
      case "redacted_thinking":
        this.#blocks.set(id, { type: "reasoning", id, signature: undefined, redacted: String(content.data) })
        out.push({ type: "reasoning-start", id })
        break
      case "tool_use": {
        const tool: ToolUse = { type: "tool", id: String(content.id), name: String(content.name), json: "" }
        this.#blocks.set(id, tool)
        out.push({ type: "tool-params-start", id: tool.id, name: tool.name })
        // Gateways that do not stream arguments send them whole at the start.
        if (typeof content.input === "object" && content.input !== null && Object.keys(content.input).length > 0) {
          tool.json = JSON.stringify(content.input)
          out.push({ type: "tool-params-delta", id: tool.id, delta: tool.json })
        }
        break
      }
    }
  }

  #delta(
    block: Block | undefined,
    delta: Extract<RawMessageStreamEvent, { type: "content_block_delta" }>["delta"],
    out: Array<Part>
  ): void {
    if (block?.type === "text" && delta?.type === "text_delta" && isText(delta.text)) {
      out.push({ type: "text-delta", id: block.id, delta: delta.text })
    } else if (block?.type === "reasoning" && delta?.type === "thinking_delta" && isText(delta.thinking)) {
      out.push({ type: "reasoning-delta", id: block.id, delta: delta.thinking })
    } else if (block?.type === "reasoning" && delta?.type === "signature_delta" && isText(delta.signature)) {
      block.signature = delta.signature
    } else if (block?.type === "tool" && delta?.type === "input_json_delta" && isText(delta.partial_json)) {
      block.json += delta.partial_json
      out.push({ type: "tool-params-delta", id: block.id, delta: delta.partial_json })
    }
  }

  #end(id: string, out: Array<Part>): void {
    const block = this.#blocks.get(id)
    this.#blocks.delete(id)
    switch (block?.type) {
      case "text":
        out.push({ type: "text-end", id: block.id })
        break
      case "reasoning": {
        const opaque = block.redacted !== undefined
          ? { redacted: block.redacted }
          : block.signature !== undefined
          ? { signature: block.signature }
          : undefined
        out.push({
          type: "reasoning-end",
          id: block.id,
          ...(opaque === undefined ? {} : { metadata: { anthropic: opaque } })
        })
        break
      }
      case "tool":
        out.push(
          { type: "tool-params-end", id: block.id },
          { type: "tool-call", id: block.id, name: block.name, params: parseObject(block.json) ?? block.json }
        )
        break
    }
  }

  #finish(out: Array<Part>): void {
    const refused = this.#stop === "refusal"
    for (const [id, block] of this.#blocks) {
      // A call that a refusal cut off is not a call.
      if (!refused || block.type !== "tool") this.#end(id, out)
    }
    const counts = this.#counts
    out.push({
      type: "finish",
      reason: this.#stop === null ? "unknown" : reasons[this.#stop] ?? "other",
      usage: counts.usage(),
      metadata: {
        anthropic: {
          stopReason: this.#stop,
          requestId: this.#requestId,
          cacheWriteHour: counts.cacheWriteHour,
          webSearches: counts.webSearches,
          webFetches: counts.webFetches,
          ...(this.#stop === null ? {} : { nativeFinish: this.#stop }),
          ...(this.#details === undefined
            ? {}
            : { stopDetails: this.#details, note: this.#details.explanation ?? this.#details.category })
        }
      }
    })
    this.finished = true
  }
}
