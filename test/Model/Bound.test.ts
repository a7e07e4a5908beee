import { assert, describe, it } from "@effect/vitest"
import { inputBound, type Request } from "../../src/Model.ts"
import { Transcript } from "../../src/Run.ts"
import { type Recorded, recordings } from "../support/wire.ts"

/* oxlint-disable typescript/no-explicit-any -- recorded requests of three formats, looked at by hand */

type Message = Request["messages"][number]

const textOf = (content: any): string => typeof content === "string" ? content : content.map((one: any) => one.text ?? "").join("")

/** The names of calls by their ids, which results do not repeat. */
const names = (messages: ReadonlyArray<Message>) =>
  new Map(messages.flatMap((message) => message.role === "assistant" ? Transcript.toolCallsOf(message.parts).map(({ id, name }) => [id, name] as const) : []))

/** Adds results to the message of results before them, or as one of their own. */
const addResults = (messages: Array<Message>, results: ReadonlyArray<{ readonly id: string; readonly result: string }>): void => {
  const known = names(messages)
  const whole = results.map(({ id, result }) => ({ id, name: known.get(id) ?? id, isFailure: false, result }))
  const last = messages.at(-1)
  if (last?.role === "tool") messages[messages.length - 1] = { role: "tool", results: [...last.results, ...whole] }
  else if (whole.length > 0) messages.push({ role: "tool", results: whole })
}

const fromAnthropic = (body: any): Request => {
  const messages: Array<Message> = []
  for (const { content, role } of body.messages) {
    if (role === "assistant") {
      messages.push({
        role, model: "m", parts: content.map((block: any) =>
          block.type === "tool_use"
            ? { type: "tool-call", id: block.id, name: block.name, arguments: JSON.stringify(block.input) }
            : block.type === "thinking"
            ? { type: "reasoning", text: block.thinking, opaque: { anthropic: { signature: block.signature } } }
            : { type: "text", text: block.text })
      })
      continue
    }
    addResults(messages, content.filter((block: any) => block.type === "tool_result").map((block: any) => ({ id: block.tool_use_id, result: textOf(block.content) })))
    for (const block of content) if (block.type === "text") messages.push({ role: "user", text: block.text })
  }
  return {
    model: "m", maxOutput: 1, messages, system: textOf(body.system ?? ""),
    tools: (body.tools ?? []).map((tool: any) => ({ name: tool.name, description: tool.description, parameters: tool.input_schema }))
  }
}

const fromGemini = (body: any): Request => {
  const messages: Array<Message> = []
  for (const [turn, { parts, role }] of body.contents.entries()) {
    if (role === "model") {
      messages.push({
        role: "assistant", model: "m", parts: parts.map((part: any, index: number) => ({
          ...(part.functionCall === undefined
            ? { type: "text", text: part.text }
            : { type: "tool-call", id: `${turn}_${index}`, name: part.functionCall.name, arguments: JSON.stringify(part.functionCall.args) }),
          ...(part.thoughtSignature === undefined ? {} : { opaque: { google: { thoughtSignature: part.thoughtSignature } } })
        }))
      })
      continue
    }
    const responses = parts.filter((part: any) => part.functionResponse !== undefined)
    addResults(messages, responses.map((part: any, index: number) => ({ id: `${turn - 1}_${index}`, result: JSON.stringify(part.functionResponse.response) })))
    for (const part of parts) if (part.text !== undefined) messages.push({ role: "user", text: part.text })
  }
  return {
    model: "m", maxOutput: 1, messages, system: textOf(body.systemInstruction?.parts ?? ""),
    tools: (body.tools?.[0].functionDeclarations ?? []).map((tool: any) => ({ name: tool.name, description: tool.description, parameters: tool.parameters }))
  }
}

const fromChat = (body: any): Request => {
  const messages: Array<Message> = []
  for (const message of body.messages) {
    if (message.role === "tool") addResults(messages, [{ id: message.tool_call_id, result: textOf(message.content) }])
    else if (message.role === "user") messages.push({ role: "user", text: textOf(message.content) })
    else if (message.role === "assistant") {
      messages.push({
        role: "assistant", model: "m", parts: [
          ...(message.reasoning_details === undefined ? [] : [{ type: "reasoning" as const, text: "", opaque: { openrouter: { reasoning_details: JSON.stringify(message.reasoning_details) } } }]),
          { type: "text", text: textOf(message.content ?? "") },
          ...(message.tool_calls ?? []).map((call: any) => ({ type: "tool-call" as const, id: call.id, name: call.function.name, arguments: call.function.arguments }))
        ]
      })
    }
  }
  return {
    model: "m", maxOutput: 1, messages, system: body.messages.filter((message: any) => message.role === "system").map((message: any) => textOf(message.content)).join(""),
    tools: (body.tools ?? []).map(({ function: tool }: any) => ({ name: tool.name, description: tool.description, parameters: tool.parameters }))
  }
}

/** The last count of that name in a body: counts are cumulative. */
const lastOf = (body: string, name: string): number => Number([...body.matchAll(new RegExp(`"${name}"\\s*:\\s*(\\d+)`, "g"))].at(-1)?.[1] ?? 0)

const sum = (body: string, ...counts: ReadonlyArray<string>): number => counts.reduce((total, name) => total + lastOf(body, name), 0)

const formats = [
  { provider: "anthropic", read: fromAnthropic, prompt: ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"], output: ["output_tokens"] },
  { provider: "gemini", read: fromGemini, prompt: ["promptTokenCount"], output: ["candidatesTokenCount", "thoughtsTokenCount"] },
  { provider: "openrouter", read: fromChat, prompt: ["prompt_tokens"], output: ["completion_tokens"] },
  { provider: "deepseek", read: fromChat, prompt: ["prompt_tokens"], output: ["completion_tokens"] }
] as const

describe("The bound of a request's input", () => {
  for (const { output, prompt, provider, read } of formats) {
    const recorded = recordings(provider).filter(({ status }) => status === 200)
    if (recorded.length === 0) {
      it(`is measured against no recording of ${provider}`, () => {
        assert.isUndefined(process.env["CONDUCTOR_RECORDINGS"])
      })
      continue
    }

    it(`is never below what ${provider} counted, and not far above it once an answer was billed`, () => {
      let before: { readonly recording: Recorded; readonly messages: number } | undefined
      const lines: Array<string> = []
      for (const recording of recorded) {
        const request = read(recording.request)
        assert.isAbove(request.messages.length, 0)
        assert.isUndefined(Transcript.problem(request.messages))
        const counted = sum(recording.body, ...prompt)
        assert.isAbove(counted, 10)
        const bound = inputBound(request)
        assert.isAtLeast(bound, counted, recording.name)
        const figures = [`${recording.name}: ${counted} counted, bound ${bound} (${(bound / counted).toFixed(2)})`]
        // The recording before it is of the same conversation where it is one answer shorter.
        if (before !== undefined && before.messages < request.messages.length) {
          const tokens = sum(before.recording.body, ...prompt, ...output)
          const measured = inputBound(request, { messages: before.messages + 1, tokens })
          assert.isAtLeast(measured, counted, recording.name)
          assert.isAtMost(measured, counted * 3, recording.name)
          figures.push(`after the bill before it ${measured} (${(measured / counted).toFixed(2)})`)
        }
        lines.push(figures.join(", "))
        before = { recording, messages: request.messages.length }
      }
      console.log(lines.join("\n"))
    })
  }
})
