/** Nothing of the tree names, ships or reaches an OpenAI model, and no door lets one in. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Result, Stream } from "effect"
import { FetchHttpClient } from "effect/http"
import * as fs from "node:fs"
import * as path from "node:path"
import { Agent, Conductor, Model, Run } from "../../src/index.ts"
import { isForbiddenUrl } from "../../src/Model/Forbidden.ts"
import { conductor } from "../support/cli.ts"
import { scratchPath } from "../support/databases.ts"

const root = path.resolve(import.meta.dirname, "../..")
const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8")

/** The files below a folder, and the folder itself where it is a file. */
const below = (folder: string): ReadonlyArray<string> =>
  fs.statSync(path.join(root, folder)).isDirectory()
    ? fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
      .map((file) => path.join(folder, file))
      .filter((file) => fs.statSync(path.join(root, file)).isFile())
    : [folder]

const shipped = ["src", "sql", "package.json", "tsconfig.json", ".env.example", "README.md", "BACKLOG.md"].flatMap(below)

/** What could be the name of a model, a package, a module or a host. */
const words = (text: string): ReadonlyArray<string> => [...new Set(text.match(/[\p{L}\p{N}@~._:/%-]+/gu) ?? [])]

describe("the tree", () => {
  it("names no OpenAI model, package or host: the word stands in sentences that refuse it, and in the patterns that do", () => {
    assert.isAbove(shipped.length, 100)
    const naming = shipped.filter((file) => file !== path.join("src", "Model", "Forbidden.ts")).flatMap((file) =>
      words(read(file)).filter((word) => Model.isForbidden(word) && word !== "OpenAI").map((word) => `${file}: ${word}`))
    assert.deepStrictEqual(naming, [])
  })

  it("has no addresses but those of its providers, and of this machine", () => {
    const hosts = new Set(below("src").flatMap((file) => [...read(file).matchAll(/["'`]https?:\/\/([\w.-]+)[^"'`]*["'`]/g)].map((match) => match[1])))
    assert.deepStrictEqual([...hosts].toSorted(), ["127.0.0.1", "api.anthropic.com", "generativelanguage.googleapis.com", "openrouter.ai"])
  })

  it("installs no client of OpenAI, directly or below anything, nor a package that wants one beside it", () => {
    const { packages } = JSON.parse(read("package-lock.json")) as { readonly packages: Record<string, Record<string, unknown>> }
    assert.isAbove(Object.keys(packages).length, 100)
    const kinds = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta", "bundleDependencies"]
    const named = Object.entries(packages).flatMap(([name, entry]) => [
      name, String(entry["resolved"] ?? ""), ...kinds.flatMap((kind) => Object.keys(entry[kind] ?? {}))
    ])
    assert.deepStrictEqual(named.filter((name) => /openai|open-ai|chatgpt|tiktoken|(^|[^a-z])gpt/i.test(name)), [])
  })

  it("imports none in its tests and scripts either", () => {
    const imports = below("test").filter((file) => file.endsWith(".ts")).flatMap((file) =>
      [...read(file).matchAll(/(?:from|import|require)\s*\(?\s*"([^".][^"]*)"/g)].map((match) => match[1] ?? ""))
    assert.isAbove(imports.length, 100)
    assert.deepStrictEqual(imports.filter((name) => /openai|tiktoken|gpt/i.test(name)), [])
  })

  it.effect("lists none, and has none where a model is chosen by default", () =>
    Effect.gen(function*() {
      const { entries } = yield* Model.Catalog
      assert.isAbove(entries.length, 30)
      assert.deepStrictEqual(entries.filter(({ ref, source }) => Model.isForbidden(ref) || Model.isForbidden(source ?? "")), [])
      for (const task of Model.Task.literals) {
        for (const budget of Model.BudgetTier.literals) {
          const picked = Model.pick({ task, budget }, entries)
          if (Result.isSuccess(picked)) assert.isFalse(Model.isForbidden(picked.success.entry.ref))
        }
      }
    }).pipe(Effect.provide(Model.Catalog.layerShipped)))
})

describe("names at OpenRouter", () => {
  const maker = "openrouter:openai/gpt-5"
  for (const suffix of ["", ":free", ":nitro", ":floor", ":online", ":exacto", ":thinking", ":batch", ":extended", "@preset/mine", ":free:nitro"]) {
    it(`are refused with "${suffix}" as without`, () => assert.isTrue(Model.isForbidden(`${maker}${suffix}`)))
  }

  for (const router of [
    "openrouter:auto", "openrouter:auto-beta", "openrouter:openrouter/auto", "openrouter:openrouter/auto-code:nitro", "openrouter:openrouter/free",
    "openrouter:openrouter/fusion", "openrouter:openrouter/pareto-code", "openrouter:typesafe/jev-router", "openrouter:TypeSafe/Jev-Router",
    "openrouter:switchpoint/router", "openrouter:notdiamond/auto", "openrouter:sakana/fugu-ultra-v2", "openrouter:@preset/mine",
    "openrouter:deepseek/deepseek-v4.1-flash@preset/mine"
  ]) {
    it(`that choose a model themselves are refused: ${router}`, () => assert.isTrue(Result.isFailure(Model.of(router))))
  }

  it.effect("of other models may have a suffix; only the exact name has a price, because a suffix is another host", () =>
    Effect.gen(function*() {
      const { find } = yield* Model.Catalog
      for (const suffix of [":nitro", ":floor", ":online", ":free"]) {
        const ref = Result.getOrThrow(Model.of(`openrouter:deepseek/deepseek-v4.1-flash${suffix}`))
        assert.isTrue(Option.isNone(find(ref)), suffix)
      }
      assert.isTrue(Option.isSome(find(Result.getOrThrow(Model.of("openrouter:google/gemma-4-31b-it:free")))))
    }).pipe(Effect.provide(Model.Catalog.layerShipped)))
})

/** The providers that Conductor brings, with keys, over a network that nothing may reach. */
const world = (env: Readonly<Record<string, string>> = {}) => {
  const asked: Array<string> = []
  const fetch: typeof globalThis.fetch = (input) => {
    asked.push(input instanceof Request ? input.url : String(input))
    return Promise.resolve(new Response(JSON.stringify({ error: { message: "no such thing", code: 400 } }), { status: 400 }))
  }
  const keys = { ANTHROPIC_API_KEY: "key", OPENROUTER_API_KEY: "key", GEMINI_API_KEY: "key", ...env }
  const models = Model.Models.layer.pipe(
    Layer.provideMerge(Model.Catalog.layerShipped),
    Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(keys)))
  )
  return { asked, models }
}

const names = ["openai:gpt-6", "openrouter:openai/gpt-6", "google:gpt-6", "anthropic:o3", "openrouter:openrouter/auto"]

const agentWith = (model: string | Model.Choice) => Agent.make("assistant", { instructions: "Help.", model })
const claude = agentWith("anthropic:claude-haiku-5-5")

describe("the definition of an agent", () => {
  for (const name of names) {
    it.effect(`with ${name} is refused with the layer, however it names it`, () =>
      Effect.gen(function*() {
        for (const choice of [
          name, Model.of(name), Model.fallback(name, "anthropic:claude-haiku-5-5"), Model.fallback("anthropic:claude-haiku-5-5", name),
          Model.fallback("anthropic:claude-haiku-5-5", Model.fallback(Model.select({ task: "fast" }), Model.of(name))),
          Model.select({ task: "coding", prefer: name }), Model.select({ task: "coding", prefer: ["claude", name] })
        ]) {
          const { asked, models } = world()
          const error = yield* Effect.flip(Effect.scoped(Layer.build(Conductor.layerMemory({ agents: [agentWith(choice)], models }))))
          assert.strictEqual(error._tag, "ForbiddenModel")
          assert.deepStrictEqual(asked, [])
        }
      }))
  }
})

describe("a run", () => {
  for (const name of names) {
    const ref = Run.ModelRef.make(name)
    it.live(`is not performed with ${name}: as its model, in a conversation, again, or as what is asked next`, () =>
      Effect.gen(function*() {
        const { asked, models } = world()
        yield* Effect.gen(function*() {
          const run = yield* Conductor.start(claude, "Hi", { model: ref, session: "talk" })
          assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "ForbiddenModel")
          assert.strictEqual((yield* Effect.flip(Conductor.run(claude, "And now?", { model: ref, session: "talk" })))._tag, "ForbiddenModel")
          const { retry } = yield* Conductor
          yield* retry(run)
          assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "ForbiddenModel")
          assert.deepStrictEqual(asked, [])
          const next = yield* Effect.flip(Conductor.run(claude, "Hi", { model: Run.ModelRef.make("anthropic:claude-haiku-5-5"), fallback: [ref] }))
          assert.include(["ForbiddenModel", "ModelFailed"], next._tag)
          assert.isTrue(asked.length > 0 && asked.every((url) => url.startsWith("https://api.anthropic.com/")), asked.join(" "))
        }).pipe(Effect.provide(Conductor.layerMemory({ agents: [claude], models })))
      }))
  }

  it.effect("finds no model behind such a name, even where somebody gives a provider of that name", () =>
    Effect.gen(function*() {
      const { resolve } = yield* Model.Models
      for (const name of names) assert.strictEqual((yield* Effect.flip(resolve(Run.ModelRef.make(name))))._tag, "ForbiddenModel")
    }).pipe(Effect.provide(
      Model.Models.layerOf({ openai: Model.Scripted.make([]), openrouter: Model.Scripted.make([]), google: Model.Scripted.make([]), anthropic: Model.Scripted.make([]) })
        .pipe(Layer.provide(Model.Catalog.layerShipped))
    )))
})

describe("an address of OpenAI", () => {
  for (const [provider, variable] of [["anthropic", "ANTHROPIC_BASE_URL"], ["openrouter", "OPENROUTER_BASE_URL"], ["google", "GEMINI_BASE_URL"]] as const) {
    it.effect(`is refused in ${variable}, so that the provider cannot be asked`, () =>
      Effect.gen(function*() {
        for (const url of [
          "https://api.openai.com/v1", "https://API.OpenAI.com", "https://mine.openai.azure.com/openai", "https://chatgpt.com/backend-api",
          "https://api.open%61i.com/v1", "https://ａｐｉ.ｏｐｅｎａｉ.com", "https://eu.api.openai.com./v1"
        ]) {
          const { asked, models } = world({ [variable]: url })
          yield* Effect.gen(function*() {
            const { providers, resolve } = yield* Model.Models
            assert.isFalse(providers.get(provider), url)
            const { stream } = yield* resolve(Run.ModelRef.make(`${provider}:anything`))
            const request = { model: "anything", system: "", messages: [{ role: "user", text: "Hi" }], tools: [], maxOutput: 10 } as const
            const error = yield* Effect.flip(Stream.runDrain(stream(request)))
            assert.include(Model.describe(error).message, `which Conductor never uses: unset ${variable}`)
            assert.deepStrictEqual(asked, [])
          }).pipe(Effect.provide(models))
        }
      }))
  }

  it("is none that only looks like one", () => {
    for (const url of ["https://api.anthropic.com", "http://127.0.0.1:4010", "https://openrouter.ai/api/v1", "https://open.air.example/v1", "not a url"]) {
      assert.isFalse(isForbiddenUrl(url), url)
    }
  })
})

describe("the program", () => {
  const env = { ANTHROPIC_API_KEY: "key", OPENROUTER_API_KEY: "key", GEMINI_API_KEY: "key" }

  for (const name of [...names, "gpt-6", "openrouter:typesafe/jev-router"]) {
    it.effect(`refuses ${name} as a flag, a setting, a preference and in a catalogue`, () =>
      Effect.gen(function*() {
        const file = scratchPath("catalogue.json")
        fs.writeFileSync(file, JSON.stringify({ models: [{ ref: name.includes(":") ? name : `any:${name}`, prices: { input: "0", output: "0" } }] }))
        for (const [args, more, code] of [
          [["run", "Hi", "--model", name], {}, 2],
          [["run", "Hi"], { CONDUCTOR_MODEL: name }, 2],
          [["models", "pick", "--task", "coding", "--prefer", name], {}, 2],
          [["models"], { CONDUCTOR_CATALOG: file }, 1],
          [["run", "Hi"], { CONDUCTOR_CATALOG: file }, 1]
        ] as const) {
          const ran = yield* conductor(args, { env: { ...env, ...more } })
          assert.strictEqual(ran.code, code, args.join(" "))
          assert.match(ran.err, /is an OpenAI model( or may choose one)?, which Conductor never uses[^\n]*\n$/)
          assert.strictEqual(ran.out, "")
        }
      }))
  }
})
