import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Request } from "../../src/Model.ts"
import type { Transcript } from "../../src/Run.ts"
import { asked, type Chunk, delta, end, models, play, request, sentFor, sse, stored, text, toolCall } from "../support/openrouter.ts"
import { replay } from "../support/replay.ts"

const deepseek = "openrouter:deepseek/deepseek-v4-pro-0813"
const qwen = "openrouter:qwen/qwen3.8-flash"
const tools = [{ name: "weather", description: "Tells the weather", parameters: { properties: { city: { type: "string" } } } }]
const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }

describe("OpenRouter, requests", () => {
  it.effect("sends what is ours, with the key, and asks for one model only", () =>
    Effect.gen(function*() {
      const { body, headers, path } = yield* sentFor(request({ system: "Be brief." }))
      assert.strictEqual(path, "/chat/completions")
      assert.strictEqual(headers.authorization, "Bearer sk-test")
      assert.strictEqual(headers["content-type"], "application/json")
      assert.isUndefined(headers["traceparent"])
      assert.isUndefined(headers["b3"])
      assert.deepStrictEqual(body, {
        model: "deepseek/deepseek-v4-pro-0813",
        messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Hello" }],
        max_tokens: 1000, stream: true, stream_options: { include_usage: true },
        provider: { ignore: ["openai", "azure"], max_price: { prompt: 1.65, completion: 5.55 } }
      })
      // A model that has no price, and one that is free, are asked of any other host.
      for (const model of ["qwen/qwen9", "google/gemma-4-31b-it:free"]) {
        assert.deepStrictEqual((yield* sentFor(request({ model }))).body.provider, { ignore: ["openai", "azure"] })
      }
    }))

  it.effect("reasons with effort where the model has it, within the model's output limit", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ effort: "high", maxOutput: 9_999_999 }))
      assert.deepStrictEqual(body.reasoning, { effort: "high" })
      assert.strictEqual(body.max_tokens, 943_718)
      const { body: without } = yield* sentFor(request({ effort: "medium" }))
      assert.isUndefined(without.reasoning)
      const { body: unknown } = yield* sentFor(request({ model: "qwen/qwen9", effort: "high", maxOutput: 9_999_999 }))
      assert.isUndefined(unknown.reasoning)
      assert.strictEqual(unknown.max_tokens, 9_999_999)
    }))

  it.effect("offers tools, and forces none", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ tools }))
      assert.deepStrictEqual(body.tools, [
        { type: "function", function: { name: "weather", description: "Tells the weather", parameters: { properties: { city: { type: "string" } }, type: "object" } } }
      ])
      assert.isUndefined(body.tool_choice)
    }))

  it.effect("asks for structured output by its format, of hosts that keep to it, and never by a forced tool", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ tools, output: { name: "Out put", schema } }))
      assert.deepStrictEqual(body.response_format, { type: "json_schema", json_schema: { name: "Out_put", strict: true, schema } })
      assert.isTrue(body.provider.require_parameters)
      assert.isUndefined(body.tool_choice)
      assert.strictEqual(body.messages[0].role, "user")
    }))

  it.effect("asks in words where the model has no structured output", () =>
    Effect.gen(function*() {
      for (const system of ["", "Be brief."]) {
        const { body } = yield* sentFor(request({ model: "qwen/qwen9", system, output: { name: "Out", schema } }))
        assert.isUndefined(body.response_format)
        const told: string = body.messages[0].content
        assert.strictEqual(body.messages[0].role, "system")
        assert.isTrue(told.startsWith(system))
        assert.include(told, JSON.stringify(schema))
      }
    }))

  it.effect("asks Claude's hosts to cache", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ model: "anthropic/claude-haiku-4.5" }))
      assert.deepStrictEqual(body.cache_control, { type: "ephemeral" })
    }))

  const spoken: ReadonlyArray<Transcript.Message> = [
    { role: "user", text: "one" }, { role: "user", text: "  " },
    {
      role: "assistant", model: deepseek, parts: [
        { type: "reasoning", text: "hm", opaque: { openrouter: { reasoning_details: "[{\"type\":\"reasoning.text\",\"text\":\"hm\"}]" } } },
        { type: "text", text: "look" }, { type: "text", text: "ing" },
        { type: "tool-call", id: "functions.weather:0", name: "weather", arguments: "{\"city\": \"X\"}" },
        { type: "tool-call", id: "b", name: "weather", arguments: "{\"city" },
        { type: "tool-call", id: "c", name: "weather", arguments: "" }
      ]
    },
    {
      role: "tool", results: [
        { id: "functions.weather:0", name: "weather", isFailure: false, result: "{\"sky\":\"blue\"}" },
        { id: "b", name: "weather", isFailure: true, result: "No such city." }, { id: "c", name: "weather", isFailure: false, result: "" }
      ]
    },
    { role: "assistant", model: deepseek, parts: [{ type: "reasoning", text: "plain " }, { type: "reasoning", text: "thought" }, { type: "text", text: "blue" }] },
    { role: "user", text: "two" },
    {
      role: "assistant", model: "google:gemini-4-argon", parts: [
        { type: "reasoning", text: "foreign", opaque: { google: { thoughtSignature: "sig" } } }, { type: "tool-call", id: "d.1", name: "weather", arguments: "{}" }
      ]
    },
    { role: "tool", results: [{ id: "d.1", name: "weather", isFailure: false, result: "ok" }] },
    { role: "assistant", model: deepseek, parts: [{ type: "reasoning", text: "only this" }] },
    { role: "assistant", model: deepseek, parts: [{ type: "reasoning", text: "", opaque: { openrouter: { reasoning_details: "[{\"type\":\"reasoning.encrypted\",\"data\":\"x\"}]" } } }] },
    { role: "user", text: "three" }
  ]

  const call = (id: string, json: string) => ({ id, type: "function", function: { name: "weather", arguments: json } })

  it.effect("sends a conversation back: details as they came, reasoning where the model demands it, arguments as text", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ messages: spoken }))
      assert.deepStrictEqual(body.messages, [
        { role: "user", content: "one" },
        {
          role: "assistant", content: "looking", reasoning_details: [{ type: "reasoning.text", text: "hm" }],
          tool_calls: [call("functions.weather:0", "{\"city\": \"X\"}"), call("b", "{\"malformed_json\":\"{\\\"city\"}"), call("c", "{}")]
        },
        { role: "tool", tool_call_id: "functions.weather:0", content: "{\"sky\":\"blue\"}" },
        { role: "tool", tool_call_id: "b", content: "No such city." },
        { role: "tool", tool_call_id: "c", content: "" },
        { role: "assistant", content: "blue", reasoning_content: "plain thought" },
        { role: "user", content: "two" },
        { role: "assistant", content: "", reasoning_content: "", tool_calls: [call("d_2e_1", "{}")] },
        { role: "tool", tool_call_id: "d_2e_1", content: "ok" },
        { role: "assistant", content: "", reasoning_details: [{ type: "reasoning.encrypted", data: "x" }] },
        { role: "user", content: "three" }
      ])
    }))

  it.effect("sends another model's answers without their reasoning", () =>
    Effect.gen(function*() {
      const { text } = yield* sentFor(request({ model: "qwen/qwen3.8-flash", messages: spoken }))
      for (const secret of ["reasoning_details", "reasoning_content", "hm", "plain thought", "foreign", "sig"]) assert.notInclude(text, `"${secret}`)
      assert.include(text, "functions_2e_weather_3a_0")
    }))
})

describe("OpenRouter, conversations", () => {
  /** Plays a conversation of tool calls, its answers stored between turns as the log does, and gives the bodies that were sent. */
  const converse = (ref: string, answers: ReadonlyArray<ReadonlyArray<Chunk>>) =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* replay(...answers.map((chunks) => ({ body: sse(chunks), headers: asked.headers })))
      const messages: Array<Request["messages"][number]> = [{ role: "user", text: "Do I need an umbrella?" }]
      const opaque: Array<string | undefined> = []
      const model = yield* Effect.provide(asked.resolved, models(server.url))
      for (let turn = 0; turn < answers.length; turn++) {
        const { answer } = yield* play(model.stream(request({ model: ref.slice("openrouter:".length), tools, messages: [...messages] })))
        assert.isDefined(answer)
        const parts = yield* stored(answer)
        assert.deepStrictEqual(parts, answer.parts)
        opaque.push(parts[0]?.opaque?.["openrouter"]?.["reasoning_details"])
        messages.push({ role: "assistant", model: ref, parts })
        const results = parts.flatMap((part) => part.type === "tool-call" ? [{ id: part.id, name: part.name, isFailure: false, result: "rain" }] : [])
        messages.push(results.length === 0 ? { role: "user", text: "And now?" } : { role: "tool", results })
      }
      return { opaque, sent: server.received.map(({ body }) => body) }
    }))

  const calls = (turn: number) => toolCall(...[1, 2].map((number) => ({ index: number, id: `functions.weather:${turn}${number}`, function: { name: "weather", arguments: `{"city":"${turn}"}` } })))

  it.effect("send each turn's details back byte for byte, and each request begins with the one before it", () =>
    Effect.gen(function*() {
      const turn = (number: number): ReadonlyArray<Chunk> => [
        delta({ reasoning: "Grüße", reasoning_details: [{ type: "reasoning.text", text: "Grü", 7: number, format: "x", index: 0, big: 1.5e300, extra: { b: [1.0, "\u2028\ud800"], a: null } }] }),
        delta({ reasoning_details: [{ type: "reasoning.text", text: "ße\\\"", index: 0 }] }),
        delta({ reasoning_details: [{ type: "reasoning.text", signature: `sig/+=${number}`, index: 0 }, { type: "reasoning.encrypted", data: "==", id: `e${number}`, index: 1 }] }),
        calls(number), ...end("tool_calls", "tool_calls")
      ]
      const { opaque, sent } = yield* converse(qwen, [turn(1), turn(2), [...text("Yes."), ...end("stop", "stop")], [...text("Still."), ...end("stop", "stop")]])
      assert.strictEqual(opaque.filter((json) => json !== undefined).length, 2)
      let before: ReadonlyArray<unknown> = []
      for (const [index, body] of sent.entries()) {
        const messages: ReadonlyArray<{ readonly reasoning_details?: unknown }> = JSON.parse(body).messages
        assert.deepStrictEqual(messages.slice(0, before.length), before)
        before = messages
        const expected = opaque.slice(0, index).filter((json) => json !== undefined)
        assert.deepStrictEqual(messages.flatMap((message) => message.reasoning_details === undefined ? [] : [JSON.stringify(message.reasoning_details)]), expected)
        for (const json of expected) assert.include(body, json)
      }
      assert.include(opaque[0], "Grüße\\\\\\\"")
    }))

  it.effect("send DeepSeek's reasoning back as text, with tool calls and without", () =>
    Effect.gen(function*() {
      const turn = (number: number): ReadonlyArray<Chunk> => [
        delta({ content: null, reasoning_content: `thought ${number}, ` }), delta({ content: null, reasoning_content: "second half" }), calls(number), ...end("tool_calls", "tool_calls")
      ]
      const { sent } = yield* converse(deepseek, [turn(1), turn(2), [delta({ reasoning_content: "enough" }), ...text("Yes."), ...end("stop", "stop")], [...text("Still."), ...end("stop", "stop")]])
      const messages: ReadonlyArray<Record<string, unknown>> = JSON.parse(sent.at(-1) ?? "").messages
      assert.deepStrictEqual(messages.flatMap((message) => message["role"] === "assistant" ? [message["reasoning_content"]] : []), [
        "thought 1, second half", "thought 2, second half", "enough"
      ])
    }))
})
