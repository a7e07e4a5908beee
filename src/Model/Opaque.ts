import type { Transcript } from "../Run.ts"

/** What is known of one kind of opaque data: where it sits, and what becomes of it when the conversation before it changes. */
export interface Rule {
  /** The name under which a part carries it, and its key there; without a key it is the text of the reasoning itself. */
  readonly provider: string
  readonly key: string | null
  /** The models that it holds for, by how their ids begin; the first rule that fits holds. */
  readonly models: string
  readonly on: ReadonlyArray<Transcript.AssistantPart["type"]>
  /** What the model that wrote it makes of an answer that comes back without it. */
  readonly unlessReturned: string
  /** What another model makes of it; whatever that is, it is never sent to another. */
  readonly elsewhere: string
  /** Whether it still holds where the system text, the tools or a message before it are no longer what they were. */
  readonly compacted: "keep" | "drop"
  readonly because: string
}

/** What the providers say of their opaque data, as of November 2026. */
export const rules: ReadonlyArray<Rule> = [
  {
    provider: "anthropic", key: "signature", models: "", on: ["reasoning"],
    unlessReturned: "goes on without its reasoning; an empty thought that is signed counts as one",
    elsewhere: "answers 400 to a wrong signature, or drops the block in silence",
    compacted: "drop",
    because: "From Claude Fable 5.1 on, system, tools and all messages before a thinking block must be what they were: else 400"
  },
  {
    provider: "anthropic", key: "redacted", models: "", on: ["reasoning"],
    unlessReturned: "goes on without its reasoning",
    elsewhere: "answers 400, or drops the block in silence",
    compacted: "drop",
    because: "A redacted thought is bound to what came before it as a signed one is"
  },
  {
    provider: "google", key: "thoughtSignature", models: "", on: ["text", "reasoning", "tool-call"],
    unlessReturned: "answers 400 from Gemini 3 on where the first function call of a step lacks it",
    elsewhere: "answers 400: it is invalid on another route, model or key",
    compacted: "keep",
    because: "It is asked for on the function calls of the current turn, and not said to be bound to what came before"
  },
  {
    provider: "google", key: "id", models: "", on: ["tool-call"],
    unlessReturned: "matches results to calls by name and order",
    elsewhere: "has no use for it",
    compacted: "keep",
    because: "It names a call of this very message"
  },
  {
    provider: "openrouter", key: "reasoning_details", models: "anthropic/", on: ["text", "reasoning", "tool-call"],
    unlessReturned: "goes on without its reasoning",
    elsewhere: "cannot read it",
    compacted: "drop",
    because: "It carries Claude's signatures, which are bound to what came before them behind every gateway"
  },
  {
    provider: "openrouter", key: "reasoning_details", models: "", on: ["text", "reasoning", "tool-call"],
    unlessReturned: "may answer 400 where a tool call comes back without the reasoning that led to it",
    elsewhere: "cannot read it",
    compacted: "keep",
    because: "Kimi, DeepSeek and Gemini want it back with their tool calls, whatever came before them"
  },
  {
    provider: "openrouter", key: null, models: "", on: ["reasoning"],
    unlessReturned: "answers 400 in thinking mode: DeepSeek wants the reasoning_content of every answer that called tools",
    elsewhere: "would take it for its own reasoning, or for an answer",
    compacted: "keep",
    because: "It is looked for, and not compared with what came before"
  }
]

/** The id of a model without the provider's name. */
const idOf = (ref: string): string => ref.slice(ref.indexOf(":") + 1)

/** Whether opaque data holds after what came before it has changed; what no rule tells of does not. */
const outlives = (ref: string, kind: Transcript.AssistantPart["type"], provider: string, key: string): boolean =>
  rules.find((rule) =>
    rule.provider === provider && rule.key === key && rule.on.includes(kind) && idOf(ref).startsWith(rule.models)
  )?.compacted === "keep"

/** A part without its opaque data, or nothing where nothing remains of it; a tool call always remains. */
const bare = (part: Transcript.AssistantPart): ReadonlyArray<Transcript.AssistantPart> => {
  if (part.type === "reasoning" || (part.type === "text" && part.text === "")) return []
  if (part.opaque === undefined) return [part]
  const { opaque: _, ...rest } = part
  return [rest]
}

/**
 * The parts of an answer as they may go back to the model that `ref` names (`anthropic:claude-sonnet-5-5`): all of them,
 * byte for byte, where that model wrote them. Another model's answer loses its reasoning and everything opaque, because
 * no model reads another's; its text and its tool calls stay.
 */
export const sendable = (message: Transcript.AssistantMessage, ref: string): ReadonlyArray<Transcript.AssistantPart> =>
  message.model === ref ? message.parts : message.parts.flatMap(bare)

/** A part with the opaque data that outlives a change of what came before it. */
const surviving = (part: Transcript.AssistantPart, ref: string): ReadonlyArray<Transcript.AssistantPart> => {
  if (part.opaque === undefined) return [part]
  const kept: Record<string, Record<string, string>> = {}
  let lost = false
  for (const [provider, values] of Object.entries(part.opaque)) {
    for (const [key, value] of Object.entries(values)) {
      if (outlives(ref, part.type, provider, key)) (kept[provider] ??= {})[key] = value
      else lost = true
    }
  }
  if (!lost) return [part]
  return Object.keys(kept).length === 0 ? bare(part) : [{ ...part, opaque: kept }]
}

/**
 * Messages as they may follow a beginning that is no longer the one they were written after: a summary in place of what
 * was compacted, other instructions, other tools. Reasoning that is bound to its beginning is dropped. Messages that are
 * written after the change are not to be passed: their own beginning is the new one.
 */
export const afterCompaction = (messages: ReadonlyArray<Transcript.Message>): ReadonlyArray<Transcript.Message> =>
  messages.map((message) =>
    message.role === "assistant" ? { ...message, parts: message.parts.flatMap((part) => surviving(part, message.model)) } : message
  )
