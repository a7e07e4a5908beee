import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as AnthropicStructuredOutput from "effect/ai/AnthropicStructuredOutput"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import type { ModelRef, Transcript } from "../Run.ts"
import { collect } from "./Answer.ts"
import { parseObject } from "./Json.ts"
import type { Provider, Request, Resolved, ToolSpec } from "./Provider.ts"

const invalid = (description: string): AiError.AiError =>
  AiError.make({
    module: "Model",
    method: "toLanguageModel",
    reason: new AiError.InvalidRequestError({ description })
  })

/** How a schema is told to a provider, and how its answer is decoded; the two belong together. */
export const structuredOutput = (ref: ModelRef): LanguageModel.CodecTransformer =>
  ref.startsWith("anthropic:") ? AnthropicStructuredOutput.toCodecAnthropic : LanguageModel.defaultCodecTransformer

// to effect/ai

const opaqueOf = (options: Readonly<Record<string, unknown>>): { readonly opaque?: Transcript.Opaque } => {
  const opaque: Record<string, Record<string, string>> = {}
  for (const [provider, values] of Object.entries(options)) {
    if (typeof values !== "object" || values === null) continue
    for (const [key, value] of Object.entries(values)) {
      if (typeof value === "string") (opaque[provider] ??= {})[key] = value
    }
  }
  return Object.keys(opaque).length === 0 ? {} : { opaque }
}

const jsonOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value) ?? "null"

const assistantPart = (part: Prompt.AssistantMessagePart): ReadonlyArray<Transcript.AssistantPart> => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return [{ type: part.type, text: part.text, ...opaqueOf(part.options) }]
    case "tool-call":
      return part.providerExecuted
        ? []
        : [{ type: "tool-call", id: part.id, name: part.name, arguments: jsonOf(part.params), ...opaqueOf(part.options) }]
    default:
      return []
  }
}

const messagesOf = Effect.fnUntraced(function*(prompt: Prompt.Prompt, ref: ModelRef) {
  const system: Array<string> = []
  const messages: Array<Transcript.Message> = []
  for (const message of prompt.content) {
    switch (message.role) {
      case "system":
        system.push(message.content)
        break
      case "user":
        for (const part of message.content) {
          if (part.type === "file") return yield* invalid("Files cannot be sent yet: send their text")
          messages.push({ role: "user", text: part.text })
        }
        break
      case "assistant":
        messages.push({ role: "assistant", model: ref, parts: message.content.flatMap(assistantPart) })
        break
      case "tool":
        messages.push({
          role: "tool",
          results: message.content.filter((part) => part.type === "tool-result").map((part) => ({
            id: part.id,
            name: part.name,
            isFailure: part.isFailure,
            result: jsonOf(part.result)
          }))
        })
        break
    }
  }
  return { system: system.join("\n\n"), messages }
})

const requestOf = Effect.fnUntraced(function*(resolved: Resolved, options: LanguageModel.ProviderOptions, maxOutput: number) {
  const choice = options.toolChoice
  if (choice === "required" || (typeof choice === "object" && ("tool" in choice || choice.mode === "required"))) {
    return yield* invalid(`A tool call cannot be demanded of ${resolved.ref}: use the tool choice "auto"`)
  }
  const { messages, system } = yield* messagesOf(options.prompt, resolved.ref)
  const format = options.responseFormat
  const output = format.type === "text" ? {} : {
    output: {
      name: format.objectName,
      schema: yield* Effect.try({
        try: () => structuredOutput(resolved.ref)(format.schema).jsonSchema,
        catch: (error) => invalid(`The output schema cannot be told to ${resolved.ref}: ${String(error)}`)
      })
    }
  }
  const request: Request = {
    model: resolved.id,
    system,
    messages,
    tools: choice === "none" ? [] : options.tools.map((tool) => ({
      name: tool.name,
      description: Tool.getDescription(tool) ?? "",
      parameters: Tool.getJsonSchema(tool)
    })),
    maxOutput,
    ...output
  }
  return request
})

/** The parts of a whole answer, for callers that do not stream. */
const gather = Effect.fnUntraced(function*(stream: ReturnType<Provider>) {
  const collector = collect()
  const metadata: Array<Response.PartEncoded> = []
  const finish: Array<Response.PartEncoded> = []
  yield* Stream.runForEach(stream, (part) =>
    Effect.sync(() => {
      collector.add(part)
      if (part.type === "response-metadata") metadata.push(part)
      if (part.type === "finish") finish.push(part)
    }))
  const answer = collector.end()
  if (Option.isNone(answer)) {
    return yield* AiError.make({
      module: "Model",
      method: "generateText",
      reason: new AiError.InternalProviderError({ description: "the answer ended before it was finished" })
    })
  }
  const parts = answer.value.parts.map((part): Response.PartEncoded => {
    const about = part.opaque === undefined ? {} : { metadata: part.opaque }
    return part.type === "tool-call"
      ? { type: "tool-call", id: part.id, name: part.name, params: parseObject(part.arguments) ?? part.arguments, ...about }
      : { type: part.type, text: part.text, ...about }
  })
  return [...metadata, ...parts, ...finish]
})

/**
 * The standard `LanguageModel` service over a resolved model. Prompts are text, reasoning and tools; files, and tool
 * choices that demand a call, fail as invalid requests. Answers have at most `maxOutput` tokens (8,192 by default, or
 * what the model can do where that is less).
 */
export const toLanguageModel = (
  resolved: Resolved,
  options?: { readonly maxOutput?: number }
): Effect.Effect<LanguageModel.LanguageModel> => {
  const most = Option.match(resolved.entry, { onNone: () => Infinity, onSome: (entry) => entry.maxOutput })
  const maxOutput = Math.min(options?.maxOutput ?? 8_192, most)
  return LanguageModel.make({
    generateText: (asked) =>
      Effect.flatMap(requestOf(resolved, asked, maxOutput), (request) => gather(resolved.stream(request))),
    streamText: (asked) => Stream.unwrap(Effect.map(requestOf(resolved, asked, maxOutput), resolved.stream)),
    codecTransformer: structuredOutput(resolved.ref)
  })
}

// from effect/ai

const optionsOf = (part: { readonly opaque?: Transcript.Opaque }) => part.opaque === undefined ? {} : { options: part.opaque }

const promptPart = (part: Transcript.AssistantPart): Prompt.AssistantMessagePart =>
  part.type === "tool-call"
    ? Prompt.makePart("tool-call", {
      id: part.id,
      name: part.name,
      params: parseObject(part.arguments) ?? part.arguments,
      providerExecuted: false,
      ...optionsOf(part)
    })
    : Prompt.makePart(part.type, { text: part.text, ...optionsOf(part) })

const promptMessage = (message: Transcript.Message): Prompt.Message => {
  switch (message.role) {
    case "user":
      return Prompt.makeMessage("user", { content: [Prompt.makePart("text", { text: message.text })] })
    case "assistant":
      return Prompt.makeMessage("assistant", { content: message.parts.map(promptPart) })
    case "tool":
      return Prompt.makeMessage("tool", {
        content: message.results.map((result) =>
          Prompt.makePart("tool-result", {
            id: result.id,
            name: result.name,
            isFailure: result.isFailure,
            providerExecuted: false,
            result: parseObject(result.result) ?? result.result
          })
        )
      })
  }
}

const promptOf = (request: Request): Prompt.Prompt =>
  Prompt.fromMessages([
    ...(request.system === "" ? [] : [Prompt.makeMessage("system", { content: request.system })]),
    ...request.messages.map(promptMessage)
  ])

const toolOf = (tool: ToolSpec) =>
  Tool.dynamic(tool.name, { description: tool.description, parameters: { ...tool.parameters } })

type Tools = Record<string, ReturnType<typeof toolOf>>

const toolkitOf = (request: Request): Toolkit.WithHandler<Tools> => ({
  tools: Object.fromEntries(request.tools.map((tool) => [tool.name, toolOf(tool)])),
  handle: () => Effect.die("tools are run by the run, not by the model")
})

const encode = (part: Response.StreamPart<Record<string, Tool.Any>, Response.ToolParametersMode>): ReadonlyArray<Response.StreamPartEncoded> => {
  switch (part.type) {
    case "text-start":
    case "text-delta":
    case "text-end":
    case "reasoning-start":
    case "reasoning-delta":
    case "reasoning-end":
    case "tool-params-start":
    case "tool-params-delta":
    case "tool-params-end":
      return [part]
    case "tool-call":
      return [{ type: "tool-call", id: part.id, name: part.name, params: part.params, providerExecuted: part.providerExecuted, metadata: part.metadata }]
    case "response-metadata":
      return [{ type: "response-metadata", id: part.id, modelId: part.modelId, metadata: part.metadata }]
    case "finish":
      return [{ type: "finish", reason: part.reason, usage: part.usage, metadata: part.metadata }]
    default:
      return []
  }
}

/**
 * A provider over anybody's `LanguageModel`. Tools are offered and left to the run. Structured output is not asked of
 * it, because the service streams text only: such a request fails as invalid.
 */
export const fromLanguageModel = (model: LanguageModel.LanguageModel): Provider => (request) => {
  if (request.output !== undefined) {
    return Stream.fail(invalid("A model made from a LanguageModel service cannot be asked for structured output"))
  }
  const prompt = promptOf(request)
  const parts = request.tools.length === 0
    ? model.streamText({ prompt })
    : model.streamText({ prompt, toolkit: toolkitOf(request), disableToolCallResolution: true, toolCallValidation: "deferred" })
  return Stream.flatMap(parts, (part) => Stream.fromIterable(encode(part)))
}
