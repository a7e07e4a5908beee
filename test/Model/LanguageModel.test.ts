import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { AiError, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { Catalog, describe as describeFailure, fromLanguageModel, Models, type Provider, type Request, Scripted, structuredOutput, toLanguageModel } from "../../src/Model.ts"
import { ModelRef } from "../../src/Run.ts"
import { end, models, play, request, sse, start, text } from "../support/anthropic.ts"
import { replay } from "../support/replay.ts"

/** The standard service over a provider, and what it was asked. */
const serviceOver = (provider: Provider, ref = "scripted:demo") =>
  Effect.gen(function*() {
    const asked: Array<Request> = []
    const name = ref.slice(0, ref.indexOf(":"))
    const spy: Provider = (request) => {
      asked.push(request)
      return provider(request)
    }
    const resolved = yield* Effect.flatMap(Models, (models) => models.resolve(ModelRef.make(ref))).pipe(
      Effect.provide(Models.layerOf({ [name]: spy }).pipe(Layer.provide(Catalog.layerShipped))), Effect.orDie)
    const model = yield* toLanguageModel(resolved, { maxOutput: 500 })
    return { asked, model }
  })

const Weather = Tool.make("weather", { description: "Tells the weather", parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
const toolkit = Toolkit.make(Weather)
const handlers = toolkit.toLayer({ weather: ({ city }) => Effect.succeed(`rain in ${city}`) })

describe("toLanguageModel", () => {
  it.effect("generates text, with reasoning, usage and finish", () =>
    Effect.gen(function*() {
      const { asked, model } = yield* serviceOver(Scripted.make([{ reasoning: "hm", signature: "s", text: "Hello" }]))
      const response = yield* model.generateText({ prompt: [{ role: "system", content: "Be" }, { role: "system", content: "brief" }, { role: "user", content: "Hi" }] })
      assert.strictEqual(response.text, "Hello")
      assert.strictEqual(response.reasoningText, "hm")
      assert.strictEqual(response.finishReason, "stop")
      assert.strictEqual(response.usage.outputTokens.total, 5)
      assert.deepStrictEqual(asked[0], { model: "demo", system: "Be\n\nbrief", messages: [{ role: "user", text: "Hi" }], tools: [], maxOutput: 500 })
    }))

  it.effect("streams", () =>
    Effect.gen(function*() {
      const { model } = yield* serviceOver(Scripted.make(["Hello"], { pieces: 2 }))
      const parts = yield* Stream.runCollect(model.streamText({ prompt: "Hi" }))
      assert.deepStrictEqual(parts.filter((part) => part.type === "text-delta").map((part) => part.delta), ["He", "ll", "o"])
      assert.strictEqual(parts.at(-1)?.type, "finish")
    }))

  it.effect("runs tools, and sends history back with what is opaque", () =>
    Effect.gen(function*() {
      const { asked, model } = yield* serviceOver(Scripted.make([
        { reasoning: "hm", signature: "sig", toolCalls: [{ name: "weather", params: { city: "Lisbon" } }] },
        { expect: "rain in Lisbon", text: "Take an umbrella." }
      ]))
      const first = yield* model.generateText({ prompt: "Weather?", toolkit })
      assert.strictEqual(first.toolResults[0]?.result, "rain in Lisbon")
      assert.strictEqual(asked[0]?.tools[0]?.name, "weather")
      assert.strictEqual(asked[0]?.tools[0]?.description, "Tells the weather")
      assert.deepInclude(asked[0]?.tools[0]?.parameters, { type: "object", required: ["city"] })
      const history = Prompt.concat(Prompt.make("Weather?"), Prompt.fromResponseParts(first.content))
      const second = yield* model.generateText({ prompt: history, toolkit })
      assert.strictEqual(second.text, "Take an umbrella.")
      assert.deepStrictEqual(asked[1]?.messages, [
        { role: "user", text: "Weather?" },
        {
          role: "assistant", model: "scripted:demo", parts: [
            { type: "reasoning", text: "hm", opaque: { scripted: { signature: "sig" } } },
            { type: "tool-call", id: "call_1_1", name: "weather", arguments: "{\"city\":\"Lisbon\"}" }
          ]
        },
        { role: "tool", results: [{ id: "call_1_1", name: "weather", isFailure: false, result: "rain in Lisbon" }] }
      ])
    }).pipe(Effect.provide(handlers)))

  it.effect("offers no tool where none may be used, and refuses to demand one", () =>
    Effect.gen(function*() {
      const { asked, model } = yield* serviceOver(Scripted.make(["ok"]))
      yield* model.generateText({ prompt: "Hi", toolkit, toolChoice: "none" })
      assert.deepStrictEqual(asked[0]?.tools, [])
      yield* model.generateText({ prompt: "Hi", toolkit, toolChoice: { oneOf: ["weather"] } })
      assert.strictEqual(asked[1]?.tools.length, 1)
      for (const toolChoice of ["required", { tool: "weather" }, { mode: "required", oneOf: ["weather"] }] as const) {
        const error = yield* Effect.flip(model.generateText({ prompt: "Hi", toolkit, toolChoice }))
        assert.isTrue(AiError.isAiError(error) && error.reason._tag === "InvalidRequestError")
      }
      assert.strictEqual(asked.length, 2)
    }).pipe(Effect.provide(handlers)))

  it.effect("generates objects by the provider's own form of the schema", () =>
    Effect.gen(function*() {
      const schema = Schema.Struct({ city: Schema.String, note: Schema.optionalKey(Schema.String) })
      const { asked, model } = yield* serviceOver(Scripted.make(["{\"city\":\"Lisbon\",\"note\":null}"]), "anthropic:claude-opus-5-5")
      const response = yield* model.generateObject({ prompt: "Where?", schema, objectName: "Place" })
      assert.strictEqual(response.value.city, "Lisbon")
      assert.strictEqual(asked[0]?.output?.name, "Place")
      assert.deepInclude(asked[0]?.output?.schema, { additionalProperties: false })
      assert.strictEqual(structuredOutput(ModelRef.make("scripted:demo")), LanguageModel.defaultCodecTransformer)
    }))

  it.effect("refuses files and schemas that cannot be told, by a typed failure", () =>
    Effect.gen(function*() {
      const { model } = yield* serviceOver(Scripted.make(["ok"]), "anthropic:claude-opus-5-5")
      const file = yield* Effect.flip(model.generateText({
        prompt: [{ role: "user", content: [{ type: "file", mediaType: "text/plain", data: "x" }] }]
      }))
      assert.include(describeFailure(file).message, "Files cannot be sent yet")
      interface Tree { readonly inner: ReadonlyArray<Tree> }
      const Tree: Schema.Codec<Tree> = Schema.Struct({ inner: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree)) })
      const recursive = yield* Effect.flip(model.generateObject({ prompt: "?", schema: Schema.Struct({ tree: Tree }) }))
      assert.strictEqual(recursive._tag, "AiError")
    }))

  it.effect("fails where the answer does, or has no end", () =>
    Effect.gen(function*() {
      const { model } = yield* serviceOver(Scripted.make([{ text: "cu", cut: true }]))
      const error = yield* Effect.flip(model.generateText({ prompt: "Hi" }))
      assert.include(describeFailure(error).message, "ended before it was finished")
      const { model: over } = yield* serviceOver(Scripted.make([]))
      assert.include(describeFailure(yield* Effect.flip(over.generateText({ prompt: "Hi" }))).message, "script is over")
    }))

  it.effect("talks to Claude", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay({ body: sse([start(), ...text(0, "Olá"), ...end("end_turn")]) })
      const resolved = yield* Effect.flatMap(Models, (models) => models.resolve(ModelRef.make("anthropic:claude-haiku-4-5"))).pipe(
        Effect.provide(models(server.url)), Effect.orDie)
      const model = yield* toLanguageModel(resolved)
      const response = yield* LanguageModel.generateText({ prompt: "Hi" }).pipe(Effect.provideService(LanguageModel.LanguageModel, model))
      assert.strictEqual(response.text, "Olá")
      assert.strictEqual(JSON.parse(server.received[0]?.body ?? "{}").max_tokens, 8192)
    })))
})

describe("fromLanguageModel", () => {
  const theirs = (seen: Array<LanguageModel.ProviderOptions>) =>
    LanguageModel.make({
      generateText: () => Effect.succeed([]),
      streamText: (options) => {
        seen.push(options)
        return Stream.make(
          { type: "response-metadata", id: "r1", modelId: "theirs-1" },
          { type: "reasoning-start", id: "0" },
          { type: "reasoning-end", id: "0", metadata: { their: { signature: "sig" } } },
          { type: "text-start", id: "1" },
          { type: "text-delta", id: "1", delta: "Hi" },
          { type: "text-end", id: "1" },
          { type: "source", sourceType: "url", id: "s", url: "https://example.com", title: "x" },
          ...(options.tools.length === 0 ? [] : [
            { type: "tool-params-start", id: "c", name: "weather" } as const,
            { type: "tool-params-delta", id: "c", delta: "{\"city\":1}" } as const,
            { type: "tool-params-end", id: "c" } as const,
            { type: "tool-call", id: "c", name: "weather", params: { city: 1 } } as const
          ]),
          { type: "finish", reason: "stop", usage: { inputTokens: { total: 3 }, outputTokens: { total: 4 } } }
        ) as Stream.Stream<never> // parts of a test double, whose types the service checks itself
      }
    })

  it.effect("is a provider like any other, which leaves tools to the run", () =>
    Effect.gen(function*() {
      const seen: Array<LanguageModel.ProviderOptions> = []
      const provider = fromLanguageModel(yield* theirs(seen))
      const { answer, error } = yield* play(provider(request({
        system: "Be brief.",
        tools: [{ name: "weather", description: "d", parameters: { type: "object", properties: {} } }],
        messages: [
          { role: "user", text: "Hi" },
          { role: "assistant", model: "their:1", parts: [
            { type: "reasoning", text: "hm", opaque: { their: { signature: "s" } } },
            { type: "text", text: "look" },
            { type: "tool-call", id: "a", name: "weather", arguments: "{\"city\":\"X\"}" },
            { type: "tool-call", id: "b", name: "weather", arguments: "{cut" }
          ] },
          { role: "tool", results: [{ id: "a", name: "weather", isFailure: false, result: "{\"sky\":\"blue\"}" }, { id: "b", name: "weather", isFailure: true, result: "no" }] }
        ]
      })))
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, [
        { type: "reasoning", text: "", opaque: { their: { signature: "sig" } } },
        { type: "text", text: "Hi" },
        { type: "tool-call", id: "c", name: "weather", arguments: "{\"city\":1}" }
      ])
      assert.deepStrictEqual([answer?.servedModel, answer?.requestId, answer?.usage.output], ["theirs-1", "r1", 4])
      const options = seen[0]
      assert.isDefined(options)
      assert.deepStrictEqual(options.tools.map((tool) => [tool.name, Tool.getJsonSchema(tool)]), [["weather", { type: "object", properties: {} }]])
      assert.deepStrictEqual(options.prompt.content.map((message) => message.role), ["system", "user", "assistant", "tool"])
      const assistant = options.prompt.content[2]
      assert.deepStrictEqual(assistant?.role === "assistant" ? assistant.content.map((part) => part.type === "tool-call" ? part.params : part.options) : [], [
        { their: { signature: "s" } }, {}, { city: "X" }, "{cut"
      ])
      const results = options.prompt.content[3]
      assert.deepStrictEqual(results?.role === "tool" ? results.content.map((part) => part.type === "tool-result" ? part.result : "") : [], [{ sky: "blue" }, "no"])
    }))

  it.effect("works without tools, and round again through the bridge", () =>
    Effect.gen(function*() {
      const { model } = yield* serviceOver(Scripted.make(["there and back"]))
      const { answer } = yield* play(fromLanguageModel(model)(request()))
      assert.deepStrictEqual(answer?.parts, [{ type: "text", text: "there and back" }])
    }))

  it.effect("says that it cannot ask for structured output", () =>
    Effect.gen(function*() {
      const { error } = yield* play(fromLanguageModel(yield* theirs([]))(request({ output: { name: "o", schema: {} } })))
      assert.isDefined(error)
      assert.include(describeFailure(error).message, "structured output")
    }))
})
