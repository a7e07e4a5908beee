import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Exit, Schema } from "effect"
import { failures as anthropicFailures } from "../../src/Model/Anthropic/Failure.ts"
import { Decoder as Anthropic } from "../../src/Model/Anthropic/Response.ts"
import { failures as geminiFailures } from "../../src/Model/Gemini/Failure.ts"
import { Decoder as Gemini } from "../../src/Model/Gemini/Response.ts"
import * as Idle from "../../src/Model/Idle.ts"
import { failures as openRouterFailures } from "../../src/Model/OpenRouter/Failure.ts"
import { Decoder as OpenRouter } from "../../src/Model/OpenRouter/Response.ts"
import * as Wire from "../../src/Model/Wire.ts"
import { makeChance } from "../support/chance.ts"
import { play } from "../support/wire.ts"

const providers = {
  anthropic: { failures: anthropicFailures, decoder: (): Wire.Decoder => new Anthropic(null) },
  openrouter: { failures: openRouterFailures, decoder: (): Wire.Decoder => new OpenRouter(null) },
  google: { failures: geminiFailures, decoder: (): Wire.Decoder => new Gemini(() => 0) }
}

/** What comes of these bytes, in pieces that end at these places. */
const read = (provider: keyof typeof providers, bytes: Uint8Array, cuts: ReadonlyArray<number>) =>
  Effect.scoped(Effect.gen(function*() {
    const watch = yield* Idle.watch
    const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
    const pieces = [0, ...places].map((from, index) => bytes.slice(from, places[index] ?? bytes.length))
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const piece = pieces.shift()
        if (piece === undefined) controller.close()
        else controller.enqueue(piece)
      }
    })
    const { decoder, failures } = providers[provider]
    return yield* play(Wire.parts(new Response(body), watch, { url: "http://here", failures, decoder: decoder() }))
  }))

const names = [
  "type", "index", "delta", "content_block", "message", "usage", "id", "name", "input", "text", "thinking", "signature", "partial_json", "stop_reason",
  "choices", "finish_reason", "native_finish_reason", "tool_calls", "function", "arguments", "reasoning", "reasoning_details", "reasoning_content",
  "content", "error", "code", "candidates", "parts", "functionCall", "args", "thoughtSignature", "thought", "finishReason", "promptFeedback",
  "usageMetadata", "prompt_tokens", "completion_tokens", "cost", "input_tokens", "output_tokens", "promptTokenCount", "metadata", "blockReason"
]
const types = [
  "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "error", "text", "thinking",
  "redacted_thinking", "tool_use", "text_delta", "thinking_delta", "signature_delta", "input_json_delta", "reasoning.text", "reasoning.encrypted", "message"
]
const plain = [
  null, 0, -1, 1, 2, 1e308, 3.5, "", "x", "\u0000\ud800", "__proto__", "stop", "tool_calls", "STOP", "MALFORMED_FUNCTION_CALL", "{\"a\":", "1}", "{}", "é", true, [], {}, [null], [[]], { text: 1 }
]

/** JSON of the providers' names and words in no order, and anything else between. */
const anything = (roll: () => number, depth = 0): unknown => {
  const of = <A>(list: ReadonlyArray<A>): A | undefined => list[Math.floor(roll() * list.length)]
  const kind = roll()
  if (depth > 5 || kind < 0.15) return of(plain)
  if (kind < 0.35) return of(types)
  if (kind < 0.5) return Array.from({ length: Math.floor(roll() * 3) }, () => anything(roll, depth + 1))
  return Object.fromEntries(Array.from({ length: Math.floor(roll() * 6) }, () => [of(names) ?? "", anything(roll, depth + 1)]))
}

/** An event of a provider with anything in its places, or anything at all. */
const shaped = (provider: keyof typeof providers, roll: () => number): unknown => {
  const of = <A>(list: ReadonlyArray<A>): A | undefined => list[Math.floor(roll() * list.length)]
  const any = () => anything(roll, 3)
  const often = (value: unknown) => roll() < 0.8 ? value : any()
  const maybe = (fields: Record<string, unknown>) => Object.fromEntries(Object.entries(fields).filter(() => roll() < 0.6))
  if (roll() < 0.15) return anything(roll)
  const index = often(Math.floor(roll() * 3))
  switch (provider) {
    case "anthropic":
      return of([
        { type: "message_start", message: often(maybe({ id: "m", model: "c", usage: often({ input_tokens: often(3), output_tokens: 1 }) })) },
        { type: "content_block_start", index, content_block: often({ type: of(["text", "thinking", "redacted_thinking", "tool_use", "new"]), id: `toolu_${roll()}`, ...maybe({ name: often("n"), input: often({}), data: often("d"), text: often(""), signature: often("") }) }) },
        { type: "content_block_delta", index, delta: often({ type: of(["text_delta", "thinking_delta", "signature_delta", "input_json_delta"]), text: often("a"), thinking: often("b"), signature: often("s"), partial_json: often(of(["{", "}", "{}", "\"a\":1"])) }) },
        { type: "content_block_stop", index },
        { type: "message_delta", delta: often(maybe({ stop_reason: often("end_turn"), stop_details: any() })), usage: often(maybe({ output_tokens: often(5) })) },
        ...(roll() < 0.3 ? [{ type: "message_stop" }, { type: "error", error: any() }] : [])
      ])
    case "openrouter":
      return {
        ...maybe({ id: often("g"), model: often("m"), provider: often("p") }),
        choices: often([often({
          ...(roll() < 0.15 ? { finish_reason: often(of(["stop", "tool_calls", "length", "error"])) } : {}),
          delta: often(maybe({
            content: often(of(["a", "", null, "b"])),
            reasoning: often(of(["r", "", null])),
            reasoning_details: often([often({ type: of(["reasoning.text", "reasoning.encrypted", "reasoning.summary"]), ...maybe({ text: often("r"), signature: often("s"), index: often(0), data: often("d"), id: often("i") }) })]),
            tool_calls: often(Array.from({ length: Math.floor(roll() * 3) }, () => often(maybe({ index, id: often(of(["", "a", "b", null])), function: often(maybe({ name: often(of(["", "n", "o", null])), arguments: often(of(["", "{", "}", "{}", "{\"a\":1}", "\"a\":1"])) })) }))))
          }))
        })]),
        ...(roll() < 0.1 ? { usage: often({ prompt_tokens: often(3), completion_tokens: often(2), cost: often(0.1) }) } : {}),
        ...(roll() < 0.03 ? { error: any() } : {})
      }
    case "google":
      return maybe({
        responseId: often("r"),
        modelVersion: often("g"),
        candidates: often([often({
          content: often({ parts: often(Array.from({ length: Math.floor(roll() * 3) }, () => often(maybe({ text: often(of(["a", ""])), thought: often(true), thoughtSignature: often("s"), ...(roll() < 0.3 ? { functionCall: often(maybe({ id: often("i"), name: often("n"), args: often({ a: 1 }) })) } : {}) })))) }),
          ...(roll() < 0.1 ? { finishReason: often(of(["STOP", "SAFETY", "MALFORMED_FUNCTION_CALL"])) } : {})
        })]),
        usageMetadata: often({ promptTokenCount: often(3), candidatesTokenCount: often(2) })
      })
  }
}

const wellFormed = (parts: ReadonlyArray<{ readonly type: string; readonly id?: string | undefined }>) => {
  const open = new Set<string>()
  parts.forEach((part, index) => {
    const [, kind, place] = /^(text|reasoning|tool-params)-(start|delta|end)$/.exec(part.type) ?? []
    if (part.type === "finish") assert.strictEqual(index, parts.length - 1, "finish is last")
    if (kind === undefined) return
    const key = `${kind} ${part.id}`
    if (place === "start") assert.isFalse(open.has(key), `${key} opens twice`)
    else assert.isTrue(open.has(key), `${part.type} of ${key} that is not open`)
    if (place === "start") open.add(key)
    if (place === "end") open.delete(key)
  })
}

for (const provider of Object.keys(providers) as ReadonlyArray<keyof typeof providers>) {
  describe(`${provider}, answers of anything`, () => {
    it.effect.prop(
      "are read alike however they are cut, and never break the reader",
      { seed: Arbitrary.schema(Schema.Int) },
      ({ seed }) =>
        Effect.gen(function*() {
          const roll = makeChance(String(seed)).next
          const values = Array.from({ length: Math.floor(roll() * 12) }, () => shaped(provider, roll))
          const cuts = Array.from({ length: Math.floor(roll() * 20) }, () => Math.floor(roll() * 4_000))
          const done = roll() < 0.5
          const text = values.map((value) => `data: ${JSON.stringify(value) ?? "null"}\r\n\r\n`).join("") + (done ? "data: [DONE]\n\n" : "")
          const bytes = new TextEncoder().encode(text)
          const whole = yield* Effect.exit(read(provider, bytes, []))
          const cut = yield* Effect.exit(read(provider, bytes, cuts))
          assert.isTrue(Exit.isSuccess(whole), String(whole))
          assert.isTrue(Exit.isSuccess(cut))
          if (!Exit.isSuccess(whole) || !Exit.isSuccess(cut)) return
          assert.deepStrictEqual(cut.value.parts, whole.value.parts)
          assert.strictEqual(cut.value.error?.message, whole.value.error?.message)
          const finish = whole.value.parts.find((part) => part.type === "finish")
          if (whole.value.error === undefined) assert.isDefined(finish)
          assert.strictEqual(finish?.type === "finish" && finish.reason === "error", finish !== undefined && whole.value.error !== undefined)
          JSON.stringify(whole.value.answer?.parts)
          wellFormed(whole.value.parts)
        }),
      { arbitrary: { runs: 300 } }
    )
  })
}
