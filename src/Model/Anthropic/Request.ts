import type {
  ContentBlockParam, MessageCountTokensParams, MessageCreateParamsStreaming, MessageParam, TextBlockParam, Tool
} from "@anthropic-ai/sdk/resources/messages"
import * as Option from "effect/Option"
import type { Transcript } from "../../Run.ts"
import type { Entry } from "../Catalog.ts"
import { parseObject } from "../Json.ts"
import { sendable } from "../Opaque.ts"
import type { Request } from "../Provider.ts"

const ephemeral = { type: "ephemeral" } as const

/** Ids of other providers may hold characters that Anthropic refuses. */
const toolUseId = (id: string): string =>
  id.replace(/[^a-zA-Z0-9_-]/g, (character) => `_${character.charCodeAt(0).toString(16)}_`)

/** A block of an assistant's answer as it goes back; nothing where Anthropic would refuse it. */
const assistantBlock = (part: Transcript.AssistantPart): ContentBlockParam | undefined => {
  switch (part.type) {
    case "text":
      // Blank text blocks are refused, though the model may write them.
      return part.text.trim() === "" ? undefined : { type: "text", text: part.text }
    case "reasoning": {
      // Reasoning without its signature is refused or dropped in silence.
      const { redacted, signature } = part.opaque?.["anthropic"] ?? {}
      return redacted !== undefined
        ? { type: "redacted_thinking", data: redacted }
        : signature !== undefined
        ? { type: "thinking", thinking: part.text, signature }
        : undefined
    }
    case "tool-call":
      return {
        type: "tool_use",
        id: toolUseId(part.id),
        name: part.name,
        input: parseObject(part.arguments) ?? { malformed_json: part.arguments }
      }
  }
}

const blocks = (message: Transcript.Message, ref: string): ReadonlyArray<ContentBlockParam> => {
  switch (message.role) {
    case "user":
      return message.text.trim() === "" ? [] : [{ type: "text", text: message.text }]
    case "tool":
      return message.results.map((result) => ({
        type: "tool_result",
        tool_use_id: toolUseId(result.id),
        content: result.result,
        ...(result.isFailure ? { is_error: true } : {})
      }))
    case "assistant":
      return sendable(message, ref).flatMap((part) => assistantBlock(part) ?? [])
  }
}

/** Messages in turns of user and assistant: neighbours of one role become one, tool results before the text after them. */
const turns = (request: Request): Array<{ role: "user" | "assistant"; content: Array<ContentBlockParam> }> => {
  const ref = `anthropic:${request.model}`
  const out: Array<{ role: "user" | "assistant"; content: Array<ContentBlockParam> }> = []
  for (const message of request.messages) {
    const content = blocks(message, ref)
    if (content.length === 0) continue
    const role = message.role === "assistant" ? "assistant" : "user"
    const last = out.at(-1)
    if (last?.role === role) last.content.push(...content)
    else out.push({ role, content: [...content] })
  }
  return out
}

/** Marks the last block of a message as the end of a cached prefix; thinking cannot be marked. */
const mark = (content: Array<ContentBlockParam>): void => {
  const at = content.findLastIndex((block) => block.type !== "thinking" && block.type !== "redacted_thinking")
  const block = content[at]
  if (block !== undefined && block.type !== "thinking" && block.type !== "redacted_thinking") {
    content[at] = { ...block, cache_control: ephemeral }
  }
}

/**
 * At most three of the four marks that are allowed: after tools and system text, at the end of this request, and at the
 * end of the request before it, because a mark finds an earlier one only within 20 blocks. So a run pays each prefix once.
 */
const messages = (request: Request): Array<MessageParam> => {
  const all = turns(request)
  const users = all.filter((turn) => turn.role === "user")
  const last = all.at(-1)
  for (const turn of new Set([last, users.at(last?.role === "user" ? -2 : -1)])) if (turn !== undefined) mark(turn.content)
  return all
}

const tools = (request: Request): Array<Tool> =>
  request.tools.map((tool, index) => ({
    name: tool.name,
    description: tool.description,
    input_schema: { ...tool.parameters, type: "object" },
    ...(request.system.trim() === "" && index === request.tools.length - 1 ? { cache_control: ephemeral } : {})
  }))

const system = (request: Request): Array<TextBlockParam> => [
  { type: "text", text: request.system, cache_control: ephemeral }
]

/** The body of a request. Nothing here depends on the time or on chance, so that equal histories hit the cache. */
export const body = (request: Request, entry: Option.Option<Entry>): MessageCreateParamsStreaming => {
  const known = Option.getOrUndefined(entry)
  const thinks = known?.thinking === "adaptive" || known?.thinking === "always"
  const effort = request.effort !== undefined && known?.efforts.includes(request.effort) === true ? request.effort : undefined
  const output = {
    ...(effort === undefined ? {} : { effort }),
    ...(request.output === undefined ? {} : { format: { type: "json_schema" as const, schema: { ...request.output.schema } } })
  }
  return {
    model: request.model,
    max_tokens: Math.min(request.maxOutput, known?.maxOutput ?? request.maxOutput),
    ...(request.system.trim() === "" ? {} : { system: system(request) }),
    ...(request.tools.length === 0 ? {} : { tools: tools(request) }),
    // Summaries, because the newest models otherwise say nothing between their tool calls.
    ...(thinks ? { thinking: { type: "adaptive" as const, display: "summarized" as const } } : {}),
    ...(Object.keys(output).length === 0 ? {} : { output_config: output }),
    messages: messages(request),
    stream: true
  }
}

/** The same request for the endpoint that counts its tokens. */
export const countBody = (request: Request, entry: Option.Option<Entry>): MessageCountTokensParams => {
  const { max_tokens: _, stream: __, ...counted } = body(request, entry)
  return counted
}
