import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Money from "../../src/Money.ts"
import { Catalog, describe as describeFailure, price } from "../../src/Model.ts"
import { ModelRef, type Transcript } from "../../src/Run.ts"
import { answerOf, atEveryByteOnce, failureOf, request, sentFor } from "../support/gemini.ts"
import { type Check, recordings } from "../support/wire.ts"

describe("Gemini, recordings", () => {
  const recorded = recordings("gemini")
  const answered = recorded.filter(({ status }) => status === 200)

  /* oxlint-disable typescript/no-explicit-any -- recorded JSON, looked at by hand */
  /** The chunks of a recorded body; an unstreamed answer is one chunk. */
  const chunksOf = (body: string): ReadonlyArray<Record<string, any>> =>
    body.startsWith("{")
      ? [JSON.parse(body)]
      : body.split("\r\n").filter((line) => line.startsWith("data: ")).map((line) => JSON.parse(line.slice(6)))

  /** What a recorded body says, read without the adapter: neighbours of one kind are one unless a signature parts them. */
  const expected = (body: string) => {
    const parts: Array<Transcript.AssistantPart> = []
    let use: Record<string, any> = {}
    let calls = 0
    let openKind: string | undefined
    for (const chunk of chunksOf(body)) {
      use = { ...use, ...chunk["usageMetadata"] }
      for (const part of chunk["candidates"][0].content.parts) {
        const signature = part.thoughtSignature === undefined ? {} : { thoughtSignature: part.thoughtSignature }
        if (part.functionCall !== undefined) {
          calls++
          const { args, id, name } = part.functionCall
          const opaque = { ...signature, ...(id === undefined ? {} : { id }) }
          parts.push({
            type: "tool-call", id: id ?? `call_${chunk["responseId"]}_${calls}`, name, arguments: JSON.stringify(args),
            ...(Object.keys(opaque).length === 0 ? {} : { opaque: { google: opaque } })
          })
          openKind = undefined
          continue
        }
        const type = part.thought === true ? "reasoning" : "text"
        const before = parts.at(-1)
        if (openKind === type && part.thoughtSignature === undefined && before !== undefined && before.type !== "tool-call") {
          parts[parts.length - 1] = { ...before, text: before.text + part.text }
        } else if (part.text !== "" || part.thoughtSignature !== undefined) {
          parts.push({ type, text: part.text, ...(part.thoughtSignature === undefined ? {} : { opaque: { google: signature } }) })
          openKind = part.thoughtSignature === undefined ? type : undefined
        }
      }
    }
    const chunk = chunksOf(body)[0]
    return { parts, use, calls, responseId: chunk?.["responseId"], servedModel: chunk?.["modelVersion"] }
  }

  const check = (body: string): Check => {
    const { calls, parts, responseId, servedModel, use } = expected(body)
    const thoughts = use["thoughtsTokenCount"] ?? 0
    assert.strictEqual(use["promptTokenCount"] + use["candidatesTokenCount"] + thoughts, use["totalTokenCount"])
    return ({ answer, error, parts: streamed }) => {
      assert.isUndefined(error)
      assert.deepStrictEqual(answer?.parts, parts)
      assert.strictEqual(answer?.finish, calls > 0 ? "tool-calls" : "stop")
      assert.strictEqual(answer?.requestId, responseId)
      assert.strictEqual(answer?.servedModel, servedModel)
      assert.strictEqual(answer?.note, null)
      assert.deepStrictEqual(answer?.usage, {
        uncached: use["promptTokenCount"], cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0,
        output: use["candidatesTokenCount"] + thoughts, reasoning: thoughts
      })
      assert.deepInclude(streamed.at(-1)?.metadata?.["google"], { nativeFinish: "STOP" })
    }
  }

  it("plays what CONDUCTOR_RECORDINGS has", () => {
    assert.isTrue(recorded.length > 0 || process.env["CONDUCTOR_RECORDINGS"] === undefined)
  })

  for (const exchange of answered) {
    const body = exchange.body.startsWith("{") ? chunksOf(exchange.body).map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join("") : exchange.body

    it.effect(`${exchange.name}, whole, and its cost`, () =>
      Effect.gen(function*() {
        const { answer, error, parts } = yield* answerOf({ body })
        check(exchange.body)({ answer, error, parts })
        assert.isDefined(answer)
        // Gemini 3.1 Pro: 2 dollars in, 12 out, per million.
        const catalog = yield* Catalog
        const cost = Option.flatMap(catalog.find(ModelRef.make("google:gemini-3.1-pro-preview")), (entry) => price(entry, answer.usage))
        const { use } = expected(exchange.body)
        assert.deepStrictEqual(cost, Option.some(Money.charge([
          { units: use["promptTokenCount"], perMillion: Money.usd("2") },
          { units: use["totalTokenCount"] - use["promptTokenCount"], perMillion: Money.usd("12") }
        ])))
      }).pipe(Effect.provide(Catalog.layerShipped)))

    it.live(`${exchange.name}, cut at every byte and in pieces of one`, () => atEveryByteOnce(body, check(exchange.body)), 240_000)
  }

  for (const name of new Set(answered.map((exchange) => exchange.name.replace(/ #\d+$/, "")))) {
    const exchanges = answered.filter((exchange) => exchange.name.startsWith(`${name} #`))
    if (exchanges.length < 2) continue

    it.effect(`${name}: the conversation goes back as it was recorded going back`, () =>
      Effect.gen(function*() {
        const model = "gemini-2.5-flash"
        const messages: Array<Transcript.Message> = []
        for (const [index, exchange] of exchanges.entries()) {
          const contents: ReadonlyArray<Record<string, any>> = (exchange.request as Record<string, any>)["contents"]
          const asked = contents.at(-1)?.["parts"][0]
          const before = messages.at(-1)
          if (asked.text !== undefined) messages.push({ role: "user", text: asked.text })
          else if (before?.role === "assistant") {
            const calls = before.parts.flatMap((part) => part.type === "tool-call" ? [part] : [])
            messages.push({ role: "tool", results: calls.map(({ id, name }) => ({ id, name, isFailure: false, result: "\"15°C\"" })) })
          }
          const { body } = yield* sentFor(request({ model, messages: [...messages] }))
          assert.strictEqual(body.contents.length, contents.length)
          for (const [at, content] of contents.entries()) {
            assert.strictEqual(body.contents[at].role, content["role"])
            if (content["role"] !== "model") continue
            assert.strictEqual(body.contents[at].parts.map((part: any) => part.text ?? "").join(""), content["parts"].map((part: any) => part.text ?? "").join(""))
            const calls = (parts: ReadonlyArray<any>) =>
              parts.filter((part) => part.functionCall !== undefined)
                .map((part) => ({ ...part, functionCall: { name: part.functionCall.name, args: part.functionCall.args } }))
            assert.deepStrictEqual(calls(body.contents[at].parts), calls(content["parts"]))
          }
          messages.push({ role: "assistant", model: `google:${model}`, parts: expected(exchanges[index]?.body ?? "").parts })
        }
      }))
  }

  for (const exchange of recorded.filter(({ status }) => status !== 200)) {
    const script = { status: exchange.status, headers: { "content-type": "application/json" }, body: exchange.body }

    it.effect(`${exchange.name}: more tokens in a minute than allowed, to be asked again when Google says`, () =>
      Effect.gen(function*() {
        const failure = yield* failureOf(script)
        assert.deepInclude(failure, { reason: "RateLimitError", retryable: true, retryAfterMs: 48_000 })
        assert.include(failure.message, "generate_content_paid_tier_input_token_count, limit: 1000000")
      }))

    it.effect(`${exchange.name}: a request that is more than a minute's tokens by itself is too long`, () =>
      Effect.gen(function*() {
        const { error } = yield* answerOf(script, request({ messages: [{ role: "user", text: "word ".repeat(800_001) }] }))
        assert.isDefined(error)
        const failure = describeFailure(error)
        assert.deepInclude(failure, { reason: "InvalidRequestError", retryable: false })
        assert.include(failure.message, "The conversation is too long for the model: start a new session")
      }))
  }
})
