import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Money from "../../src/Money.ts"
import { Models, price } from "../../src/Model.ts"
import { ModelRef, type Transcript } from "../../src/Run.ts"
import { answerTo, atEveryByteOnce, type Check, failureOf, models, recordings, request } from "../support/anthropic.ts"

describe("Anthropic, recordings", () => {
  const recorded = recordings("anthropic")

  /** What a recorded body says, read without the adapter. */
  /* oxlint-disable typescript/no-explicit-any -- recorded JSON, looked at by hand */
  const expected = (body: string) => {
    const message = body.startsWith("{") ? JSON.parse(body) : undefined
    const events: ReadonlyArray<Record<string, any>> = message !== undefined ? [] : body.split("\n").filter((line) => line.startsWith("data: ")).map((line) => JSON.parse(line.slice(6)))
    const blocks: Array<Record<string, any>> = message?.content ?? []
    let use: Record<string, any> = message?.usage ?? {}
    let stop: string = message?.stop_reason ?? ""
    for (const event of events) {
      if (event["type"] === "message_start") use = { ...use, ...event["message"].usage }
      if (event["type"] === "content_block_start") blocks[event["index"]] = { ...event["content_block"], json: "" }
      if (event["type"] === "message_delta") {
        use = { ...use, ...event["usage"] }
        stop = event["delta"].stop_reason
      }
      const block = blocks[event["index"]]
      if (event["type"] !== "content_block_delta" || block === undefined) continue
      const delta = event["delta"]
      if (delta.type === "text_delta") block["text"] += delta.text
      if (delta.type === "thinking_delta") block["thinking"] += delta.thinking
      if (delta.type === "signature_delta") block["signature"] = delta.signature
      if (delta.type === "input_json_delta") block["json"] += delta.partial_json
    }
    return { blocks, use, stop }
  }

  const check = (body: string) => {
    const { blocks, stop, use } = expected(body)
    const parts = blocks.map((block): Transcript.AssistantPart =>
      block["type"] === "text"
        ? { type: "text", text: block["text"] }
        : block["type"] === "thinking"
        ? { type: "reasoning", text: block["thinking"], opaque: { anthropic: { signature: block["signature"] } } }
        : { type: "tool-call", id: block["id"], name: block["name"], arguments: block["json"] === undefined ? JSON.stringify(block["input"]) : block["json"] || "{}" }
    )
    return (outcome: Parameters<Check>[0]) => {
      assert.isUndefined(outcome.error)
      assert.deepStrictEqual(outcome.answer?.parts, parts)
      assert.strictEqual(outcome.answer?.finish, stop === "tool_use" ? "tool-calls" : "stop")
      assert.strictEqual(outcome.answer?.requestId, "req_1")
      assert.deepStrictEqual(outcome.answer?.usage, {
        uncached: use["input_tokens"], cacheRead: use["cache_read_input_tokens"],
        cacheWrite: use["cache_creation"].ephemeral_5m_input_tokens, cacheWriteHour: use["cache_creation"].ephemeral_1h_input_tokens,
        output: use["output_tokens"], reasoning: use["output_tokens_details"]?.thinking_tokens ?? 0
      })
    }
  }

  it("plays what CONDUCTOR_RECORDINGS has", () => {
    assert.isTrue(recorded.length > 0 || process.env["CONDUCTOR_RECORDINGS"] === undefined)
  })

  for (const exchange of recorded.filter(({ status }) => status === 200)) {
    const { body } = exchange

    it.effect(`${exchange.name}, whole, and its cost`, () =>
      Effect.gen(function*() {
        const outcome = yield* answerTo([], request({ model: String(exchange.request["model"]) }), { body })
        check(body)(outcome)
        const resolved = yield* Effect.flatMap(Models, (models) => models.resolve(ModelRef.make(`anthropic:${String(exchange.request["model"])}`)))
        const answer = outcome.answer
        assert.isDefined(answer)
        // Haiku 4.5: 1 dollar in, 5 out, per million.
        const cost = Option.flatMap(resolved.entry, (entry) => price(entry, answer.usage))
        assert.deepStrictEqual(cost, Option.some(Money.charge([
          { units: answer.usage.uncached, perMillion: Money.usd("1") }, { units: answer.usage.output, perMillion: Money.usd("5") }
        ])))
      }).pipe(Effect.provide(models("http://127.0.0.1:9"))))

    it.live(`${exchange.name}, cut at every byte and in pieces of one`, () => atEveryByteOnce(body, check(body)), 240_000)
  }

  for (const exchange of recorded.filter(({ status }) => status !== 200)) {
    it.effect(`${exchange.name} is an invalid request`, () =>
      Effect.gen(function*() {
        const failure = yield* failureOf({ status: exchange.status, headers: { "content-type": "application/json" }, body: exchange.body })
        assert.strictEqual(failure.reason, "InvalidRequestError")
        assert.isFalse(failure.retryable)
        assert.include(failure.message, "prompt is too long")
      }))
  }
})
