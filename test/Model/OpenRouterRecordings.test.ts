import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Money from "../../src/Money.ts"
import type { Transcript } from "../../src/Run.ts"
import { answerTo, atEveryByteOnce, type Check, failureOf, recordings } from "../support/openrouter.ts"

/** DeepSeek's own interface speaks the same format. */
for (const provider of ["openrouter", "deepseek"]) {
  describe(`OpenRouter, recordings of ${provider}`, () => {
    const recorded = recordings(provider)

    /** What a recorded body says, read without the adapter. */
    /* oxlint-disable typescript/no-explicit-any -- recorded JSON, looked at by hand */
    const expected = (body: string) => {
      const chunks: ReadonlyArray<Record<string, any>> = body.trimStart().startsWith("{")
        ? [JSON.parse(body)]
        : body.split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)))
      const said = { reasoning: "", text: "", details: "", signature: undefined as string | undefined }
      const calls: Array<{ id: string; name: string; arguments: string }> = []
      let finish = ""
      let native = ""
      let use: Record<string, any> = {}
      for (const chunk of chunks) {
        const choice = chunk["choices"][0]
        const delta = choice.delta ?? choice.message
        said.reasoning += delta.reasoning ?? ""
        said.text += delta.content ?? ""
        for (const detail of delta.reasoning_details ?? []) {
          said.details += detail.text ?? ""
          said.signature ??= detail.signature
        }
        for (const call of delta.tool_calls ?? []) {
          if (call.id) calls[call.index] = { id: call.id, name: call.function.name, arguments: "" }
          const known = calls[call.index]
          if (known !== undefined) known.arguments += call.function.arguments
        }
        finish = choice.finish_reason ?? finish
        native = choice.native_finish_reason ?? native
        use = chunk["usage"] ?? use
      }
      return { said, calls, finish, native: native || finish, use, model: chunks[0]?.["model"], host: chunks[0]?.["provider"] }
    }

    const check = (body: string): Check => {
      const { calls, finish, host, model, native, said, use } = expected(body)
      const details = said.signature === undefined ? undefined : JSON.stringify([
        { type: "reasoning.text", text: said.details, format: "anthropic-claude-v1", index: 0, signature: said.signature }
      ])
      const parts: ReadonlyArray<Transcript.AssistantPart> = [
        ...(said.reasoning === "" ? [] : [{
          type: "reasoning" as const, text: said.reasoning, ...(details === undefined ? {} : { opaque: { openrouter: { reasoning_details: details } } })
        }]),
        ...(said.text === "" ? [] : [{ type: "text" as const, text: said.text }]),
        ...calls.map((call) => ({ type: "tool-call" as const, ...call, arguments: call.arguments || "{}" }))
      ]
      assert.isAbove(parts.length, 0)
      return ({ answer, error }) => {
        assert.isUndefined(error)
        assert.deepStrictEqual(answer?.parts, parts)
        assert.strictEqual(answer?.finish, finish === "tool_calls" ? "tool-calls" : "stop")
        assert.strictEqual(answer?.requestId, "gen-1")
        assert.strictEqual(answer?.servedModel, model)
        const cached = use["prompt_tokens_details"].cached_tokens
        assert.deepInclude(answer?.usage, {
          uncached: use["prompt_tokens"] - cached, cacheRead: cached, cacheWrite: 0, cacheWriteHour: 0,
          output: use["completion_tokens"], reasoning: use["completion_tokens_details"]?.reasoning_tokens ?? 0
        })
        assert.deepStrictEqual(answer?.reportedCost, use["cost"] === undefined ? Option.none() : Option.some(Money.usd(String(use["cost"]))))
        assert.deepInclude(answer, { host: host ?? null, nativeFinish: native })
      }
    }
    /* oxlint-enable typescript/no-explicit-any */

    it("are there where CONDUCTOR_RECORDINGS is set", () => {
      assert.isTrue(recorded.length > 0 || process.env["CONDUCTOR_RECORDINGS"] === undefined)
    })

    for (const { body, name } of recorded.filter(({ status }) => status === 200)) {
      it.effect(`${name}, whole`, () => Effect.map(answerTo([], { body }), check(body)))

      it.live(`${name}, cut at every byte and in pieces of one`, () => atEveryByteOnce(body, check(body)), 240_000)
    }

    for (const { body, name, status } of recorded.filter(({ status }) => status !== 200)) {
      it.effect(`${name} is a conversation that is too long`, () =>
        Effect.gen(function*() {
          const failure = yield* failureOf({ status, headers: { "content-type": "application/json" }, body })
          assert.deepInclude(failure, { reason: "InvalidRequestError", retryable: false })
          assert.include(failure.message, "parameter 'messages'")
          assert.include(failure.message, "maximum context length is 200000 tokens")
          assert.include(failure.message, "start a new session, or choose a model with a longer context")
        }))
    }
  })
}
