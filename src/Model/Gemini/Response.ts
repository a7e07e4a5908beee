import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { isCount, isRecord, isText, parseObject } from "../Json.ts"
import { type Around, classify, failures } from "./Failure.ts"

type Part = Response.StreamPartEncoded
type Finish = Response.FinishPartEncoded

type Fields = Readonly<Record<string, unknown>>

const none: Fields = {}

const fieldsOf = (value: unknown): Fields => isRecord(value) ? value : none

const textOf = (value: unknown): string => typeof value === "string" ? value : ""

const reasons: Readonly<Record<string, Finish["reason"]>> = {
  STOP: "stop",
  MAX_TOKENS: "length",
  SAFETY: "content-filter",
  RECITATION: "content-filter",
  LANGUAGE: "content-filter",
  BLOCKLIST: "content-filter",
  PROHIBITED_CONTENT: "content-filter",
  SPII: "content-filter",
  MODEL_ARMOR: "content-filter"
}

/** Endings that are a slip of the model's pen: the same request may well come out right. */
const slips = new Set(["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])

/** Endings that the same request will come to again. */
const wrong = new Set(["TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"])

/** Counts of the answer so far: a later one replaces an earlier one, and what is missing leaves it. */
class Counts {
  prompt = 0
  cached = 0
  toolUse = 0
  candidates = 0
  thoughts: number | undefined

  read(usage: Fields): void {
    const count = (key: string, before: number): number => {
      const value = usage[key]
      return isCount(value) ? value : before
    }
    this.prompt = count("promptTokenCount", this.prompt)
    this.cached = count("cachedContentTokenCount", this.cached)
    this.toolUse = count("toolUsePromptTokenCount", this.toolUse)
    this.candidates = count("candidatesTokenCount", this.candidates)
    const thoughts = usage["thoughtsTokenCount"]
    if (isCount(thoughts)) this.thoughts = thoughts
  }

  /** The prompt's count includes what was cached; that of the candidates leaves the thoughts out, which cost the same. */
  usage(): Finish["usage"] {
    const cacheRead = Math.min(this.cached, this.prompt)
    return {
      inputTokens: {
        uncached: this.prompt - cacheRead + this.toolUse,
        cacheRead,
        cacheWrite: 0,
        total: this.prompt + this.toolUse
      },
      outputTokens: { total: this.candidates + (this.thoughts ?? 0), reasoning: this.thoughts, text: this.candidates }
    }
  }
}

/** What else a part may hold besides text; parts that hold other things are skipped. */
const textual = new Set(["text", "thought", "thoughtSignature"])

/**
 * Turns the chunks of one answer into parts. A signature stays on the part that it came with: pieces of text without one
 * are joined, and one that has a signature is a part of its own, though it be empty. What it does not know it skips.
 */
export class Decoder {
  readonly #bytes: () => number
  readonly #counts = new Counts()
  #responseId: string | null = null
  #open: { readonly kind: "text" | "reasoning"; readonly id: string } | undefined
  #parts = 0
  #calls = 0
  #begun = false
  #ending: string | undefined
  #note: string | undefined
  #blocked = false
  /** Whether the answer is complete; a stream that ends before that has failed. */
  finished = false

  constructor(bytes: () => number) {
    this.#bytes = bytes
  }

  decode(value: unknown, out: Array<Part>): AiError.AiError | undefined {
    const chunk = fieldsOf(value)
    if (chunk["error"] !== undefined && chunk["error"] !== null) return classify(chunk["error"], this.#around())
    this.#metadata(chunk, out)
    const usage = chunk["usageMetadata"]
    this.#counts.read(fieldsOf(usage))
    const candidate = fieldsOf(Array.isArray(chunk["candidates"]) ? chunk["candidates"][0] : undefined)
    const parts: unknown = fieldsOf(candidate["content"])["parts"]
    if (Array.isArray(parts)) for (const part of parts) this.#part(fieldsOf(part), out)
    const failure = this.#reason(candidate, fieldsOf(chunk["promptFeedback"]))
    if (failure !== undefined) {
      // A slip is paid for as an answer is.
      if (usage !== undefined) {
        const metadata = { google: { nativeFinish: textOf(candidate["finishReason"]), requestId: this.#responseId } }
        out.push({ type: "finish", reason: "error", usage: this.#counts.usage(), metadata })
      }
      return failure
    }
    // Where the counts come after the reason, they are waited for.
    if (this.#ending !== undefined && usage !== undefined) this.#finish(out)
    return undefined
  }

  end(out: Array<Part>): void {
    if (this.#ending !== undefined && !this.finished) this.#finish(out)
  }

  #around(): Around {
    return { status: 200, requestId: this.#responseId ?? undefined, bytes: this.#bytes }
  }

  #metadata(chunk: Fields, out: Array<Part>): void {
    if (this.#begun) return
    this.#begun = true
    const { modelVersion, responseId } = chunk
    if (isText(responseId)) this.#responseId = responseId
    out.push({
      type: "response-metadata",
      ...(isText(responseId) ? { id: responseId } : {}),
      ...(isText(modelVersion) ? { modelId: modelVersion } : {}),
      metadata: { google: isText(responseId) ? { requestId: responseId } : {} }
    })
  }

  #part(part: Fields, out: Array<Part>): void {
    const signature = isText(part["thoughtSignature"]) ? { thoughtSignature: part["thoughtSignature"] } : undefined
    if (part["functionCall"] !== undefined) {
      this.#close(out)
      this.#call(fieldsOf(part["functionCall"]), signature, out)
      return
    }
    if (!Object.keys(part).every((key) => textual.has(key))) return
    const text = textOf(part["text"])
    const kind = part["thought"] === true ? "reasoning" : "text"
    if (text === "" && signature === undefined) return
    if (signature !== undefined || this.#open?.kind !== kind) this.#close(out)
    const id = this.#open?.id ?? this.#start(kind, out)
    if (text !== "") out.push({ type: `${kind}-delta`, id, delta: text })
    if (signature !== undefined) this.#close(out, signature)
  }

  #start(kind: "text" | "reasoning", out: Array<Part>): string {
    const id = String(this.#parts++)
    this.#open = { kind, id }
    out.push({ type: `${kind}-start`, id })
    return id
  }

  #close(out: Array<Part>, signature?: { readonly thoughtSignature: string }): void {
    if (this.#open === undefined) return
    const { id, kind } = this.#open
    this.#open = undefined
    out.push({ type: `${kind}-end`, id, ...(signature === undefined ? {} : { metadata: { google: signature } }) })
  }

  /** A call, which comes whole. Models before Gemini 3 give it no id: it gets one by its answer and its place in it. */
  #call(call: Fields, signature: { readonly thoughtSignature: string } | undefined, out: Array<Part>): void {
    this.#calls++
    const given = isText(call["id"]) ? { id: call["id"] } : undefined
    const id = given?.id ?? `call_${this.#responseId ?? "gemini"}_${this.#calls}`
    const name = textOf(call["name"])
    const json = JSON.stringify(fieldsOf(call["args"]))
    const opaque = { ...signature, ...given }
    out.push(
      { type: "tool-params-start", id, name },
      { type: "tool-params-delta", id, delta: json },
      { type: "tool-params-end", id },
      {
        type: "tool-call",
        id,
        name,
        params: parseObject(json) ?? json,
        ...(Object.keys(opaque).length === 0 ? {} : { metadata: { google: opaque } })
      }
    )
  }

  /** Takes note of why the answer ended, if it did; gives a failure where that is no ending of an answer. */
  #reason(candidate: Fields, feedback: Fields): AiError.AiError | undefined {
    const reason = candidate["finishReason"]
    const message = isText(candidate["finishMessage"]) ? candidate["finishMessage"] : undefined
    if (isText(reason)) {
      if (slips.has(reason)) {
        return failures.make(
          new AiError.InvalidOutputError({ description: `${reason}: ${message ?? "the model wrote a tool call that cannot be read"}`, metadata: this.#known() })
        )
      }
      if (wrong.has(reason)) {
        return failures.make(
          new AiError.InvalidRequestError({ description: `${reason}: ${message ?? "Gemini gave up on the tool calls"}`, metadata: this.#known() })
        )
      }
      this.#ending = reason
      this.#note = reason === "STOP" || reason === "MAX_TOKENS" ? undefined : message ?? this.#ratings(candidate) ?? reason
    } else if (isText(feedback["blockReason"])) {
      this.#ending = feedback["blockReason"]
      this.#blocked = true
      const why = isText(feedback["blockReasonMessage"]) ? feedback["blockReasonMessage"] : this.#ratings(feedback) ?? feedback["blockReason"]
      this.#note = `the prompt was blocked: ${why}`
    }
    return undefined
  }

  #known() {
    return { google: this.#responseId === null ? {} : { requestId: this.#responseId } }
  }

  /** The categories that were blocked. */
  #ratings(from: Fields): string | undefined {
    const ratings = Array.isArray(from["safetyRatings"]) ? from["safetyRatings"].map(fieldsOf) : []
    const blocked = ratings.filter((rating) => rating["blocked"] === true).map((rating) => String(rating["category"]))
    return blocked.length === 0 ? undefined : blocked.join(", ")
  }

  #finish(out: Array<Part>): void {
    this.#close(out)
    const ending = this.#ending ?? null
    const reason = this.#blocked ? "content-filter" : ending === null ? "unknown" : reasons[ending] ?? "other"
    // An answer that calls tools ends with STOP; gateways have other words for it.
    const isCalling = this.#calls > 0 && (reason === "stop" || reason === "other")
    out.push({
      type: "finish",
      reason: isCalling ? "tool-calls" : reason,
      usage: this.#counts.usage(),
      metadata: {
        google: {
          nativeFinish: ending,
          requestId: this.#responseId,
          ...(this.#note === undefined || isCalling ? {} : { note: this.#note })
        }
      }
    })
    this.finished = true
  }
}

/** Reads the answer of the endpoint that counts; it has no parts. */
export class Count {
  tokens = 0
  finished = false

  decode(value: unknown): undefined {
    const total = fieldsOf(value)["totalTokens"]
    if (!isCount(total)) return
    this.tokens = total
    this.finished = true
  }

  end(): void {}
}
