import * as Option from "effect/Option"
import * as Money from "../../Money.ts"
import type { Transcript } from "../../Run.ts"
import type { Entry } from "../Catalog.ts"
import { forbiddenHosts } from "../Forbidden.ts"
import { parseArray, parseObject } from "../Json.ts"
import { sendable } from "../Opaque.ts"
import type { Request } from "../Provider.ts"

type Message = Readonly<Record<string, unknown>>

/** Other providers' ids may hold characters that a host refuses; a model's own go back as they came. */
const callId = (id: string, own: boolean): string =>
  own ? id : id.replace(/[^a-zA-Z0-9_-]/g, (character) => `_${character.charCodeAt(0).toString(16)}_`)

/** Arguments as the model wrote them, because hosts read them: what is no object is wrapped in one. */
const argumentsOf = (call: Transcript.ToolCallPart): string =>
  call.arguments.trim() === ""
    ? "{}"
    : parseObject(call.arguments) === undefined
    ? JSON.stringify({ malformed_json: call.arguments })
    : call.arguments

/**
 * Reasoning goes back as the details that came with it; as text where the model demands it and there are none, even if it
 * is the empty text of another model's answer. Otherwise it stays here.
 */
const reasoningOf = (parts: ReadonlyArray<Transcript.AssistantPart>, entry: Entry | undefined): Message => {
  // Reading and writing again what was written from JSON gives the same bytes.
  const details = parts.flatMap((part) => parseArray(part.opaque?.["openrouter"]?.["reasoning_details"] ?? "") ?? [])
  if (details.length > 0) return { reasoning_details: details }
  if (entry?.returnsReasoning !== true) return {}
  return { reasoning_content: parts.flatMap((part) => part.type === "reasoning" ? [part.text] : []).join("") }
}

const messages = (request: Request, system: string, entry: Entry | undefined): Array<Message> => {
  const ref = `openrouter:${request.model}`
  const out: Array<Message> = system.trim() === "" ? [] : [{ role: "system", content: system }]
  let own = true
  for (const message of request.messages) {
    switch (message.role) {
      case "user":
        if (message.text.trim() !== "") out.push({ role: "user", content: message.text })
        break
      case "tool":
        for (const { id, result } of message.results) out.push({ role: "tool", tool_call_id: callId(id, own), content: result })
        break
      case "assistant": {
        own = message.model === ref
        const parts = sendable(message, ref)
        const content = parts.flatMap((part) => part.type === "text" ? [part.text] : []).join("")
        const calls = parts.flatMap((part) => part.type === "tool-call" ? [part] : [])
        const reasoning = reasoningOf(parts, entry)
        // An answer of nothing is refused by several hosts.
        if (content.trim() === "" && calls.length === 0 && !("reasoning_details" in reasoning)) break
        out.push({
          role: "assistant",
          content,
          ...reasoning,
          ...(calls.length === 0 ? {} : {
            tool_calls: calls.map((call) => ({
              id: callId(call.id, own),
              type: "function",
              function: { name: call.name, arguments: argumentsOf(call) }
            }))
          })
        })
      }
    }
  }
  return out
}

type Output = NonNullable<Request["output"]>

/** What a model without structured output is told instead. */
const asked = (system: string, output: Output): string => {
  const told = `Answer with one JSON value and nothing else: no prose, no code fence. It must match this JSON Schema ("${output.name}"):\n${JSON.stringify(output.schema)}`
  return system.trim() === "" ? told : `${system}\n\n${told}`
}

/** Names of formats are short and plain. */
const formatName = (name: string): string => name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "answer"

/**
 * Which hosts may answer: none that is dearer than what was set aside, in dollars per million tokens, and with a format none that
 * cannot keep to it and would answer in prose.
 */
const hosts = (entry: Entry | undefined, formats: boolean) => ({
  ignore: forbiddenHosts,
  ...(entry?.ceiling === undefined
    ? {}
    : { max_price: { prompt: Number(Money.format(entry.ceiling.input)), completion: Number(Money.format(entry.ceiling.output)) } }),
  ...(formats ? { require_parameters: true } : {})
})

/**
 * The body of a request. It names one model and leaves the choice among that model's hosts to OpenRouter, but never the
 * choice of another model. Nothing here depends on the time or on chance, so that equal histories hit the cache.
 */
export const body = (request: Request, found: Option.Option<Entry>) => {
  const entry = Option.getOrUndefined(found)
  const { effort, output } = request
  const formats = output !== undefined && entry?.structuredOutput === true
  const system = output !== undefined && !formats ? asked(request.system, output) : request.system
  return {
    model: request.model,
    messages: messages(request, system, entry),
    max_tokens: Math.min(request.maxOutput, entry?.maxOutput ?? request.maxOutput),
    stream: true,
    // OpenRouter needs no asking; gateways that stand in for it do.
    stream_options: { include_usage: true },
    ...(request.tools.length === 0 ? {} : {
      tools: request.tools.map(({ description, name, parameters }) => ({
        type: "function",
        function: { name, description, parameters: { ...parameters, type: "object" } }
      }))
    }),
    ...(effort !== undefined && entry?.efforts.includes(effort) === true ? { reasoning: { effort } } : {}),
    provider: hosts(entry, formats),
    ...(output !== undefined && formats
      ? { response_format: { type: "json_schema", json_schema: { name: formatName(output.name), strict: true, schema: output.schema } } }
      : {}),
    // Claude's hosts cache nothing unless asked to.
    ...(request.model.startsWith("anthropic/") ? { cache_control: { type: "ephemeral" } } : {})
  }
}
