import { ConfigProvider, Effect, Layer } from "effect"
import { assert } from "@effect/vitest"
import { Catalog, describe as describeFailure, Models, type Request } from "../../src/Model.ts"
import { ModelRef } from "../../src/Run.ts"
import { type Check, type Outcome, play } from "./anthropic.ts"
import { replay, type Script } from "./replay.ts"

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

export const request = (more: Partial<Request> = {}): Request => ({
  model: "gemini-3.8-flash",
  system: "",
  messages: [{ role: "user", text: "Hello" }],
  tools: [],
  maxOutput: 1000,
  ...more
})

/** The models of the shipped catalogue with Gemini at the given address. */
export const models = (url: string, more: Readonly<Record<string, string>> = {}) =>
  // Fresh, because a layer built around this one is shared by reference and would bring its own address.
  Layer.fresh(Models.layer).pipe(
    Layer.provideMerge(Catalog.layerShipped),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ GEMINI_API_KEY: "test-key", GEMINI_BASE_URL: url, ...more })))
  )

/** A model of Gemini's among the models of the context. */
export const gemini = Effect.flatMap(Models, (models) => models.resolve(ModelRef.make("google:gemini-3.8-flash")))

/** Asks Gemini at the given address. */
export const ask = (url: string, asked: Request = request()): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const { resolve } = yield* Models
    const model = yield* resolve(ModelRef.make(`google:${asked.model}`))
    return yield* play(model.stream(asked))
  }).pipe(Effect.provide(models(url)), Effect.orDie)

/** What comes of an answer of these chunks, or of another body with the script. */
export const answerTo = (chunks: ReadonlyArray<Chunk>, asked?: Request, script: Partial<Script> = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay({ body: sse(chunks), ...script })
    return yield* ask(server.url, asked)
  }))

/** How the exchange of a script fails. */
export const failureOf = (script: Script, asked?: Request) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay(script)
    const { error } = yield* ask(server.url, asked)
    assert.isDefined(error)
    return describeFailure(error)
  }))

/** The body of an error as Google writes it. */
export const errorBody = (code: number, status: string, message: string, details: ReadonlyArray<object> = []) =>
  JSON.stringify({ error: { code, message, status, details } })

export const retryInfo = (retryDelay: string) => ({ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay })

export const quota = (quotaId: string, quotaValue = "1000000", quotaMetric = "generativelanguage.googleapis.com/generate_requests") => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations: [{ quotaMetric, quotaId, quotaValue }]
})

/** The request that the adapter sends, and its body. */
export const sentFor = (asked: Request) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay({ body: sse([last("STOP", [{ text: "ok" }])]) })
    const { error } = yield* ask(server.url, asked)
    assert.isUndefined(error)
    const received = server.received[0]
    assert.isDefined(received)
    return { headers: received.headers, path: received.path, body: JSON.parse(received.body) }
  }))

/** Plays scripts over one provider, each once. */
export const playAll = (scripts: ReadonlyArray<Script>, check: Check, asked: Request = request()) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay(...scripts)
    const model = yield* Effect.provide(gemini, models(server.url))
    yield* Effect.forEach(scripts, () => Effect.map(play(model.stream(asked)), check), { concurrency: 8, discard: true })
    assert.strictEqual(server.received.length, scripts.length)
  }))

/** One body in two pieces, cut after each of its bytes, and in pieces of one byte. */
export const atEveryByte = (body: string, check: Check) =>
  playAll([
    ...Array.from({ length: Buffer.byteLength(body) - 1 }, (_, index): Script => ({ body, cuts: [index + 1] })),
    { body, pieces: 1 }
  ], check)

/** The same for many bodies: every byte ends a piece once, 64 bytes from the next cut, so that 65 exchanges do for one. */
export const atEveryByteOnce = (body: string, check: Check) => {
  const bytes = Buffer.byteLength(body)
  const cuts = (first: number) => Array.from({ length: Math.ceil((bytes - first) / 64) }, (_, index) => first + index * 64)
  return playAll([
    ...Array.from({ length: 64 }, (_, index): Script => ({ body, cuts: cuts(index + 1).filter((cut) => cut < bytes) })),
    { body, pieces: 1 }
  ], check)
}
