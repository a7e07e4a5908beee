import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Result, Schema } from "effect"
import { Catalog, isForbidden, Models, of, Scripted } from "../../src/Model.ts"
import { ModelRef } from "../../src/Run.ts"

const refused = [
  "openai:gpt-5.5", "openai:whatever", "OpenAI:GPT-5", "open-ai:x", "open_ai:x", "open ai:x", "azure:gpt-4o", "azure-openai:prod", "azure_openai:x",
  "azureopenai:x", "gpt-4o", "gpt4", "GPT 5", "gpt-oss-120b", "openrouter:openai/gpt-5.5", "openrouter:openai/gpt-oss-120b:free",
  "openrouter:~openai/gpt-latest", "openrouter:OPENAI/o3", " openrouter : openai / o3 ", "openrouter:openai%2fgpt-5", "chatgpt-4o-latest", "openrouter:x/chatgpt",
  "o1", "o3", "o3-mini", "o4-mini-high", "o1-preview", "o1pro", "openrouter:x/o3-pro", "anthropic:o3", "anthropic:gpt-5",
  "text-davinci-003", "code-davinci-002", "davinci-002", "babbage-002", "text-embedding-3-large", "text-embedding-ada-002", "dall-e-3", "dalle-2",
  "whisper-1", "tts-1-hd", "sora-2", "codex-mini-latest", "omni-moderation-latest", "computer-use-preview", "ft:gpt-4o:me", "chat-latest", "azure:chat-latest", "openrouter:openrouter/auto-code", "vercel:openai/o3",
  "ｏｐｅｎａｉ:x", "open\u200bai:x", "op\u0301enai:x", "o\u00adpenai:x", "openrouter:openrouter/auto", "openrouter:openrouter/free", "openrouter:@preset/mine",
  "openrouter:switchpoint/router"
]

const allowed = [
  "anthropic:claude-opus-5-5", "google:gemini-4-argon", "openrouter:deepseek/deepseek-v4.1-flash", "openrouter:qwen/qwen3.8-27b",
  "openrouter:moonshotai/kimi-k3", "scripted:demo", "scripted:o-two", "local:adapt-1", "custom:pro3", "openrouter:qwen/qwq-32b-o10x", "test:open-air",
  "openrouter:anthropic/claude-opus-5-5", "openrouter:google/gemini-3.8-flash", "local:canada", "local:curies", "bedrock:anthropic.claude-sonnet-5",
  "google:gemini-2.5-computer-use-preview-10-2025", "openrouter:mistralai/codestral-2508"
]

describe("Forbidden", () => {
  for (const model of refused) {
    it(`refuses ${JSON.stringify(model)}`, () => {
      const result = of(model)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure._tag, "ForbiddenModel")
        assert.include(result.failure.message, "OpenAI")
      }
    })
  }

  for (const model of allowed) {
    it(`allows ${model}`, () => assert.deepStrictEqual(of(model), Result.succeed(ModelRef.make(model))))
  }

  it.prop("refuses however it is spelled", {
    prefix: Schema.Literals(["", "openrouter:", "azure:", "anthropic:", "any-thing:", "openrouter:x/"]),
    name: Schema.Literals(["openai/anything", "gpt-5", "chatgpt-4o", "~openai/x", "openai/o3-mini"]),
    noises: Arbitrary.array(Arbitrary.schema(Schema.Literals(["", " ", "\t", "\u200b", "\u00ad", "\ufeff"])), { minLength: 40, maxLength: 40 }),
    uppers: Arbitrary.array(Arbitrary.schema(Schema.Boolean), { minLength: 40, maxLength: 40 })
  }, ({ name, noises, prefix, uppers }) => {
    const letters = [...`${prefix}${name}`].map((letter, index) => `${uppers[index] === true ? letter.toUpperCase() : letter}${noises[index] ?? ""}`)
    assert.isTrue(isForbidden(letters.join("")))
  }, { arbitrary: { runs: 500 } })

  it("asks for the form of a reference, with an example", () => {
    for (const text of ["", "claude", ":", "anthropic:", "Anthropic:claude", "anthropic:claude opus", "1x:y"]) {
      const result = of(text)
      assert.isTrue(Result.isFailure(result) && result.failure._tag === "UnknownModel", text)
      if (Result.isFailure(result)) assert.include(result.failure.message, "anthropic:claude-sonnet-5-5")
    }
  })

  it.effect("does not resolve one, even where a provider of that name was given", () =>
    Effect.gen(function*() {
      const { resolve } = yield* Models
      for (const ref of refused.filter((text) => /^[a-z][a-z0-9-]*:\S+$/.test(text))) {
        const error = yield* Effect.flip(resolve(ModelRef.make(ref)))
        assert.strictEqual(error._tag, "ForbiddenModel")
      }
    }).pipe(Effect.provide(
      Models.layerOf({ openai: Scripted.make([]), openrouter: Scripted.make([]), azure: Scripted.make([]), anthropic: Scripted.make([]) }).pipe(
        Layer.provide(Catalog.layerShipped)
      )
    )))

  it.effect("lists none", () =>
    Effect.gen(function*() {
      const catalog = yield* Catalog
      assert.deepStrictEqual(catalog.entries.filter((entry) => isForbidden(entry.ref)), [])
    }).pipe(Effect.provide(Catalog.layerShipped)))

  it("has no OpenAI client among the dependencies, nor below them", () => {
    const read = (name: string) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"))
    const manifest = read("package.json")
    const locked = Object.keys(read("package-lock.json").packages)
    assert.isAbove(locked.length, 10)
    const names = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies ?? {}), ...locked]
    assert.deepStrictEqual(names.filter((name) => /openai|chatgpt|tiktoken|gpt-/i.test(name)), [])
  })
})
