import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../../src/index.ts"
import { billing, calling } from "../support/billing.ts"

const look = Tool.make("look", {
  description: "Looks something up.",
  parameters: Schema.Struct({ n: Schema.Int }),
  success: Schema.String,
  effect: "pure"
})

const plugin = Plugin.make("looking", { tools: [look], handlers: { look: ({ n }) => Effect.succeed(`What is known of number ${n}, at some length.`) } })

const agent = (instructions: string) =>
  Agent.make("assistant", { instructions, model: "anthropic:claude-sonnet-5-5", plugins: [plugin], limits: { turns: 60, toolConcurrency: 8 } })

const runtime = (url: string, instructions: string) =>
  Conductor.layerMemory({
    agents: [agent(instructions)],
    models: Layer.fresh(Model.Models.layer).pipe(
      Layer.provideMerge(Model.Catalog.layerShipped),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ANTHROPIC_API_KEY: "k", ANTHROPIC_BASE_URL: url })))
    )
  })

describe("Anthropic, the cache", () => {
  for (const { calls, instructions, thought, turns } of [
    { turns: 1, calls: 0, instructions: "Be brief.", thought: true },
    { turns: 2, calls: 1, instructions: "Be brief.", thought: true },
    { turns: 10, calls: 3, instructions: "", thought: false },
    { turns: 50, calls: 1, instructions: "Be brief.", thought: true },
    { turns: 50, calls: 30, instructions: "Be brief.", thought: true }
  ]) {
    it.live(`a run of ${turns} turns with ${calls} calls at once pays for each part of its prompt once`, () =>
      Effect.gen(function*() {
        const server = yield* billing((request) => calling(request, "look", request === turns ? 0 : calls, thought))
        const result = yield* Conductor.run("assistant", "Go.").pipe(Effect.provide(runtime(server.url, instructions)))
        assert.strictEqual(result.turns, turns)
        assert.deepStrictEqual(server.problems, [])
        assert.strictEqual(server.billed.length, turns)

        let before = 0
        for (const { marks, read, uncached, written } of server.billed) {
          // All that the request before it had, and nothing of it a second time; nothing is left unwritten.
          assert.strictEqual(read, before)
          assert.strictEqual(uncached, 0)
          assert.isAtMost(marks, 3)
          before = read + written
        }
        const { cacheHitRate, usage } = result
        assert.strictEqual(usage.cacheWrite, before)
        assert.strictEqual(usage.uncached, 0)
        const read = server.billed.reduce((sum, one) => sum + one.read, 0)
        assert.strictEqual(usage.cacheRead, read)
        assert.strictEqual(cacheHitRate, read / (read + before))
        if (turns === 50) assert.isAbove(cacheHitRate, 0.94)
      }).pipe(Effect.scoped), 60_000)
  }

  it.live("so does a session of several runs, over all of them", () =>
    Effect.gen(function*() {
      const server = yield* billing((request) => calling(request, "look", request % 3 === 0 ? 0 : 12, true))
      yield* Effect.forEach(Array.from({ length: 8 }), () => Conductor.run("assistant", "Go on.", { session: "s" }), { discard: true }).pipe(
        Effect.provide(runtime(server.url, "Be brief."))
      )
      assert.deepStrictEqual(server.problems, [])
      assert.strictEqual(server.billed.length, 24)
      let before = 0
      for (const { read, uncached, written } of server.billed) {
        assert.strictEqual(read, before)
        assert.strictEqual(uncached, 0)
        before = read + written
      }
    }).pipe(Effect.scoped), 60_000)

  it("the hit rate of nothing is nothing", () => {
    assert.strictEqual(Run.cacheHitRate(Run.noUsage), 0)
    assert.strictEqual(Run.cacheHitRate({ ...Run.noUsage, uncached: 1, cacheRead: 2, cacheWrite: 3, cacheWriteHour: 2 }), 0.25)
  })
})
