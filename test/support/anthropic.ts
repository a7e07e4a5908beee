import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { ConfigProvider, Effect, Layer, Option, Stream } from "effect"
import type { AiError, Response } from "effect/ai"
import { assert } from "@effect/vitest"
import { Answer, Catalog, describe as describeFailure, Models, type Request } from "../../src/Model.ts"
import { ModelRef } from "../../src/Run.ts"
import { replay, type Script } from "./replay.ts"

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

/** The stream of events that a message, answered whole, would have come as. */
export const streamed = (message: {
  readonly content: ReadonlyArray<Readonly<Record<string, unknown>> & { readonly type: string }>
  readonly usage: object
  readonly stop_reason: string
}): string =>
  sse([
    { type: "message_start", message: { ...message, content: [], stop_reason: null } },
    ...message.content.flatMap((content, index) => {
      switch (content.type) {
        case "text":
          return block(index, { ...content, text: "" }, { type: "text_delta", text: content["text"] })
        case "thinking":
          return block(
            index,
            { ...content, thinking: "", signature: "" },
            { type: "thinking_delta", thinking: content["thinking"] },
            { type: "signature_delta", signature: content["signature"] }
          )
        case "tool_use":
          return block(index, { ...content, input: {} }, { type: "input_json_delta", partial_json: JSON.stringify(content["input"]) })
        default:
          return block(index, content)
      }
    }),
    ...end(message.stop_reason, message.usage)
  ])

export const request = (more: Partial<Request> = {}): Request => ({
  model: "claude-haiku-4-5-20251001",
  system: "",
  messages: [{ role: "user", text: "Hello" }],
  tools: [],
  maxOutput: 1000,
  ...more
})

/** The models of the shipped catalogue with Anthropic at the given address. */
export const models = (url: string, more: Readonly<Record<string, string>> = {}) =>
  // Fresh, because a layer built around this one is shared by reference and would bring its own address.
  Layer.fresh(Models.layer).pipe(
    Layer.provideMerge(Catalog.layerShipped),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ANTHROPIC_API_KEY: "sk-test", ANTHROPIC_BASE_URL: url, ...more })))
  )

/** What a stream gave before it ended: its parts, the answer if it finished, the failure if it failed. */
export interface Outcome {
  readonly parts: ReadonlyArray<Response.StreamPartEncoded>
  readonly answer: Answer.Answer | undefined
  readonly error: AiError.AiError | undefined
}

export const play = (stream: Stream.Stream<Response.StreamPartEncoded, AiError.AiError>): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const parts: Array<Response.StreamPartEncoded> = []
    const collector = Answer.collect()
    const error = yield* Stream.runForEach(stream, (part) =>
      Effect.sync(() => {
        parts.push(part)
        collector.add(part)
      })).pipe(Effect.as(undefined), Effect.catch((error) => Effect.succeed(error)))
    return { parts, answer: Option.getOrUndefined(collector.end()), error }
  })

/** Asks Claude at the given address. */
export const ask = (url: string, asked: Request = request()): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const { resolve } = yield* Models
    const model = yield* resolve(ModelRef.make(`anthropic:${asked.model}`))
    return yield* play(model.stream(asked))
  }).pipe(Effect.provide(models(url)), Effect.orDie)

export const headers = { "request-id": "req_1" }

/** What comes of an answer of these events, or of another body with the script. */
export const answerTo = (events: ReadonlyArray<Event>, asked?: Request, script: Partial<Script> = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay({ body: sse(events), headers, ...script })
    return yield* ask(server.url, asked)
  }))

/** How the exchange of a script fails. */
export const failureOf = (script: Script) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay(script)
    const { error } = yield* ask(server.url)
    assert.isDefined(error)
    return describeFailure(error)
  }))

/** The body of an error. */
export const errorBody = (type: string, message: string, details?: object) =>
  JSON.stringify({ type: "error", error: { type, message, ...(details === undefined ? {} : { details }) }, request_id: "req_9" })

/** The body of the request that the adapter sends. */
export const sentFor = (asked: Request) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay({ body: sse([start(), ...text(0, "ok"), ...end("end_turn")]) })
    const { error } = yield* ask(server.url, asked)
    assert.isUndefined(error)
    const received = server.received[0]
    assert.isDefined(received)
    return { headers: received.headers, path: received.path, body: JSON.parse(received.body) }
  }))

/** A model of Claude's among the models of the context. */
export const claude = Effect.flatMap(Models, (models) => models.resolve(ModelRef.make("anthropic:claude-haiku-4-5-20251001")))

export type Check = (outcome: Outcome) => void

/** Plays scripts over one client, each once. */
export const playAll = (scripts: ReadonlyArray<Script>, check: Check) =>
  Effect.scoped(Effect.gen(function*() {
    const server = yield* replay(...scripts)
    const model = yield* Effect.provide(claude, models(server.url))
    yield* Effect.forEach(scripts, () => Effect.map(play(model.stream(request())), check), { concurrency: 8, discard: true })
    assert.strictEqual(server.received.length, scripts.length)
  }))

/** One body in two pieces, cut after each of its bytes, and in pieces of one byte. */
export const atEveryByte = (body: string, check: Check) =>
  playAll([
    ...Array.from({ length: Buffer.byteLength(body) - 1 }, (_, index): Script => ({ body, headers, cuts: [index + 1] })),
    { body, headers, pieces: 1 }
  ], check)

/** The same for many bodies: every byte ends a piece once, 64 bytes from the next cut, so that 65 exchanges do for one. */
export const atEveryByteOnce = (body: string, check: Check) => {
  const bytes = Buffer.byteLength(body)
  const cuts = (first: number) => Array.from({ length: Math.ceil((bytes - first) / 64) }, (_, index) => first + index * 64)
  return playAll([
    ...Array.from({ length: 64 }, (_, index): Script => ({ body, headers, cuts: cuts(index + 1).filter((cut) => cut < bytes) })),
    { body, headers, pieces: 1 }
  ], check)
}

/** One recorded exchange. */
export interface Recorded {
  readonly name: string
  readonly request: Readonly<Record<string, unknown>>
  readonly status: number
  readonly body: string
}

const folder = process.env["CONDUCTOR_RECORDINGS"] ?? ""

/** The recorded exchanges of one provider, or none where `CONDUCTOR_RECORDINGS` names no folder. */
export const recordings = (provider: string): ReadonlyArray<Recorded> => {
  if (folder === "") {
    console.log(`CONDUCTOR_RECORDINGS is not set: no recorded ${provider} exchange is played`)
    return []
  }
  if (!existsSync(folder)) throw new Error(`CONDUCTOR_RECORDINGS names ${folder}, which does not exist`)
  return readdirSync(folder).filter((file) => file.startsWith(`${provider}-`) && file.endsWith(".json")).flatMap((file) => {
    const exchanges: ReadonlyArray<{
      readonly request: { readonly body: string | Readonly<Record<string, unknown>> }
      readonly response: { readonly status: number; readonly body: string }
    }> = JSON.parse(readFileSync(join(folder, file), "utf8"))
    return exchanges.map(({ request, response }, index) => ({
      name: `${file.replace(/\.json$/, "")} #${index + 1}`,
      request: typeof request.body === "string" ? JSON.parse(request.body) : request.body,
      status: response.status,
      body: response.body
    }))
  })
}
