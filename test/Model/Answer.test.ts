import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import type { Response } from "effect/ai"
import * as Money from "../../src/Money.ts"
import { Answer } from "../../src/Model.ts"

type Part = Response.StreamPartEncoded

const finish = (more: Partial<Response.FinishPartEncoded> = {}): Part => ({
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { uncached: 1, total: 1 }, outputTokens: { total: 2 } },
  ...more
})

const collect = (parts: ReadonlyArray<Part>, taken?: (id: string) => boolean): Answer.Answer => {
  const collector = Answer.collect(taken)
  for (const part of parts) collector.add(part)
  return Option.getOrThrow(collector.end())
}

const call = (id: string, name: string, params: unknown, ...deltas: ReadonlyArray<string>): ReadonlyArray<Part> => [
  { type: "tool-params-start", id, name },
  ...deltas.map((delta): Part => ({ type: "tool-params-delta", id, delta })),
  { type: "tool-params-end", id },
  { type: "tool-call", id, name, params }
]

describe("Answer", () => {
  it("is nothing before its finish", () => {
    const collector = Answer.collect()
    collector.add({ type: "text-start", id: "0" })
    assert.isNull(collector.requestId())
    collector.add({ type: "response-metadata", id: "msg" })
    assert.isTrue(Option.isNone(collector.end()))
    assert.strictEqual(collector.requestId(), "msg")
  })

  it("keeps order, empty reasoning, and opaque strings only", () => {
    const { parts } = collect([
      { type: "text-start", id: "a" },
      { type: "reasoning-start", id: "b", metadata: { x: { kept: "1", dropped: 2 }, y: null } },
      { type: "text-delta", id: "a", delta: "He" },
      { type: "reasoning-end", id: "b", metadata: { x: { signature: "s\u0000\ud800" } } },
      { type: "text-delta", id: "a", delta: "y", metadata: { z: { thought: "t" } } },
      { type: "text-end", id: "a" },
      { type: "text-start", id: "a" },
      { type: "text-end", id: "a" },
      { type: "reasoning-delta", id: "lost", delta: "found" },
      { type: "reasoning-end", id: "lost" },
      finish()
    ])
    assert.deepStrictEqual(parts, [
      { type: "text", text: "Hey", opaque: { z: { thought: "t" } } },
      { type: "reasoning", text: "", opaque: { x: { kept: "1", signature: "s\u0000\ud800" } } },
      { type: "text", text: "" },
      { type: "reasoning", text: "found" }
    ])
  })

  it("takes arguments from the deltas, else from the call", () => {
    const { parts } = collect([
      ...call("1", "a", { x: 1 }, "{\"x\"", ":12345678901234567890}"),
      ...call("2", "b", { y: [1] }),
      ...call("3", "c", "{\"cut"),
      ...call("4", "d", undefined),
      { type: "tool-call", id: "5", name: "e", params: {}, metadata: { google: { thoughtSignature: "t" } } },
      finish({ reason: "tool-calls" })
    ])
    assert.deepStrictEqual(parts.map((part) => part.type === "tool-call" ? [part.id, part.name, part.arguments, part.opaque] : []), [
      ["1", "a", "{\"x\":12345678901234567890}", undefined],
      ["2", "b", "{\"y\":[1]}", undefined],
      ["3", "c", "{\"cut", undefined],
      ["4", "d", "{}", undefined],
      ["5", "e", "{}", { google: { thoughtSignature: "t" } }]
    ])
  })

  it("gives every call an id of its own", () => {
    const { parts } = collect([...call("", "a", {}), ...call("", "b", {}), ...call("x", "c", {}), ...call("x", "d", {}), finish()], (id) => id === "x" || id === "x_2")
    assert.deepStrictEqual(parts.map((part) => part.type === "tool-call" ? part.id : ""), ["call", "call_2", "x_3", "x_4"])
  })

  it("drops calls that were not completed, all calls of a refusal, and those that the provider ran itself", () => {
    const begun: ReadonlyArray<Part> = [{ type: "tool-params-start", id: "1", name: "a" }, { type: "tool-params-delta", id: "1", delta: "{" }]
    assert.deepStrictEqual(collect([...begun, finish({ reason: "length" })]).parts, [])
    assert.deepStrictEqual(collect([...call("1", "a", {}), finish({ reason: "content-filter" })]).parts, [])
    assert.deepStrictEqual(collect([{ type: "tool-call", id: "1", name: "a", params: {}, providerExecuted: true }, finish()]).parts, [])
  })

  it("makes text storable", () => {
    const { note, parts, requestId, servedModel } = collect([
      { type: "response-metadata", id: "m\u0000", modelId: "x\u0000" },
      { type: "text-delta", id: "0", delta: "a\u0000\ud83d" },
      { type: "text-delta", id: "0", delta: "\ude00b\udc00" },
      ...call("i\u0000", "n\ud800", {}, "{\"a\":\"\u0000\"}"),
      finish({ metadata: { p: { note: "no\u0000" } } })
    ])
    assert.deepStrictEqual(parts, [
      { type: "text", text: "a\ufffd\u{1f600}b\ufffd" },
      { type: "tool-call", id: "i\ufffd", name: "n\ufffd", arguments: "{\"a\":\"\ufffd\"}" }
    ])
    assert.deepStrictEqual([note, requestId, servedModel], ["no\ufffd", "m\ufffd", "x\ufffd"])
  })

  it("reads the bill", () => {
    const answer = collect([
      { type: "response-metadata", id: "msg", metadata: { p: { requestId: "req", host: "up\u0000stream" }, q: null } },
      finish({
        usage: { inputTokens: { total: 100, cacheRead: 10, cacheWrite: 30 }, outputTokens: { text: 4, reasoning: 6 } },
        metadata: { p: { cacheWriteHour: 20, cost: "0.00123", requestId: null, nativeFinish: "end_turn", webSearches: 3 } }
      })
    ])
    assert.deepStrictEqual(answer.usage, { uncached: 60, cacheRead: 10, cacheWrite: 10, cacheWriteHour: 20, output: 10, reasoning: 6, webSearches: 3 })
    assert.deepStrictEqual([answer.host, answer.nativeFinish], ["up\ufffdstream", "end_turn"])
    assert.deepStrictEqual(answer.reportedCost, Option.some(Money.usd("0.00123")))
    assert.strictEqual(answer.requestId, "req")
    assert.isNull(answer.servedModel)
  })

  it("counts nothing of nonsense", () => {
    const answer = collect([finish({
      usage: { inputTokens: { uncached: -1, cacheRead: NaN, cacheWrite: 3 }, outputTokens: {} },
      metadata: { p: { cacheWriteHour: 9, cost: "free", webSearches: -1, host: 7 } }
    })])
    assert.deepStrictEqual(answer.usage, { uncached: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 3, output: 0, reasoning: 0 })
    assert.isTrue(Option.isNone(answer.reportedCost))
    assert.deepStrictEqual([answer.requestId, answer.host, answer.nativeFinish], [null, null, null])
  })

  it("gathers 200,000 deltas in linear time", () => {
    const collector = Answer.collect()
    for (let index = 0; index < 200_000; index++) collector.add({ type: "text-delta", id: "0", delta: "0123456789" })
    collector.add(finish())
    const part = Option.getOrThrow(collector.end()).parts[0]
    assert.strictEqual(part?.type === "text" ? part.text.length : 0, 2_000_000)
  })
})
