import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../src/index.ts"
import * as anthropic from "./support/anthropic.ts"
import { freshDirectory } from "./support/databases.ts"
import * as gemini from "./support/gemini.ts"
import { type Replay, replay } from "./support/replay.ts"

/* oxlint-disable typescript/no-explicit-any -- bodies of three formats, looked at by hand */

const tool = (name: string, approval: boolean) =>
  Tool.make(name, {
    description: "Tells the weather.",
    parameters: Schema.Struct({ city: Schema.String }),
    success: Schema.Struct({ sky: Schema.String }),
    effect: "pure",
    ...(approval ? { approval: true } : {})
  })

const plugin = Plugin.make("weather", {
  tools: [tool("weather", true), tool("look", false)],
  handlers: { weather: () => Effect.succeed({ sky: "rain" }), look: () => Effect.succeed({ sky: "sun" }) }
})

const agent = Agent.make("assistant", { instructions: "Be brief.", model: "anthropic:claude-sonnet-5-5", plugins: [plugin] })

/** The agent with other instructions, which goes on with what the one before began. */
const upgraded = Agent.make("assistant", { instructions: "Be kind.", model: "anthropic:claude-sonnet-5-5", plugins: [plugin], upgrade: () => Agent.adopt() })

/** The runtime on a directory, with every provider at the address of a server. */
const runtime = (dir: string, server: Replay, agents: ReadonlyArray<typeof agent> = [agent]) => {
  const variables = Object.fromEntries(["ANTHROPIC", "OPENROUTER", "GEMINI"].flatMap((name) => [[`${name}_API_KEY`, "test"], [`${name}_BASE_URL`, server.url]]))
  const models = Layer.fresh(Model.Models.layer).pipe(
    Layer.provideMerge(Model.Catalog.layerShipped),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(variables)))
  )
  return Conductor.layerEmbedded({ agents, models, dir })
}

// The answers of each provider: reasoning with all that is opaque, and a call or the last word.

const claude = (turn: number, name: string | undefined): string =>
  anthropic.sse([
    anthropic.start(),
    ...anthropic.block(0, { type: "thinking", thinking: "", signature: "" }, { type: "thinking_delta", thinking: `Thought ${turn}, ä.` }, { type: "signature_delta", signature: `claude-sig-${turn}/+==` }),
    ...anthropic.block(1, { type: "redacted_thinking", data: `claude-redacted-${turn}==` }),
    ...anthropic.block(2, { type: "thinking", thinking: "", signature: "" }, { type: "signature_delta", signature: `claude-empty-${turn}==` }),
    ...anthropic.text(3, `Claude says ${turn}.`),
    ...(name === undefined ? [] : anthropic.toolUse(4, `toolu_${turn}`, name, "{\"city\":\"Lisbon\"}")),
    ...anthropic.end(name === undefined ? "end_turn" : "tool_use")
  ])

const google = (turn: number, name: string | undefined): string =>
  gemini.sse([
    gemini.chunk([{ text: `Thought ${turn}, ä.`, thought: true }], {}, { responseId: `resp-${turn}` }),
    gemini.chunk([{ text: `Gemini says ${turn}.` }]),
    gemini.last("STOP", name === undefined
      ? [{ text: "", thoughtSignature: `gemini-text-${turn}/+==` }]
      : [gemini.call(name, { city: "Lisbon" }, { thoughtSignature: `gemini-call-${turn}/+==` }), gemini.call(name, { city: "Porto" })])
  ])

const chunkOf = (delta: object, more: object = {}) =>
  `data: ${JSON.stringify({ id: "gen-1", model: "deepseek/deepseek-v4-pro-0813", provider: "DeepInfra", choices: [{ index: 0, delta, finish_reason: null, ...more }] })}\n\n`

const deepseek = (turn: number, name: string | undefined): string =>
  [
    ": OPENROUTER PROCESSING\n\n",
    chunkOf({ role: "assistant", content: "", reasoning: "Thought ", reasoning_details: [{ type: "reasoning.text", text: "Thought ", format: "unknown", index: 0 }] }),
    chunkOf({ content: "", reasoning: `${turn}, ä.`, reasoning_details: [{ type: "reasoning.text", text: `${turn}, ä.`, signature: `deepseek-sig-${turn}/+==`, format: "unknown", index: 0 }] }),
    chunkOf({ content: "", reasoning_details: [{ type: "reasoning.encrypted", data: `deepseek-data-${turn}==`, id: "r", format: "unknown", index: 1 }] }),
    chunkOf({ content: `DeepSeek says ${turn}.` }),
    ...(name === undefined ? [] : [chunkOf({ tool_calls: [{ index: 0, id: "functions.weather:0", type: "function", function: { name, arguments: "{\"city\":\"Lisbon\"}" } }] })]),
    chunkOf({ content: "" }, { finish_reason: name === undefined ? "stop" : "tool_calls" }),
    `data: ${JSON.stringify({ id: "gen-1", choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, cost: 0.0001 } })}\n\n`,
    "data: [DONE]\n\n"
  ].join("")

interface Asked {
  readonly ref: string
  readonly answer: (turn: number, name: string | undefined) => string
  /** The answers of the model in a body, as they went back. */
  readonly answers: (body: any) => ReadonlyArray<any>
  /** What of one of them is opaque, in order. */
  readonly opaque: (answer: any) => ReadonlyArray<unknown>
  readonly expected: (turn: number, called: boolean) => ReadonlyArray<unknown>
}

const providers: readonly [Asked, Asked, Asked] = [
  {
    ref: "anthropic:claude-sonnet-5-5",
    answer: claude,
    answers: (body) => body.messages.filter((message: any) => message.role === "assistant"),
    opaque: ({ content }) => content.filter((block: any) => block.type.endsWith("thinking")),
    expected: (turn) => [
      { type: "thinking", thinking: `Thought ${turn}, ä.`, signature: `claude-sig-${turn}/+==` },
      { type: "redacted_thinking", data: `claude-redacted-${turn}==` },
      { type: "thinking", thinking: "", signature: `claude-empty-${turn}==` }
    ]
  },
  {
    ref: "google:gemini-3.8-flash",
    answer: google,
    answers: (body) => body.contents.filter((content: any) => content.role === "model"),
    opaque: ({ parts }) => parts.map((part: any) => [Object.keys(part)[0], part.thoughtSignature]),
    expected: (turn, called) =>
      called
        ? [["text", undefined], ["functionCall", `gemini-call-${turn}/+==`], ["functionCall", undefined]]
        : [["text", undefined], ["text", `gemini-text-${turn}/+==`]]
  },
  {
    ref: "openrouter:deepseek/deepseek-v4-pro-0813",
    answer: deepseek,
    answers: (body) => body.messages.filter((message: any) => message.role === "assistant"),
    opaque: (message) => message.reasoning_details,
    expected: (turn) => [
      { type: "reasoning.text", text: `Thought ${turn}, ä.`, format: "unknown", index: 0, signature: `deepseek-sig-${turn}/+==` },
      { type: "reasoning.encrypted", data: `deepseek-data-${turn}==`, id: "r", format: "unknown", index: 1 }
    ]
  }
]

const bodies = (server: Replay): ReadonlyArray<any> => server.received.map(({ body }) => JSON.parse(body))

/** What was said, without the marks of the cache, which move on. */
const said = (body: any): ReadonlyArray<string> =>
  (body.messages ?? body.contents).map((message: object) => JSON.stringify(message, (key, value: unknown) => key === "cache_control" ? undefined : value))

for (const { answer, answers, expected, opaque, ref } of providers) {
  describe(`A conversation with ${ref}`, () => {
    it.live("of one run that another process goes on with after each call sends back what is opaque, byte for byte", () =>
      Effect.gen(function*() {
        const dir = yield* freshDirectory
        const server = yield* replay(...[answer(1, "weather"), answer(2, "weather"), answer(3, undefined)].map((body) => ({ body })))
        const open = <A, E>(use: Effect.Effect<A, E, Conductor>) => Effect.provide(use, runtime(dir, server))

        const run = yield* open(Effect.gen(function*() {
          const run = yield* Conductor.start(agent, "Weather?", { model: Run.ModelRef.make(ref) })
          assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "RunWaiting")
          return run
        }))
        const approve = Effect.gen(function*() {
          for (const { id } of yield* Conductor.approvals()) yield* Conductor.decide(id, { decision: "approved" })
          return yield* Effect.result(Conductor.result(run))
        })
        assert.strictEqual((yield* open(approve))._tag, "Failure")
        assert.strictEqual((yield* open(approve))._tag, "Success")

        const sent = bodies(server)
        assert.strictEqual(sent.length, 3)
        for (const [index, body] of sent.entries()) {
          assert.strictEqual(answers(body).length, index)
          for (const [at, one] of answers(body).entries()) assert.deepStrictEqual(opaque(one), expected(at + 1, true))
          const before = index === 0 ? [] : said(sent[index - 1])
          assert.deepStrictEqual(said(body).slice(0, before.length), before)
        }
      }).pipe(Effect.scoped), 180_000)

    it.live("of one session with a process for each run does too", () =>
      Effect.gen(function*() {
        const dir = yield* freshDirectory
        const server = yield* replay(...[1, 2, 3].flatMap((run) => [answer(run * 2 - 1, "look"), answer(run * 2, undefined)]).map((body) => ({ body })))
        for (let run = 1; run <= 3; run++) {
          const { output } = yield* Conductor.run(agent, `Weather ${run}?`, { session: "s", model: Run.ModelRef.make(ref) }).pipe(Effect.provide(runtime(dir, server)))
          assert.match(output, new RegExp(`says ${run * 2}\\.`))
        }
        const sent = bodies(server)
        assert.strictEqual(sent.length, 6)
        for (const [index, body] of sent.entries()) {
          assert.strictEqual(answers(body).length, index)
          for (const [at, one] of answers(body).entries()) assert.deepStrictEqual(opaque(one), expected(at + 1, at % 2 === 0))
        }
      }).pipe(Effect.scoped), 180_000)
  })
}

/** The ids of calls and of results in a body, in order; Gemini pairs them by name and place. */
const paired = (body: any): { readonly calls: ReadonlyArray<string>; readonly results: ReadonlyArray<string> } => {
  const messages: ReadonlyArray<any> = body.messages ?? body.contents
  const blocks = messages.flatMap((message) => [message, ...(message.parts ?? (Array.isArray(message.content) ? message.content : []))])
  return {
    calls: blocks.flatMap((block) =>
      block.type === "tool_use" ? [block.id] : block.functionCall !== undefined ? [block.functionCall.name] : (block.tool_calls ?? []).map((call: any) => call.id)),
    results: blocks.flatMap((block) =>
      block.type === "tool_result" ? [block.tool_use_id] : block.functionResponse !== undefined ? [block.functionResponse.name] : block.tool_call_id !== undefined ? [block.tool_call_id] : [])
  }
}

describe("A conversation that changes the model", () => {
  it.live("gives no model what is opaque of another, and each its own when it comes back", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const [first, second, third] = providers
      const order = [first, second, third, third, second, first]
      const server = yield* replay(...order.flatMap(({ answer }, index) => [answer(index * 2 + 1, "look"), answer(index * 2 + 2, undefined)]).map((body) => ({ body })))
      yield* Effect.gen(function*() {
        for (const [index, { ref }] of order.entries()) {
          const { output } = yield* Conductor.run(agent, `Weather ${index}?`, { session: "s", model: Run.ModelRef.make(ref) })
          assert.match(output, new RegExp(`says ${index * 2 + 2}\\.`))
        }
      }).pipe(Effect.provide(runtime(dir, server)))
      const sent = bodies(server)
      assert.strictEqual(sent.length, order.length * 2)
      for (const [index, body] of sent.entries()) {
        const asked = order[Math.floor(index / 2)]
        assert.isDefined(asked)
        const all = asked.answers(body)
        assert.strictEqual(all.length, index)
        for (const [at, one] of all.entries()) {
          const by = order[Math.floor(at / 2)]
          if (by === asked) assert.deepStrictEqual(asked.opaque(one), asked.expected(at + 1, at % 2 === 0))
          else {
            const text = JSON.stringify(one)
            assert.notMatch(text, /-(sig|redacted|empty|call|text|data)-\d/)
            assert.notInclude(text, "Thought")
            assert.match(text, /says \d+\./)
          }
        }
        const { calls, results } = paired(body)
        assert.deepStrictEqual(calls, results)
        assert.isAtLeast(calls.length, Math.ceil(index / 2))
        // Hosts of OpenRouter give the ids of one answer to the next one too; Claude refuses two calls of one id.
        if (asked !== second) assert.strictEqual(new Set(calls).size, calls.length)
        // Gemini 3 wants a mark on the first call of each step that it did not make itself, DeepSeek reasoning on each.
        for (const one of all) {
          if (asked === second) {
            const call = one.parts.find((part: any) => part.functionCall !== undefined)
            if (call !== undefined) assert.match(call.thoughtSignature, /^(skip_thought_signature_validator|gemini-call-\d+\/\+==)$/)
          }
          if (asked === third) assert.isTrue("reasoning_details" in one || "reasoning_content" in one)
        }
      }
    }).pipe(Effect.scoped), 180_000)
})

describe("A conversation whose instructions change", () => {
  const [{ answer, answers, expected, opaque, ref }, gemini] = providers
  const model = Run.ModelRef.make(ref)

  it.live("in the middle of a run: reasoning that is bound to the old ones is left out, and what comes after it stays", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const server = yield* replay(...[answer(1, "weather"), answer(2, "weather"), answer(3, "weather"), answer(4, undefined)].map((body) => ({ body })))
      const approve = Effect.gen(function*() {
        for (const { id } of yield* Conductor.approvals()) yield* Conductor.decide(id, { decision: "approved" })
      })
      const run = yield* Effect.gen(function*() {
        const run = yield* Conductor.start(agent, "Weather?", { model })
        yield* Effect.flip(Conductor.result(run))
        yield* approve
        assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "RunWaiting")
        return run
      }).pipe(Effect.provide(runtime(dir, server)))
      yield* Effect.gen(function*() {
        yield* approve
        yield* Effect.flip(Conductor.result(run))
        yield* approve
        yield* Conductor.result(run)
      }).pipe(Effect.provide(runtime(dir, server, [upgraded])))

      const [, second, third, fourth] = bodies(server)
      assert.strictEqual(second.system[0].text, "Be brief.")
      assert.deepStrictEqual(answers(second).map(opaque), [expected(1, true)])
      assert.strictEqual(third.system[0].text, "Be kind.")
      assert.deepStrictEqual(answers(third).map(opaque), [[], []])
      assert.deepStrictEqual(answers(fourth).map(opaque), [[], [], expected(3, true)])
      for (const body of [second, third, fourth]) {
        const { calls, results } = paired(body)
        assert.deepStrictEqual(calls, results)
      }
    }).pipe(Effect.scoped), 180_000)

  it.live("between the runs of a session: so too, and the old instructions find their own reasoning again", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const server = yield* replay(...[1, 2, 3].map((run) => ({ body: answer(run, undefined) })))
      for (const one of [agent, upgraded, agent]) {
        yield* Conductor.run("assistant", "Weather?", { session: "s", model }).pipe(Effect.provide(runtime(dir, server, [one])))
      }
      const [, second, third] = bodies(server)
      assert.deepStrictEqual(answers(second).map(opaque), [[]])
      assert.deepStrictEqual(answers(third).map(opaque), [expected(1, false), []])
    }).pipe(Effect.scoped), 180_000)

  it.live("what is bound to nothing before it stays", () =>
    Effect.gen(function*() {
      const dir = yield* freshDirectory
      const server = yield* replay(...[gemini.answer(1, "look"), gemini.answer(2, undefined), gemini.answer(3, undefined)].map((body) => ({ body })))
      for (const one of [agent, upgraded]) {
        yield* Conductor.run("assistant", "Weather?", { session: "s", model: Run.ModelRef.make(gemini.ref) }).pipe(Effect.provide(runtime(dir, server, [one])))
      }
      assert.deepStrictEqual(gemini.answers(bodies(server)[2]).map(gemini.opaque), [gemini.expected(1, true), gemini.expected(2, false)])
    }).pipe(Effect.scoped), 180_000)
})
