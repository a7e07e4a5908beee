import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema, Stream } from "effect"
import * as AiError from "effect/ai/AiError"
import { Agent, AuditLog, Conductor, Ledger, Model, Money, Plugin, Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { runtimes, scripted } from "../support/conductors.ts"

const bytes = (text: string) => Buffer.byteLength(text, "utf8")

/** Tokens of a request as the model of these tests counts them: one for four bytes of what is said. */
const tokensOf = ({ messages, system }: Model.Request): number =>
  Math.ceil((bytes(system) + messages.reduce((sum, message) => sum + bytes(JSON.stringify(message)), 0)) / 4)

const isSummary = ({ system }: Model.Request): boolean => system.startsWith("You summarise")

const textOf = (request: Model.Request): string => JSON.stringify(request.messages)

/** Facts as they are told: `number 7 is 1007`. */
const facts = (text: string) => [...new Set(text.match(/number \d+ is \d+/g) ?? [])]

const lastSaid = (request: Model.Request): string => {
  const last = request.messages.findLast((message) => message.role === "user")
  return last?.role === "user" ? last.text : ""
}

/** A model that summarises by keeping the facts, and answers questions from what it is sent alone. */
const rememberer = (seen: Array<Model.Request> = []) =>
  Model.Scripted.make((request) => {
    seen.push(request)
    const answer = (text: string) => ({ text, usage: { uncached: tokensOf(request), output: Math.ceil((bytes(text) + 80) / 4) } })
    if (isSummary(request)) return answer(`Known: ${facts(textOf(request)).join(", ")}.`)
    const asked = /What is number (\d+)\?/.exec(lastSaid(request))?.[1]
    const known = facts(textOf(request)).find((fact) => fact.startsWith(`number ${asked} `))
    return answer(asked === undefined ? `I see. ${"Well. ".repeat(20)}` : known ?? "I do not know.")
  })

const talker = (name: string, context: Agent.ContextOptions) =>
  Agent.make(name, { instructions: "Remember numbers.", model: "scripted:test", context, limits: { outputTokens: 200 } })

const eventsOf = (run: Run.RunId) => Effect.map(testing.events(run), (all) => all.map(({ event }) => event))

const only = <Tag extends Run.RunEvent["_tag"]>(events: ReadonlyArray<Run.RunEvent>, tag: Tag) =>
  events.filter((event): event is Extract<Run.RunEvent, { readonly _tag: Tag }> => event._tag === tag)

describe("a long conversation", () => {
  const window = 2_000
  const chat = talker("chat", { tokens: window, keepTurns: 6 })
  const seen: Array<Model.Request> = []

  for (const { layer: runtime, name } of runtimes([chat], rememberer(seen))) {
    layer(runtime, { excludeTestServices: true })(`of many turns (${name})`, (it) => {
      const turns = name === "memory" ? 500 : 60
      it.effect(`stays inside its window, and what was said in the first of ${turns} turns can be recalled in the last`, () =>
        Effect.gen(function*() {
          seen.length = 0
          const runs: Array<Run.RunId> = []
          for (let turn = 0; turn < turns; turn++) {
            const fact = turn % 20 === 0 ? ` By the way, number ${turn} is ${1_000 + turn}.` : ""
            const { run } = yield* Conductor.run(chat, `This is turn ${turn}, and I have nothing much to say.${fact}`, { session: "long" })
            runs.push(run)
          }
          for (const number of [0, 20, turns - 20]) {
            const { text } = yield* Conductor.run(chat, `What is number ${number}?`, { session: "long" })
            assert.strictEqual(text, `number ${number} is ${1_000 + number}`)
          }
          assert.isAtMost(Math.max(...seen.filter((request) => !isSummary(request)).map(tokensOf)), window)
          for (const request of seen) assert.isUndefined(Run.Transcript.problem(request.messages))
          const summaries = seen.filter(isSummary).length
          assert.isAbove(summaries, 1)
          // The recent turns are whole, and a summary makes room for several turns.
          assert.isBelow(summaries, turns / 5)
          const last = seen.at(-1)?.messages ?? []
          assert.include(JSON.stringify(last), `This is turn ${turns - 1}, and I have nothing much to say.`)

          // Summaries are attempts: in the log, in the ledger, in the trail and in the bill of their run.
          const all = yield* Effect.forEach(runs, eventsOf)
          const compacted = all.flatMap((events) => only(events, "ContextCompacted"))
          assert.strictEqual(compacted.length, summaries)
          for (const { bill } of compacted) assert.isTrue(bill.cost > 0n && bill.source === "priced")
          const index = all.findIndex((events) => events.some((event) => event._tag === "ContextCompacted"))
          const run = runs[index] ?? Run.RunId.make("")
          const state = yield* testing.check(run)
          assert.strictEqual(state.turns, 1)
          const bills = (all[index] ?? []).flatMap((event) => "bill" in event ? [event.bill.cost] : [])
          assert.strictEqual(bills.reduce((a, b) => Money.add(a, b), Money.zero), state.cost)
          assert.strictEqual((yield* (yield* Ledger.Ledger).run(state.org, run)).own.calls, 2)
          const rows = yield* (yield* AuditLog).list({ org: state.org, run, action: "model_attempt", limit: 10 })
          assert.deepStrictEqual(rows.map((row) => row.event), ["TurnCompleted", "ContextCompacted"])

          // Told again from its log, it is the same, byte for byte.
          const stored = yield* testing.Export.of(run)
          const again = yield* testing.Replay.run(stored, { agents: [chat] })
          assert.deepStrictEqual(again.state, state)
          assert.deepStrictEqual(again.events.map(({ event }) => event), all[index])
        }), 300_000)
    })
  }
})

describe("the window of a model", () => {
  const agent = Agent.make("plain", { instructions: "Remember numbers.", model: Model.fallback("small:m", "large:m"), limits: { outputTokens: 200 } })
  const entry = (ref: string, context: number): Model.Entry => ({
    ref: Run.ModelRef.make(ref), context, maxOutput: 10_000, tiers: [], tools: true, vision: false, structuredOutput: true, thinking: "none", efforts: [],
    forcedToolUse: false, returnsReasoning: false
  })

  it.live("is what the catalogue says, less what an answer may have, and a margin", () => {
    const seen: Array<Model.Request> = []
    const models = Model.Models.layerOf({ small: rememberer(seen), large: rememberer() }).pipe(
      Layer.provideMerge(Model.Catalog.layerOf([entry("small:m", 3_000)]))
    )
    return Effect.gen(function*() {
      let last = Run.RunId.make("")
      for (let turn = 0; turn < 80; turn++) last = (yield* Conductor.run(agent, `Turn ${turn}: number ${turn} is 1.`, { session: "s" })).run
      const [started] = only(yield* eventsOf(last), "RunStarted")
      // Nothing is known of the second model.
      assert.deepStrictEqual(started?.context?.windows, [3_000 * 0.95 - 200, null])
      const answers = seen.filter((request) => !isSummary(request))
      assert.isBelow(answers.length, seen.length)
      assert.isAtMost(Math.max(...answers.map(tokensOf)), 2_650)
      assert.include(JSON.stringify(answers.at(-1)?.messages), "number 0 is 1")
    }).pipe(Effect.provide(Conductor.layerMemory({ agents: [agent], models })))
  })
})

/** A tool with as much to say as it is asked for. */
const read = Tool.make("read", {
  description: "Reads a page.",
  parameters: Schema.Struct({ page: Schema.Int, size: Schema.Int }),
  success: Schema.String,
  effect: "pure"
})

const reading = Plugin.make("reading", {
  tools: [read],
  handlers: { read: ({ page, size }) => Effect.succeed(`number ${page} is ${1_000 + page} ${"lorem ipsum ".repeat(size / 12)}`) }
})

const reader = (name: string, context: Agent.ContextOptions, limits: Agent.LimitOptions = {}) =>
  Agent.make(name, {
    instructions: "Read.",
    model: "scripted:test",
    plugins: [reading],
    context,
    limits: { turns: 100, outputTokens: 200, ...limits }
  })

/** A model that reads so many pages, one in each turn, with a signed thought before each, and says what it knows of the first. */
const pages = (count: number, size: number, options: { readonly seen?: Array<Model.Request>; readonly summary?: () => Model.Scripted.Turn } = {}) => {
  const { seen = [], summary } = options
  return Model.Scripted.make((request) => {
    seen.push(request)
    const usage = { uncached: tokensOf(request), output: 20 }
    if (isSummary(request)) return summary?.() ?? { text: `Known: ${facts(textOf(request)).join(", ")}.`, usage }
    const read = Math.max(-1, ...facts(textOf(request)).map((fact) => Number(fact.split(" ")[1])))
    return read + 1 >= count
      ? { text: facts(textOf(request)).find((fact) => fact.startsWith("number 0 ")) ?? "I do not know.", usage }
      : {
        reasoning: "Next.",
        signature: "signed",
        toolCalls: [{ name: "read", params: { page: read + 1, size }, id: `call_${read + 1}` }],
        usage
      }
  })
}

describe("the work of an agent", () => {
  const ask = "Read all the pages, and tell me the first number: this is what I said."
  const worker = reader("worker", { tokens: 3_000, keepTurns: 4 })

  for (const { layer: runtime, name } of runtimes([worker], pages(40, 600))) {
    layer(runtime, { excludeTestServices: true })(`that outgrows its window (${name})`, (it) => {
      it.effect("is summarised between its steps, and goes on with what it was asked for", () =>
        Effect.gen(function*() {
          const result = yield* Conductor.run(worker, ask)
          assert.strictEqual(result.text, "number 0 is 1000")
          assert.strictEqual(result.turns, 41)
          const state = yield* testing.check(result.run)
          const [first] = state.messages
          assert.deepStrictEqual(Run.Compact.summaryIn(first?.role === "user" ? first.text : "")?.quote, ask)
          const compacted = only(yield* eventsOf(result.run), "ContextCompacted")
          assert.isAbove(compacted.length, 2)
          const stored = yield* testing.Export.of(result.run)
          assert.strictEqual((yield* testing.Replay.run(stored, { agents: [worker], handlers: "run" })).state.turns, 41)
        }), 60_000)
    })
  }

  /** Plays an agent in process memory. */
  const played = <A, E, R>(agent: Agent.Any, provider: Model.Provider, effect: Effect.Effect<A, E, R>) =>
    Effect.provide(effect, Conductor.layerMemory({ agents: [agent], models: scripted(provider) })) as Effect.Effect<A, E, never> // it needs no more than the runtime

  it.live("is cut without a signature that was bound to what came before", () =>
    Effect.gen(function*() {
      const seen: Array<Model.Request> = []
      yield* played(worker, pages(40, 600, { seen }), Conductor.run(worker, ask))
      const first = seen.findIndex(isSummary)
      const at = (index: number) => JSON.stringify(seen[index]?.messages)
      assert.include(at(first - 1), "signed")
      assert.notInclude(at(first + 1), "signed")
      // What is thought after that is sent back as it is.
      assert.include(at(first + 2), "signed")
    }))

  it.live("is summarised without a model where the agent says so, or its budget does not pay for one", () =>
    Effect.gen(function*() {
      const ruled = reader("ruled", { tokens: 3_000, keepTurns: 4, summaries: "rule" })
      const seen: Array<Model.Request> = []
      const events = yield* played(ruled, pages(40, 600, { seen }), Effect.flatMap(Conductor.run(ruled, ask), ({ run }) => eventsOf(run)))
      assert.isFalse(seen.some(isSummary))
      const [shortened] = only(events, "ContextShortened")
      assert.match(shortened?.summary ?? "", /^\[What came before this in the conversation, as a summary\]\n\d+ messages were left out to make room\. Tools were called: read \(\d+\)\.\n/)
      assert.include(shortened?.summary, `word for word]\n${ask}`)
      assert.isUndefined(shortened?.because)
      assert.isAtMost(Math.max(...seen.map(tokensOf)), 3_000)

      const chat = talker("poor", { tokens: 20_000, keepTurns: 1 })
      const told = yield* played(chat, rememberer(), Effect.gen(function*() {
        for (let turn = 0; turn < 7; turn++) yield* Conductor.run(chat, `Turn ${turn}. ${"Blah. ".repeat(1_400)}`, { session: "s" })
        const { run } = yield* Conductor.run(chat, `Go on. ${"Please. ".repeat(2_500)}`, { session: "s", limits: { cost: Money.usd("0.05") } })
        const state = yield* testing.check(run)
        const stored = yield* testing.Export.of(run)
        assert.strictEqual((yield* testing.Replay.run(stored, { agents: [chat] })).state.seq, state.seq)
        return yield* eventsOf(run)
      }))
      assert.deepStrictEqual(told.map((event) => event._tag), [
        "RunStarted", "RunClaimed", "ContextShortened", "TurnStarted", "TurnCompleted", "RunCompleted"
      ])
      assert.strictEqual(only(told, "ContextShortened")[0]?.because, "BudgetExceeded")
    }))

  it.live("has long results of tools shortened first, and those of one turn that is too long by itself", () =>
    Effect.gen(function*() {
      const seen: Array<Model.Request> = []
      const short = reader("short", { tokens: 6_000, keepTurns: 1, resultCharacters: 500 })
      const events = yield* played(short, pages(8, 4_000, { seen }), Effect.flatMap(Conductor.run(short, ask), ({ run }) => eventsOf(run)))
      assert.isFalse(seen.some(isSummary))
      const shortened = only(events, "ContextShortened")
      assert.isAbove(shortened.length, 0)
      for (const event of shortened) assert.deepInclude(event, { characters: 500 })
      assert.match(JSON.stringify(seen.at(-1)?.messages), /characters left out/)
      assert.isAtMost(Math.max(...seen.map(tokensOf)), 6_000)

      const huge: Array<Model.Request> = []
      const one = yield* played(short, pages(1, 200_000, { seen: huge }), Effect.flatMap(Conductor.run(short, ask), ({ run }) => eventsOf(run)))
      assert.deepStrictEqual(only(one, "ContextShortened").map((event) => event.through), [3])
      assert.isAtMost(Math.max(...huge.map(tokensOf)), 6_000)
    }))

  it.live("goes on in a window of which the question alone has most", () =>
    Effect.gen(function*() {
      const narrow = reader("narrow", { tokens: 2_500, keepTurns: 4 })
      const seen: Array<Model.Request> = []
      const long = `${ask} ${"And mind what I say. ".repeat(320)}`
      const events = yield* played(narrow, pages(30, 300, { seen }), Effect.flatMap(Conductor.run(narrow, long), ({ run }) => Effect.andThen(testing.check(run), eventsOf(run))))
      const compacted = only(events, "ContextCompacted")
      assert.include(compacted.at(-1)?.summary, `word for word]\n${ask}`)
      // It makes room for several steps each time.
      assert.isAtMost(compacted.length, 10)
      assert.isAtMost(Math.max(...seen.map(tokensOf)), 2_500)
    }))

  it.live("fails with what to do where it is too long all the same", () =>
    Effect.gen(function*() {
      const small = talker("small", { tokens: 300 })
      const error = yield* played(small, rememberer(), Effect.flip(Conductor.run(small, "words ".repeat(1_000))))
      assert.strictEqual(error._tag, "ContextTooLong")
      assert.deepInclude(error, { model: "scripted:test", limit: 300 })
      assert.match(error.message, /too long for scripted:test \(about 20\d\d tokens, of which 300 fit\).*raise context\.tokens of the agent, or name a model with a larger context/)
    }))

  /** A model that takes no more than so many tokens, whatever the catalogue says. */
  const limited = (most: number, inner: Model.Provider): Model.Provider => (request) =>
    tokensOf(request) <= most ? inner(request) : Stream.fail(AiError.make({
      module: "test",
      method: "stream",
      reason: new AiError.InvalidRequestError({ parameter: "messages", description: `prompt is too long: more than ${most} tokens` })
    }))

  it.live("is made shorter when its provider says that it is too long", () =>
    Effect.gen(function*() {
      const unknowing = reader("unknowing", { keepTurns: 2 })
      const { events, result } = yield* played(unknowing, limited(4_000, pages(40, 600)), Effect.gen(function*() {
        const result = yield* Conductor.run(unknowing, ask)
        yield* testing.check(result.run)
        return { result, events: yield* eventsOf(result.run) }
      }))
      assert.strictEqual(result.text, "number 0 is 1000")
      const failed = only(events, "AttemptFailed")
      assert.isAbove(failed.length, 0)
      for (const { error } of failed) assert.deepInclude(error, { reason: "InvalidRequestError", tooLong: true })
      assert.isAtLeast(only(events, "ContextCompacted").length, failed.length)

      const error = yield* played(unknowing, limited(10, rememberer()), Effect.flip(Conductor.run(unknowing, ask)))
      assert.deepInclude(error, { _tag: "ContextTooLong" })
      assert.match(error.message, /of which \d+ fit/)
    }))

  it.live("goes on without a summary that a model refuses, and not without one that it failed to give", () =>
    Effect.gen(function*() {
      const refused = yield* played(worker, pages(40, 600, { summary: () => ({ text: "", finish: "content-filter" }) }), Effect.flatMap(Conductor.run(worker, ask), ({ run }) => eventsOf(run)))
      assert.strictEqual(only(refused, "ContextShortened")[0]?.because, "ContentPolicyError")

      let isDown = true
      const overloaded = AiError.make({ module: "test", method: "stream", reason: new AiError.InternalProviderError({ description: "overloaded" }) })
      const state = yield* played(worker, pages(40, 600, { summary: () => isDown ? { fail: overloaded } : { text: "Known: number 0 is 1000, number 39 is 1039." } }), Effect.gen(function*() {
        const run = yield* Conductor.start(worker, ask)
        const error = yield* Effect.flip(Conductor.result(run))
        assert.deepInclude(error, { _tag: "ModelFailed", reason: "InternalProviderError", attempts: 3 })
        isDown = false
        yield* (yield* Conductor).retry(run)
        assert.strictEqual((yield* Conductor.result(run)).text, "number 0 is 1000")
        return yield* testing.check(run)
      }))
      assert.strictEqual(state.status, "completed")
    }), 60_000)

  it.live("can be cancelled while it is summarised, which nobody who watches takes for an answer", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const hanging = pages(40, 600, { summary: () => {
        Deferred.doneUnsafe(begun, Effect.void)
        return { text: "Known: nothing.", hang: true }
      } })
      yield* played(worker, hanging, Effect.gen(function*() {
        const run = yield* Conductor.start(worker, ask)
        const watched = yield* Effect.forkChild(Stream.runCollect(Conductor.watch(run)))
        yield* Deferred.await(begun)
        yield* Effect.sleep("20 millis")
        yield* Conductor.cancel(run)
        assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "Cancelled")
        const state = yield* testing.check(run)
        assert.isTrue(state.bounded)
        const heard = yield* Fiber.join(watched)
        assert.isFalse(heard.some((item) => !("event" in item) && item._tag === "Delta" && item.text.includes("Known")))
        const failed = only(yield* eventsOf(run), "AttemptFailed")
        assert.deepStrictEqual(failed.map(({ error }) => error.reason), ["Cancelled"])
      }))
    }))

  it.live("is the same whenever its process dies in the middle of a summary", () =>
    Effect.gen(function*() {
      const texts = new Set<string>()
      const report = yield* testing.CrashMatrix.run({
        agents: [worker],
        model: pages(14, 600),
        program: Conductor.run(worker, ask),
        deaths: 2,
        pairs: 60,
        check: ({ runs }) =>
          Effect.forEach(runs, (state) =>
            Effect.map(eventsOf(state.run), (events) => {
              texts.add(Run.answerOf(state))
              assert.isAbove(only(events, "ContextCompacted").length, 0)
              assert.strictEqual(state.turns, 15)
              const started = only(events, "TurnStarted").length
              assert.strictEqual(started, only(events, "TurnCompleted").length + only(events, "AttemptFailed").length + only(events, "ContextCompacted").length)
            }))
      })
      assert.deepStrictEqual([...texts], ["number 0 is 1000"])
      assert.isAbove(report.byPlace["before append"], 10)
    }), 120_000)
})

