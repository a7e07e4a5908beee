import * as Option from "effect/Option"
import type { Transcript } from "../../Run.ts"
import type { Entry } from "../Catalog.ts"
import { parseObject } from "../Json.ts"
import { sendable } from "../Opaque.ts"
import type { Effort, Request, ToolSpec } from "../Provider.ts"

/** A part of a message as Gemini reads it. */
export type Part = {
  readonly text?: string
  readonly thought?: true
  readonly functionCall?: { readonly id?: string; readonly name: string; readonly args: object }
  readonly functionResponse?: { readonly id?: string; readonly name: string; readonly response: object }
  readonly thoughtSignature?: string
}

interface Content {
  readonly role: "user" | "model"
  readonly parts: Array<Part>
}

/** The generation of a model (3.1 of `gemini-3.1-pro-preview`), infinite for a Gemini without one (`gemini-flash-latest`). */
const generationOf = (model: string): number => {
  if (!model.startsWith("gemini-")) return 0
  const generation = Number.parseFloat(model.slice("gemini-".length))
  return Number.isNaN(generation) ? Infinity : generation
}

/**
 * Stands for the signature of a call that this model did not make: Gemini 3 and later answer 400 to a step whose first
 * call has none, and take this word instead (https://ai.google.dev/gemini-api/docs/thought-signatures). It is sent for
 * every such call and not only in the turn where it is demanded, so that a prefix once sent stays what it was.
 */
const unsigned = "skip_thought_signature_validator"

const signatureOf = (part: Transcript.AssistantPart): { readonly thoughtSignature?: string } => {
  const signature = part.opaque?.["google"]?.["thoughtSignature"]
  return signature === undefined ? {} : { thoughtSignature: signature }
}

const idOf = (part: Transcript.AssistantPart | undefined): { readonly id?: string } => {
  const id = part?.opaque?.["google"]?.["id"]
  return id === undefined ? {} : { id }
}

/** A part of an answer as it goes back, each where it was; nothing where there is nothing to tell. */
const answered = (part: Transcript.AssistantPart): ReadonlyArray<Part> => {
  const signature = signatureOf(part)
  switch (part.type) {
    case "text":
      return part.text === "" && signature.thoughtSignature === undefined ? [] : [{ text: part.text, ...signature }]
    case "reasoning":
      // A summary of thoughts that is not signed is of no use to the model, and would be paid for.
      return signature.thoughtSignature === undefined ? [] : [{ text: part.text, thought: true, ...signature }]
    case "tool-call": {
      const args = parseObject(part.arguments) ?? { malformed_json: part.arguments }
      return [{ functionCall: { ...idOf(part), name: part.name, args }, ...signature }]
    }
  }
}

/** The JSON that a text holds where that text is its only spelling, else the text: large numbers would change. */
const valueOf = (text: string): unknown => {
  try {
    const value: unknown = JSON.parse(text)
    return JSON.stringify(value) === text ? value : text
  } catch {
    return text
  }
}

/** Messages in turns of user and model: neighbours of one role become one. */
const contents = (request: Request): ReadonlyArray<Content> => {
  const isStrict = generationOf(request.model) >= 3
  const out: Array<Content> = []
  let calls: ReadonlyArray<Transcript.AssistantPart> = []
  const add = (role: Content["role"], parts: ReadonlyArray<Part>): void => {
    const last = out.at(-1)
    if (parts.length === 0) return
    if (last?.role === role) last.parts.push(...parts)
    else out.push({ role, parts: [...parts] })
  }
  for (const message of request.messages) {
    switch (message.role) {
      case "user":
        add("user", message.text.trim() === "" ? [] : [{ text: message.text }])
        break
      case "assistant": {
        calls = sendable(message, `google:${request.model}`)
        const parts = calls.flatMap(answered)
        const first = parts.findIndex((part) => part.functionCall !== undefined)
        const call = parts[first]
        if (isStrict && call !== undefined && call.thoughtSignature === undefined) parts[first] = { ...call, thoughtSignature: unsigned }
        add("model", parts)
        break
      }
      case "tool":
        add("user", message.results.map((result): Part => ({
          functionResponse: {
            ...idOf(calls.find((part) => part.type === "tool-call" && part.id === result.id)),
            name: result.name,
            response: result.isFailure ? { error: result.result } : { output: valueOf(result.result) }
          }
        })))
    }
  }
  return out
}

/** A schema without properties is refused where parameters are expected, and is not needed. */
const declaration = ({ description, name, parameters }: ToolSpec): object => {
  const properties: unknown = "properties" in parameters ? parameters.properties : undefined
  const isEmpty = typeof properties !== "object" || properties === null || Object.keys(properties).length === 0
  return { name, description, ...(isEmpty ? {} : { parametersJsonSchema: parameters }) }
}

/** Tokens of thought for models before Gemini 3, within what each of them takes (Pro from 128 to 32,768, Flash to 24,576). */
const budgets: Readonly<Record<Effort, number>> = { low: 2_048, medium: 8_192, high: 24_576, xhigh: 24_576, max: 24_576 }

const thinking = (request: Request, known: Entry | undefined): object => {
  if (known === undefined || known.thinking === "none") return {}
  const { effort } = request
  const choice = effort === undefined
    ? {}
    : generationOf(request.model) < 3
    ? { thinkingBudget: budgets[effort] }
    : known.efforts.includes(effort)
    ? { thinkingLevel: effort }
    : {}
  return { thinkingConfig: { includeThoughts: true, ...choice } }
}

const wish = (schema: object): string =>
  `Give your final answer as JSON only, without any other text and without a Markdown fence, valid against this JSON Schema:\n${JSON.stringify(schema)}`

/** The body of a request. Nothing here depends on the time or on chance, so that equal histories hit Gemini's own cache. */
export const body = (request: Request, entry: Option.Option<Entry>): object => {
  const known = Option.getOrUndefined(entry)
  const { output } = request
  // Before Gemini 3 a request with tools may not ask for JSON.
  const isAskedInWords = output !== undefined && request.tools.length > 0 && generationOf(request.model) < 3
  const system = [request.system, ...(isAskedInWords ? [wish(output.schema)] : [])].filter((text) => text.trim() !== "").join("\n\n")
  return {
    contents: contents(request),
    ...(system === "" ? {} : { systemInstruction: { parts: [{ text: system }] } }),
    ...(request.tools.length === 0 ? {} : { tools: [{ functionDeclarations: request.tools.map(declaration) }] }),
    generationConfig: {
      maxOutputTokens: Math.min(request.maxOutput, known?.maxOutput ?? request.maxOutput),
      ...(output === undefined || isAskedInWords ? {} : { responseMimeType: "application/json", responseJsonSchema: output.schema }),
      ...thinking(request, known)
    }
  }
}
