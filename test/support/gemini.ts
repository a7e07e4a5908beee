import { asking } from "./wire.ts"
import type { Request } from "../../src/Model.ts"
import type { Script } from "./replay.ts"

/** A chunk as `streamGenerateContent` sends it. */
export type Chunk = Readonly<Record<string, unknown>>

/** The bytes of a stream of chunks. */
export const sse = (chunks: ReadonlyArray<Chunk>): string => chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join("")

export const usage = (promptTokenCount: number, candidatesTokenCount: number, more: Chunk = {}) => ({ promptTokenCount, candidatesTokenCount, ...more })

/** A chunk with parts, and what else a chunk may hold. */
export const chunk = (parts: ReadonlyArray<object>, candidate: Chunk = {}, more: Chunk = {}): Chunk => ({
  candidates: [{ content: { role: "model", parts }, index: 0, ...candidate }],
  modelVersion: "gemini-3.8-flash",
  responseId: "resp-1",
  ...more
})

/** The last chunk of an answer. */
export const last = (finishReason: string, parts: ReadonlyArray<object> = [], more: Chunk = {}): Chunk =>
  chunk(parts, { finishReason, ...more }, { usageMetadata: usage(10, 5) })

export const call = (name: string, args: object, more: Chunk = {}) => ({ functionCall: { name, args }, ...more })

export const asked = asking({
  provider: "google",
  model: "gemini-3.8-flash",
  key: "GEMINI_API_KEY",
  baseUrl: "GEMINI_BASE_URL",
  headers: {},
  body: sse([last("STOP", [{ text: "ok" }])])
})

export const { answerOf, ask, atEveryByte, atEveryByteOnce, failureOf, models, playAll, request, resolved, sentFor } = asked

/** What comes of an answer of these chunks, or of another body with the script. */
export const answerTo = (chunks: ReadonlyArray<Chunk>, asked?: Request, script: Partial<Script> = {}) =>
  answerOf({ body: sse(chunks), ...script }, asked)

/** The body of an error as Google writes it. */
export const errorBody = (code: number, status: string, message: string, details: ReadonlyArray<object> = []) =>
  JSON.stringify({ error: { code, message, status, details } })

export const retryInfo = (retryDelay: string) => ({ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay })

export const quota = (quotaId: string, quotaValue = "1000000", quotaMetric = "generativelanguage.googleapis.com/generate_requests") => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations: [{ quotaMetric, quotaId, quotaValue }]
})
