import * as Schema from "effect/Schema"

/**
 * What a provider attached to a part and wants back unchanged (a thinking signature, for one), by provider name.
 * Values are strings, so that they survive storing byte for byte.
 */
export const Opaque = Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.String))
export type Opaque = typeof Opaque.Type

/** Text of the model. */
export const TextPart = Schema.Struct({
  type: Schema.Literal("text"),
  text: Schema.String,
  opaque: Schema.optionalKey(Opaque)
})

/** Reasoning of the model; may be empty and still carry a signature that has to be sent back. */
export const ReasoningPart = Schema.Struct({
  type: Schema.Literal("reasoning"),
  text: Schema.String,
  opaque: Schema.optionalKey(Opaque)
})

/** A tool that the model wants run. `arguments` is the JSON text exactly as the model wrote it, valid or not. */
export const ToolCallPart = Schema.Struct({
  type: Schema.Literal("tool-call"),
  id: Schema.String,
  name: Schema.String,
  arguments: Schema.String,
  opaque: Schema.optionalKey(Opaque)
})
export type ToolCallPart = typeof ToolCallPart.Type

/** One piece of a model's answer, in the order in which it came. */
export const AssistantPart = Schema.Union([TextPart, ReasoningPart, ToolCallPart])
export type AssistantPart = typeof AssistantPart.Type

/** The one result of a tool call: JSON text, or plain text for a failure's sentence. */
export const ToolResult = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  isFailure: Schema.Boolean,
  result: Schema.String
})
export type ToolResult = typeof ToolResult.Type

/** Something a person or a program said to the agent. */
export const UserMessage = Schema.Struct({ role: Schema.Literal("user"), text: Schema.String })

/** An answer of the model that `model` names (`anthropic:claude-sonnet-5-5`); opaque parts are only valid for it. */
export const AssistantMessage = Schema.Struct({
  role: Schema.Literal("assistant"),
  model: Schema.String,
  parts: Schema.Array(AssistantPart)
})
export type AssistantMessage = typeof AssistantMessage.Type

/** The results of every tool call of the assistant message before it, in the order of the calls. */
export const ToolMessage = Schema.Struct({ role: Schema.Literal("tool"), results: Schema.Array(ToolResult) })

/** A message of a conversation. Histories are append-only. */
export const Message = Schema.Union([UserMessage, AssistantMessage, ToolMessage])
export type Message = typeof Message.Type

/** The text of a model's answer: its text parts joined, reasoning left out. */
export const textOf = (parts: ReadonlyArray<AssistantPart>): string => {
  let text = ""
  for (const part of parts) if (part.type === "text") text += part.text
  return text
}

/** The tool calls of a model's answer, in order. */
export const toolCallsOf = (parts: ReadonlyArray<AssistantPart>): ReadonlyArray<ToolCallPart> =>
  parts.filter((part) => part.type === "tool-call")

/**
 * Says what is wrong with a history, or nothing: every tool call has exactly one result, in the message right after
 * it, and no result is without its call. Providers refuse histories that break this.
 */
export const problem = (messages: ReadonlyArray<Message>): string | undefined => {
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index]
    if (message?.role === "assistant") {
      const calls = toolCallsOf(message.parts).map((call) => call.id)
      const next = messages[index + 1]
      const results = next?.role === "tool" ? next.results.map((result) => result.id) : []
      if (new Set(calls).size !== calls.length) return `message ${index} has two calls with one id`
      if (calls.join("\n") !== results.join("\n")) {
        return `message ${index} calls [${calls.join(", ")}] but the next has results for [${results.join(", ")}]`
      }
    }
    if (message?.role === "tool" && messages[index - 1]?.role !== "assistant") {
      return `message ${index} has results without calls`
    }
  }
  return undefined
}
