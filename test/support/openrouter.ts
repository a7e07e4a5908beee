import type { Request } from "../../src/Model.ts"
import type { Script } from "./replay.ts"
import { asking } from "./wire.ts"

export { type Check, type Outcome, play, recordings, stored } from "./wire.ts"

/** A chunk as OpenRouter sends it, or a line of its own. */
export type Chunk = string | Readonly<Record<string, unknown>>

export const processing = ": OPENROUTER PROCESSING"

/** The bytes of a stream of chunks. */
export const sse = (chunks: ReadonlyArray<Chunk>, last = "data: [DONE]\n\n"): string =>
  chunks.map((chunk) => typeof chunk === "string" ? `${chunk}\n\n` : `data: ${JSON.stringify(chunk)}\n\n`).join("") + last

/** A chunk with these fields of its choice. */
export const chunk = (choice: object, more: object = {}): Chunk => ({
  id: "gen-1",
  object: "chat.completion.chunk",
  created: 1786403070,
  model: "deepseek/deepseek-v4-pro-0813",
  provider: "DeepInfra",
  choices: [{ index: 0, finish_reason: null, native_finish_reason: null, ...choice }],
  ...more
})

export const delta = (fields: object): Chunk => chunk({ delta: { role: "assistant", content: "", ...fields } })

export const text = (...deltas: ReadonlyArray<string>): ReadonlyArray<Chunk> => deltas.map((content) => delta({ content }))

export const toolCall = (...deltas: ReadonlyArray<object>): Chunk => delta({ content: null, tool_calls: deltas })

export const usage = (prompt: number, completion: number, more: object = {}) => ({
  prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion, ...more
})

/** The end twice, as OpenRouter sends it: once for itself, once with the usage. */
export const end = (finish: string, native: string, use: object = usage(10, 5, { cost: 0.00001 })): ReadonlyArray<Chunk> => {
  const choice = { delta: { role: "assistant", content: "" }, finish_reason: finish, native_finish_reason: native }
  return [chunk(choice), chunk(choice, { usage: use })]
}

export const asked = asking({
  provider: "openrouter",
  model: "deepseek/deepseek-v4-pro-0813",
  key: "OPENROUTER_API_KEY",
  baseUrl: "OPENROUTER_BASE_URL",
  headers: { "x-generation-id": "gen-1" },
  body: sse([...text("ok"), ...end("stop", "stop")])
})

export const { ask, atEveryByte, atEveryByteOnce, failureOf, models, request, sentFor } = asked

/** What comes of an answer of these chunks, or of another body with the script. */
export const answerTo = (chunks: ReadonlyArray<Chunk>, script: Partial<Script> = {}, request?: Request) =>
  asked.answerOf({ body: sse(chunks), ...script }, request)

/** The body of an error. */
export const errorBody = (code: number | string, message: string, metadata?: object) =>
  JSON.stringify({ error: { code, message, ...(metadata === undefined ? {} : { metadata }) }, user_id: "user_1" })
