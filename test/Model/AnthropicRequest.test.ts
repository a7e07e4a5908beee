import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Request } from "../../src/Model.ts"
import { request, sentFor } from "../support/anthropic.ts"

describe("Anthropic, requests", () => {
  const tools = [{ name: "weather", description: "Tells the weather", parameters: { type: "object", properties: { city: { type: "string" } } } }]
  const cached = { cache_control: { type: "ephemeral" } }

  it.effect("sends what is ours and nothing from the environment", () =>
    Effect.gen(function*() {
      process.env["ANTHROPIC_CUSTOM_HEADERS"] = "x-evil: 1\nx-api-key: other"
      process.env["ANTHROPIC_AUTH_TOKEN"] = "other"
      const { body, headers, path } = yield* Effect.ensuring(sentFor(request()), Effect.sync(() => {
        delete process.env["ANTHROPIC_CUSTOM_HEADERS"]
        delete process.env["ANTHROPIC_AUTH_TOKEN"]
      }))
      assert.strictEqual(path, "/v1/messages")
      assert.strictEqual(headers.authorization, "Bearer sk-test")
      assert.isUndefined(headers["x-evil"])
      assert.isUndefined(headers["x-api-key"])
      assert.isDefined(headers["anthropic-version"])
      assert.deepStrictEqual(body, {
        model: "claude-haiku-4-5-20251001", max_tokens: 1000, stream: true,
        messages: [{ role: "user", content: [{ type: "text", text: "Hello", ...cached }] }]
      })
    }))

  it.effect("thinks adaptively and with effort where the model can, within the model's output limit", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ model: "claude-opus-5-5", effort: "xhigh", maxOutput: 999_999 }))
      assert.deepStrictEqual(body.thinking, { type: "adaptive", display: "summarized" })
      assert.deepStrictEqual(body.output_config, { effort: "xhigh" })
      assert.strictEqual(body.max_tokens, 128_000)
      const { body: small } = yield* sentFor(request({ effort: "xhigh" }))
      assert.isUndefined(small.thinking)
      assert.isUndefined(small.output_config)
      const { body: unknown } = yield* sentFor(request({ model: "claude-next", maxOutput: 999_999 }))
      assert.strictEqual(unknown.max_tokens, 999_999)
    }))

  it.effect("asks for structured output by format and never by a forced tool", () =>
    Effect.gen(function*() {
      const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }
      const { body } = yield* sentFor(request({ tools, output: { name: "Out", schema } }))
      assert.deepStrictEqual(body.output_config, { format: { type: "json_schema", schema } })
      assert.isUndefined(body.tool_choice)
    }))

  it.effect("marks tools where there is no system text, and system text where there is", () =>
    Effect.gen(function*() {
      const { body } = yield* sentFor(request({ tools }))
      assert.deepStrictEqual(body.tools, [{ name: "weather", description: "Tells the weather", input_schema: tools[0]?.parameters, ...cached }])
      assert.isUndefined(body.system)
      const { body: told } = yield* sentFor(request({ tools, system: "Be brief." }))
      assert.isUndefined(told.tools[0].cache_control)
      assert.deepStrictEqual(told.system, [{ type: "text", text: "Be brief.", ...cached }])
    }))

  it.effect("sends a conversation back: signatures as they came, results before text, arguments as an object", () =>
    Effect.gen(function*() {
      const model = "anthropic:claude-haiku-4-5-20251001"
      const { body } = yield* sentFor(request({
        system: "S", tools,
        messages: [
          { role: "user", text: "one" }, { role: "user", text: "two" }, { role: "user", text: "  " },
          {
            role: "assistant", model, parts: [
              { type: "reasoning", text: "hm", opaque: { anthropic: { signature: "sig" } } },
              { type: "reasoning", text: "", opaque: { anthropic: { redacted: "data" } } },
              { type: "reasoning", text: "unsigned" },
              { type: "text", text: "" },
              { type: "text", text: "looking" },
              { type: "tool-call", id: "a.1", name: "weather", arguments: "{\"city\":\"X\"}" },
              { type: "tool-call", id: "b", name: "weather", arguments: "{\"city" },
              { type: "tool-call", id: "c", name: "weather", arguments: "" }
            ]
          },
          {
            role: "tool", results: [
              { id: "a.1", name: "weather", isFailure: false, result: "{\"sky\":\"blue\"}" },
              { id: "b", name: "weather", isFailure: true, result: "No such city." },
              { id: "c", name: "weather", isFailure: false, result: "" }
            ]
          },
          { role: "user", text: "three" },
          { role: "assistant", model: "google:gemini-4-argon", parts: [{ type: "reasoning", text: "x", opaque: { anthropic: { signature: "other" } } }] },
          { role: "user", text: "four" }
        ]
      }))
      assert.deepStrictEqual(body.messages, [
        { role: "user", content: [{ type: "text", text: "one" }, { type: "text", text: "two", ...cached }] },
        {
          role: "assistant", content: [
            { type: "thinking", thinking: "hm", signature: "sig" },
            { type: "redacted_thinking", data: "data" },
            { type: "text", text: "looking" },
            { type: "tool_use", id: "a_2e_1", name: "weather", input: { city: "X" } },
            { type: "tool_use", id: "b", name: "weather", input: { malformed_json: "{\"city" } },
            { type: "tool_use", id: "c", name: "weather", input: {} }
          ]
        },
        {
          role: "user", content: [
            { type: "tool_result", tool_use_id: "a_2e_1", content: "{\"sky\":\"blue\"}" },
            { type: "tool_result", tool_use_id: "b", content: "No such city.", is_error: true },
            { type: "tool_result", tool_use_id: "c", content: "" },
            { type: "text", text: "three" },
            { type: "text", text: "four", ...cached }
          ]
        }
      ])
    }))

  it.effect("goes on after a pause, and marks no thinking", () =>
    Effect.gen(function*() {
      const model = "anthropic:claude-haiku-4-5-20251001"
      const { body } = yield* sentFor(request({
        messages: [
          { role: "user", text: "go" },
          { role: "assistant", model, parts: [{ type: "text", text: "a" }, { type: "reasoning", text: "b", opaque: { anthropic: { signature: "s" } } }] },
          { role: "assistant", model, parts: [{ type: "reasoning", text: "", opaque: { anthropic: { redacted: "r" } } }] }
        ]
      }))
      assert.deepStrictEqual(body.messages[1].content, [
        { type: "text", text: "a", ...cached }, { type: "thinking", thinking: "b", signature: "s" }, { type: "redacted_thinking", data: "r" }
      ])
      assert.deepStrictEqual(body.messages[0].content, [{ type: "text", text: "go", ...cached }])
    }))

  it.effect("each request of a run begins with the bytes of the one before it, and marks where that ended", () =>
    Effect.gen(function*() {
      const model = "anthropic:claude-haiku-4-5-20251001"
      const messages: Array<Request["messages"][number]> = [{ role: "user", text: "start" }]
      let before: ReadonlyArray<unknown> = []
      let mark = ""
      const bare = (content: Record<string, unknown>) => JSON.stringify({ ...content, cache_control: undefined })
      for (let turn = 1; turn <= 6; turn++) {
        const { body } = yield* sentFor(request({ system: "S", tools, messages: [...messages] }))
        const blocks: Array<Record<string, unknown>> = body.messages.flatMap((message: { content: Array<Record<string, unknown>> }) => message.content)
        const marks = blocks.filter((content) => content["cache_control"] !== undefined).map(bare)
        assert.isAtMost(marks.length, 3)
        assert.deepStrictEqual(blocks.slice(0, before.length).map(bare), before)
        if (mark !== "") assert.include(marks, mark)
        before = blocks.map(bare)
        mark = marks.at(-1) ?? ""
        messages.push(
          { role: "assistant", model, parts: Array.from({ length: 25 }, (_, index) => ({ type: "tool-call" as const, id: `c${turn}_${index}`, name: "weather", arguments: "{}" })) },
          { role: "tool", results: Array.from({ length: 25 }, (_, index) => ({ id: `c${turn}_${index}`, name: "weather", isFailure: false, result: "ok" })) }
        )
      }
    }))
})
