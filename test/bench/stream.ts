/** The streaming path: deltas a second from the bytes of an answer to who watches the run, beside a parser written by hand. */
import { ConfigProvider, Effect, Layer, ManagedRuntime, Stream } from "effect"
import { FetchHttpClient } from "effect/http"
import { setImmediate } from "node:timers/promises"
import { Agent, Conductor, Model } from "../../src/index.ts"
import { figure, interleave, median, ratios, spread, table } from "./measure.ts"

/** Deltas of an answer, each a word. */
const deltas = 20_000

const words = Array.from({ length: deltas }, (_, index) => ` word${index % 97}`)

/** How a provider's answers look, and how a parser by hand takes the text out of an event. */
interface Format {
  readonly name: string
  readonly model: string
  readonly events: ReadonlyArray<string>
  readonly textOf: (json: string) => string
}

const data = (value: object, lineEnd = "\n") => `data: ${JSON.stringify(value)}${lineEnd}${lineEnd}`

const event = (type: string, more: object = {}) => `event: ${type}\n${data({ type, ...more })}`

/* oxlint-disable typescript/no-explicit-any -- a parser by hand trusts its provider */
const anthropic: Format = {
  name: "Anthropic",
  model: "anthropic:claude-haiku-4-5",
  events: [
    event("message_start", {
      message: { id: "msg_1", type: "message", role: "assistant", model: "claude-haiku-4-5", content: [], usage: { input_tokens: 10, output_tokens: 1 } }
    }),
    event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
    ...words.map((text) => event("content_block_delta", { index: 0, delta: { type: "text_delta", text } })),
    event("content_block_stop", { index: 0 }),
    event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: deltas } }),
    event("message_stop")
  ],
  textOf: (json) => {
    const value: any = JSON.parse(json)
    return value.type === "content_block_delta" ? value.delta.text : ""
  }
}

const openrouterChunk = (content: string, more: object = {}) =>
  data({
    id: "gen-1780944394-YHhWqeeBNGZ5YRw1oKKN", object: "chat.completion.chunk", created: 1780944394, model: "deepseek/deepseek-v4-pro-0813",
    provider: "DeepInfra", choices: [{ index: 0, delta: { content, role: "assistant" }, finish_reason: null, native_finish_reason: null, ...more }]
  })

const openrouter: Format = {
  name: "OpenRouter",
  model: "openrouter:deepseek/deepseek-v4-pro-0813",
  events: [...words.map((word) => openrouterChunk(word)), openrouterChunk("", { finish_reason: "stop", native_finish_reason: "stop" }), "data: [DONE]\n\n"],
  textOf: (json) => {
    if (json === "[DONE]") return ""
    const value: any = JSON.parse(json)
    return value.choices[0].delta.content
  }
}

const geminiChunk = (text: string, more: object = {}) =>
  data({
    candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0, ...more }],
    usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 }, modelVersion: "gemini-3.8-flash", responseId: "1qv4aOmzFuW"
  }, "\r\n")

const gemini: Format = {
  name: "Gemini",
  model: "google:gemini-3.8-flash",
  events: [...words.map((word) => geminiChunk(word)), geminiChunk("", { finishReason: "STOP" })],
  textOf: (json) => {
    const value: any = JSON.parse(json)
    return value.candidates[0].content.parts[0].text
  }
}
/* oxlint-enable typescript/no-explicit-any */

const formats = [anthropic, openrouter, gemini]

/** The bytes of an answer: one event a piece, as a model writes, or pieces of 16 KiB, as a fast connection hands them over. */
const piecesOf = (format: Format, whole: boolean): ReadonlyArray<Uint8Array> => {
  if (!whole) return format.events.map((text) => Buffer.from(text))
  const bytes = Buffer.from(format.events.join(""))
  return Array.from({ length: Math.ceil(bytes.length / 16_384) }, (_, index) => bytes.subarray(index * 16_384, (index + 1) * 16_384))
}

/** A `fetch` that answers every request with the pieces. */
const fetchOf = (pieces: ReadonlyArray<Uint8Array>): typeof globalThis.fetch => () => {
  let next = 0
  const body = new ReadableStream<Uint8Array>({
    // Each in a turn of the event loop of its own, as a socket hands them over.
    pull: async (controller) => {
      await setImmediate()
      const piece = pieces[next++]
      if (piece === undefined) controller.close()
      // A copy, because a response owns its bytes.
      else controller.enqueue(piece.slice())
    }
  })
  return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }))
}

const text = words.join("")

const check = (who: string, said: string): void => {
  if (said !== text) throw new Error(`${who} read ${said.length} of ${text.length} characters`)
}

/** Splits lines, parses what follows `data: `, and takes the delta. */
const byHand = async (format: Format, fetch: typeof globalThis.fetch): Promise<void> => {
  const response = await fetch("http://127.0.0.1/")
  if (response.body === null) throw new Error("no body")
  const decoder = new TextDecoder()
  let said = ""
  let rest = ""
  for await (const piece of response.body) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) if (line.startsWith("data: ")) said += format.textOf(line.slice(6).trimEnd())
  }
  check("the parser", said)
}

const agentOf = (format: Format) => Agent.make("stream", { instructions: "Write.", model: format.model })

const layerOf = (format: Format, fetch: typeof globalThis.fetch) =>
  Conductor.layerMemory({
    agents: [agentOf(format)],
    models: Layer.fresh(Model.Models.layer).pipe(
      Layer.provideMerge(Model.Catalog.layerShipped),
      Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ANTHROPIC_API_KEY: "k", OPENROUTER_API_KEY: "k", GEMINI_API_KEY: "k" })))
    )
  })

/** A run that is watched from its start to its end. */
const watched = (format: Format) =>
  Effect.gen(function*() {
    let said = ""
    yield* Stream.runForEachArray(Conductor.stream(agentOf(format), "Go."), (seen) =>
      Effect.sync(() => {
        for (const one of seen) if ("_tag" in one && one._tag === "Delta") said += one.text
      }))
    check("who watches", said)
  })

/** The adapter alone, without a run. */
const adapted = (format: Format) =>
  Effect.gen(function*() {
    const { id, stream } = yield* Effect.flatMap(Model.Models, (models) => models.resolve(Effect.runSync(Effect.fromResult(Model.of(format.model)))))
    let said = ""
    yield* Stream.runForEachArray(stream({ model: id, system: "", messages: [{ role: "user", text: "Go." }], tools: [], maxOutput: 1000 }), (parts) =>
      Effect.sync(() => {
        for (const part of parts) if (part.type === "text-delta") said += part.delta
      }))
    check("the adapter", said)
  })

const rate = async (action: () => Promise<void>): Promise<number> => {
  const start = performance.now()
  await action()
  return deltas * 1000 / (performance.now() - start)
}

const measure = async (format: Format, whole: boolean): Promise<ReadonlyArray<string>> => {
  const fetch = fetchOf(piecesOf(format, whole))
  const runtime = ManagedRuntime.make(layerOf(format, fetch))
  try {
    const subjects = {
      plain: () => rate(() => byHand(format, fetch)),
      adapter: () => rate(() => runtime.runPromise(adapted(format))),
      conductor: () => rate(() => runtime.runPromise(watched(format)))
    }
    await interleave(2, subjects)
    const { adapter, conductor, plain } = await interleave(7, subjects)
    const ratio = ratios(conductor, plain)
    return [
      `${format.name}, ${whole ? "16 KiB" : "an event"} a piece`, spread(plain), spread(adapter), spread(conductor), spread(ratio),
      median(ratio) >= 0.2 ? "met" : "MISSED"
    ]
  } finally {
    await runtime.dispose()
  }
}

/** Measures the three formats, with the bytes in large pieces and in small ones. */
export const stream = async (): Promise<void> => {
  console.log(`Stream: deltas a second of answers of ${figure(deltas)} deltas, from the bytes of a response in this process to Conductor.watch in memory;`)
  console.log("beside it the adapter alone, and a parser by hand that keeps nothing. Goal: at least a fifth of the parser by hand.")
  const rows: Array<ReadonlyArray<string>> = []
  for (const whole of [true, false]) for (const format of formats) rows.push(await measure(format, whole))
  table(["format", "by hand", "adapter", "to watch", "to watch / by hand", "goal"], rows)
}
