import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Request } from "../../src/Model.ts"
import { request, sentFor } from "../support/gemini.ts"

describe("Gemini, requests", () => {
  const parameters = { type: "object", properties: { city: { type: "string" } } }
  const tools = [{ name: "weather", description: "Tells the weather", parameters }, { name: "now", description: "Tells the time", parameters: { type: "object", properties: {} } }]

  it.effect("sends the key in a header, and thinks as the model does by itself", () =>
    Effect.gen(function*() {
      const { body, headers, path } = yield* sentFor(request())
      assert.strictEqual(path, "/models/gemini-3.8-flash:streamGenerateContent?alt=sse")
      assert.strictEqual(headers["x-goog-api-key"], "sk-test")
      assert.isUndefined(headers.authorization)
      assert.deepStrictEqual(body, {
        contents: [{ role: "user", parts: [{ text: "Hello" }] }],
        generationConfig: { maxOutputTokens: 1000, thinkingConfig: { includeThoughts: true } }
      })
    }))

  it.effect("thinks by level from Gemini 3 on, by budget before, and not at all where nothing is known", () =>
    Effect.gen(function*() {
      const config = (more: Partial<Request>) => Effect.map(sentFor(request(more)), ({ body }) => body.generationConfig)
      assert.deepStrictEqual((yield* config({ effort: "low" })).thinkingConfig, { includeThoughts: true, thinkingLevel: "low" })
      // A level that the model does not have is left out.
      assert.deepStrictEqual((yield* config({ effort: "max" })).thinkingConfig, { includeThoughts: true })
      assert.deepStrictEqual((yield* config({ model: "gemini-2.5-pro", effort: "medium" })).thinkingConfig, { includeThoughts: true, thinkingBudget: 8192 })
      assert.deepStrictEqual((yield* config({ model: "gemini-2.5-pro" })).thinkingConfig, { includeThoughts: true })
      assert.isUndefined((yield* config({ model: "gemini-next", effort: "low" })).thinkingConfig)
      assert.strictEqual((yield* config({ maxOutput: 999_999 })).maxOutputTokens, 65_536)
    }))

  it.effect("declares tools by their JSON Schema, and one without parameters without a schema", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ tools, system: "Be brief." }))
      assert.deepStrictEqual(body.tools, [{
        functionDeclarations: [{ name: "weather", description: "Tells the weather", parametersJsonSchema: parameters }, { name: "now", description: "Tells the time" }]
      }])
      assert.deepStrictEqual(body.systemInstruction, { parts: [{ text: "Be brief." }] })
      assert.isUndefined(body.toolConfig)
    }))

  it.effect("asks for structured output by schema, and in words where the model takes no schema beside tools", () =>
    Effect.gen(function*() {
      const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }
      const output = { name: "Out", schema }
      for (const more of [{ output }, { output, tools }, { output, model: "gemini-2.5-pro" }]) {
        const { body } = yield* sentFor(request(more))
        assert.deepInclude(body.generationConfig, { responseMimeType: "application/json", responseJsonSchema: schema })
        assert.isUndefined(body.systemInstruction)
      }
      const { body } = yield* sentFor(request({ output, tools, model: "gemini-2.5-pro", system: "Be brief." }))
      assert.isUndefined(body.generationConfig.responseMimeType)
      assert.isUndefined(body.generationConfig.responseJsonSchema)
      const told: string = body.systemInstruction.parts[0].text
      assert.isTrue(told.startsWith("Be brief.\n\n"))
      assert.isTrue(told.endsWith(JSON.stringify(schema)))
    }))

  const model = "google:gemini-3.8-flash"
  const conversation: Request["messages"] = [
    { role: "user", text: "one" }, { role: "user", text: "two" }, { role: "user", text: "  " },
    {
      role: "assistant", model, parts: [
        { type: "reasoning", text: "a summary" },
        { type: "reasoning", text: "signed", opaque: { google: { thoughtSignature: "s1" } } },
        { type: "text", text: "looking" },
        { type: "text", text: "", opaque: { google: { thoughtSignature: "s2" } } },
        { type: "text", text: "" },
        { type: "tool-call", id: "call_7", name: "weather", arguments: "{\"city\":\"X\"}", opaque: { google: { thoughtSignature: "s3", id: "call_7" } } },
        { type: "tool-call", id: "call_7_2", name: "weather", arguments: "{\"city", opaque: { google: { id: "call_7" } } },
        { type: "tool-call", id: "c", name: "now", arguments: "" }
      ]
    },
    {
      role: "tool", results: [
        { id: "call_7", name: "weather", isFailure: false, result: "{\"sky\":\"blue\"}" },
        { id: "call_7_2", name: "weather", isFailure: true, result: "No such city." },
        { id: "c", name: "now", isFailure: false, result: "12345678901234567890" }
      ]
    },
    { role: "user", text: "three" }
  ]

  it.effect("sends a conversation back: each signature where it was, each id as the model gave it", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ tools, messages: conversation }))
      assert.deepStrictEqual(body.contents, [
        { role: "user", parts: [{ text: "one" }, { text: "two" }] },
        {
          role: "model", parts: [
            { text: "signed", thought: true, thoughtSignature: "s1" },
            { text: "looking" },
            { text: "", thoughtSignature: "s2" },
            { functionCall: { id: "call_7", name: "weather", args: { city: "X" } }, thoughtSignature: "s3" },
            { functionCall: { id: "call_7", name: "weather", args: { malformed_json: "{\"city" } } },
            { functionCall: { name: "now", args: {} } }
          ]
        },
        {
          role: "user", parts: [
            { functionResponse: { id: "call_7", name: "weather", response: { output: { sky: "blue" } } } },
            { functionResponse: { id: "call_7", name: "weather", response: { error: "No such city." } } },
            { functionResponse: { name: "now", response: { output: "12345678901234567890" } } },
            { text: "three" }
          ]
        }
      ])
    }))

  it.effect("sends another model's answer without what is opaque, its first call marked as unsigned for Gemini 3", () =>
    Effect.gen(function*() {
      const calls = (asked: string) =>
        Effect.map(sentFor(request({ model: asked, tools, messages: conversation })), ({ body }) => body.contents[1].parts)
      const bare = [
        { text: "looking" },
        { functionCall: { name: "weather", args: { city: "X" } } },
        { functionCall: { name: "weather", args: { malformed_json: "{\"city" } } },
        { functionCall: { name: "now", args: {} } }
      ]
      const [text, first, ...more] = bare
      assert.deepStrictEqual(yield* calls("gemini-2.5-pro"), bare)
      for (const asked of ["gemini-4-argon", "gemini-3.1-pro-preview", "gemini-flash-latest"]) {
        assert.deepStrictEqual(yield* calls(asked), [text, { thoughtSignature: "skip_thought_signature_validator", ...first }, ...more])
      }
    }))

  it.effect("begins each request of a conversation with the bytes of the one before it", () =>
    Effect.gen(function*() {
      const messages: Array<Request["messages"][number]> = [{ role: "user", text: "start" }]
      let before: ReadonlyArray<string> = []
      for (let turn = 1; turn <= 5; turn++) {
        const { body } = yield* sentFor(request({ system: "S", tools, messages: [...messages] }))
        const sent: ReadonlyArray<string> = body.contents.map((content: object) => JSON.stringify(content))
        assert.deepStrictEqual(sent.slice(0, before.length), before)
        before = sent
        // Every second answer is another model's.
        messages.push(
          { role: "assistant", model: turn % 2 === 0 ? model : "anthropic:claude-sonnet-5-5", parts: [{ type: "tool-call", id: `c${turn}`, name: "now", arguments: "{}" }] },
          { role: "tool", results: [{ id: `c${turn}`, name: "now", isFailure: false, result: "\"ok\"" }] }
        )
      }
    }))
})
