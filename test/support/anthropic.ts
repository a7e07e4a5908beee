import type { Request } from "../../src/Model.ts"
import type { Script } from "./replay.ts"
import { asking } from "./wire.ts"

export { type Check, type Outcome, play, type Recorded, recordings } from "./wire.ts"

/** An event as the Messages API sends it. */
export type Event = { readonly type: string } & Readonly<Record<string, unknown>>

/** The bytes of a stream of events. */
export const sse = (events: ReadonlyArray<Event>): string =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("")

export const usage = (input: number, output: number, more: Readonly<Record<string, unknown>> = {}) => ({
  input_tokens: input,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: output,
  ...more
})

export const start = (use: object = usage(10, 1)): Event => ({
  type: "message_start",
  message: {
    id: "msg_1", type: "message", role: "assistant", model: "claude-haiku-4-5-20251001", content: [],
    stop_reason: null, stop_sequence: null, usage: use
  }
})

export const block = (index: number, content: object, ...deltas: ReadonlyArray<object>): ReadonlyArray<Event> => [
  { type: "content_block_start", index, content_block: content },
  ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
  { type: "content_block_stop", index }
]

export const text = (index: number, ...deltas: ReadonlyArray<string>) =>
  block(index, { type: "text", text: "" }, ...deltas.map((text) => ({ type: "text_delta", text })))

export const toolUse = (index: number, id: string, name: string, ...deltas: ReadonlyArray<string>) =>
  block(index, { type: "tool_use", id, name, input: {} }, ...deltas.map((partial_json) => ({ type: "input_json_delta", partial_json })))

export const end = (stop_reason: string | null, use: object = { output_tokens: 5 }, more: object = {}): ReadonlyArray<Event> => [
  { type: "message_delta", delta: { stop_reason, stop_sequence: null, ...more }, usage: use },
  { type: "message_stop" }
]

export const headers = { "request-id": "req_1" }

export const asked = asking({
  provider: "anthropic",
  model: "claude-haiku-4-5-20251001",
  key: "ANTHROPIC_API_KEY",
  baseUrl: "ANTHROPIC_BASE_URL",
  headers,
  body: sse([start(), ...text(0, "ok"), ...end("end_turn")])
})

export const { ask, atEveryByte, atEveryByteOnce, failureOf, models, request, resolved, sentFor } = asked

/** What comes of an answer of these events, or of another body with the script. */
export const answerTo = (events: ReadonlyArray<Event>, request?: Request, script: Partial<Script> = {}) =>
  asked.answerOf({ body: sse(events), ...script }, request)

/** The body of an error. */
export const errorBody = (type: string, message: string, details?: object) =>
  JSON.stringify({ type: "error", error: { type, message, ...(details === undefined ? {} : { details }) }, request_id: "req_9" })
