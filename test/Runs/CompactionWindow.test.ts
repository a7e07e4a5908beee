/** What happens around a summary: messages that come meanwhile, windows in which nothing fits, and parallel calls at the cut. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Schema } from "effect"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes, scripted } from "../support/conductors.ts"

const tokensOf = ({ messages, system, tools }: Model.Request): number =>
  Math.ceil((system.length + JSON.stringify(messages).length) / 4 + JSON.stringify(tools).length / 3)

const isSummary = ({ system }: Model.Request): boolean => system.startsWith("You summarise")

const read = Tool.make("read", { description: "Reads a page.", parameters: Schema.Struct({ page: Schema.Int }), success: Schema.String, effect: "pure" })
const reading = Plugin.make("reading", { tools: [read], handlers: { read: ({ page }) => Effect.succeed(`page ${page} ${"lorem ipsum ".repeat(50)}`) } })

const worker = Agent.make("worker", {
  instructions: "Read.",
  model: "scripted:test",
  plugins: [reading],
  context: { tokens: 3_000, keepTurns: 2 },
  limits: { turns: 100, outputTokens: 200 }
})

/** Reads two pages at a time until it has read so many. */
const pages = (count: number, seen: Array<Model.Request>, summary: () => Model.Scripted.Turn) => {
  let read = 0
  return Model.Scripted.make((request) => {
    seen.push(request)
    const usage = { uncached: tokensOf(request), output: 20 }
    if (isSummary(request)) return { usage, ...summary() }
    if (read >= count) return { text: "All is read.", usage }
    const calls = [read, read + 1].map((page) => ({ name: "read", params: { page }, id: `call_${page}` }))
    read += 2
    return { toolCalls: calls, usage }
  })
}

const eventsOf = (run: Run.RunId) => Effect.map(testing.events(run), (all) => all.map(({ event }) => event))

describe("a message that comes while the conversation is summarised", () => {
  for (const mode of ["steer", "interrupt", "queue"] as const) {
    const seen: Array<Model.Request> = []
    const begun = Deferred.makeUnsafe<void>()
    const provider = pages(60, seen, () => {
      const isFirst = !Deferred.isDoneUnsafe(begun)
      Deferred.doneUnsafe(begun, Effect.void)
      return { text: "Some pages were read.", ...(isFirst ? { delay: "400 millis" as const } : {}) }
    })
    const [memory] = runtimes([worker], provider)
    it.live(`is heard once, after it, with every call beside its result (${mode})`, () =>
      Effect.gen(function*() {
        const run = yield* Conductor.start(worker, "Read all.")
        yield* Deferred.await(begun)
        yield* (yield* Conductor).send(run, "Mind the heron.", { mode })
        assert.strictEqual((yield* Conductor.result(run)).text, "All is read.")
        const state = yield* testing.check(run)
        assert.isUndefined(Run.Transcript.problem(state.messages))
        for (const request of seen) assert.isUndefined(Run.Transcript.problem(request.messages))
        const events = yield* eventsOf(run)
        const tags = events.map((event) => event._tag)
        assert.strictEqual(tags.filter((tag) => tag === "MessageReceived").length, 1)
        assert.isAbove(tags.filter((tag) => tag === "ContextCompacted").length, 1)
        const failed = events.flatMap((event) => event._tag === "AttemptFailed" ? [event.error.reason] : [])
        assert.deepStrictEqual(failed, mode === "interrupt" ? ["Interrupted"] : [])
        // The message is in a request as it was said, or in what is summarised of it.
        assert.isTrue(seen.some((request) => JSON.stringify(request.messages).includes("Mind the heron.")))
        assert.isAtMost(Math.max(...seen.filter((request) => !isSummary(request)).map(tokensOf)), 3_000)
      }).pipe(Effect.provide(memory?.layer ?? Layer.empty as never)), 60_000)
  }
})

describe("a window in which nothing fits", () => {
  const long = "Mind every one of these words. ".repeat(400)
  const chatty = Tool.make("chatty", { description: long, success: Schema.String, effect: "pure" })
  const cases = [
    { what: "instructions", agent: Agent.make("lecturer", { instructions: long, model: "scripted:test", context: { tokens: 1_000 } }) },
    {
      what: "tools",
      agent: Agent.make("toolbox", {
        instructions: "Help.",
        model: "scripted:test",
        plugins: [Plugin.make("chatty", { tools: [chatty], handlers: { chatty: () => Effect.succeed("") } })],
        context: { tokens: 1_000 }
      })
    }
  ]
  for (const { agent, what } of cases) {
    it.live(`because of the ${what} of the agent is said at once, and costs nothing`, () => {
      const seen: Array<Model.Request> = []
      const models = scripted(Model.Scripted.make((request) => {
        seen.push(request)
        return "Hello."
      }))
      return Effect.gen(function*() {
        for (const session of ["one", "one"]) {
          const error = yield* Effect.flip(Conductor.run(agent, "Hello.", { session }))
          assert.strictEqual(error._tag, "ContextTooLong")
          assert.match(error.message, /of which 1000 fit\)/)
        }
        assert.deepStrictEqual(seen, [])
      }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models })))
    })
  }

  it.live("as far as its length tells, is not paid for with summaries that make no room: its provider knows", () => {
    const seen: Array<Model.Request> = []
    const agent = Agent.make("helper", {
      instructions: "Read.",
      model: "small:m",
      plugins: [reading, Plugin.make("chatty", { tools: [chatty], handlers: { chatty: () => Effect.succeed("") } })],
      limits: { outputTokens: 200, turns: 100 }
    })
    const entry: Model.Entry = {
      ref: Run.ModelRef.make("small:m"), context: 4_000, maxOutput: 10_000, tiers: [], tools: true, vision: false, structuredOutput: true, thinking: "none", efforts: [],
      forcedToolUse: false, returnsReasoning: false
    }
    const models = Model.Models.layerOf({ small: pages(8, seen, () => ({ text: "Some pages were read." })) }).pipe(
      Layer.provideMerge(Model.Catalog.layerOf([entry]))
    )
    return Effect.gen(function*() {
      assert.strictEqual((yield* Conductor.run(agent, "Read all.")).text, "All is read.")
      assert.deepStrictEqual(seen.filter(isSummary), [])
      assert.strictEqual(seen.length, 5)
    }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models })))
  })
})
