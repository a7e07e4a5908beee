/** The table of bills, billed as an answer, as an attempt that broke off, and through whole runs. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Layer, Option, Stream } from "effect"
import type { Response } from "effect/ai"
import * as SqlClient from "effect/sql/SqlClient"
import { AuditLog } from "../../src/AuditLog.ts"
import { Budget, modelCalls } from "../../src/Budget.ts"
import { Agent, Conductor, Model, Run } from "../../src/index.ts"
import * as Money from "../../src/Money.ts"
import { BetweenStore, Tables } from "../../src/RunLog.ts"
import { type Attempt, boundOf, chargeOf, lostBill } from "../../src/Runs/Bill.ts"
import * as testing from "../../src/testing.ts"
import { bills, lists } from "../support/bills.ts"
import { freshDirectory } from "../support/databases.ts"
import { makeRun } from "../support/runs.ts"

const refOf = (list: keyof typeof lists) => Run.ModelRef.make(`test:${list}`)

const entries: ReadonlyArray<Model.Entry> = Object.entries(lists).map(([name, list]) => ({
  ref: Run.ModelRef.make(`test:${name}`),
  context: 1_000_000,
  maxOutput: 128_000,
  tools: true,
  vision: false,
  structuredOutput: true,
  thinking: "none",
  efforts: [],
  forcedToolUse: false,
  returnsReasoning: false,
  ...list
}))

const resolved = (list: keyof typeof lists): Model.Resolved => ({
  ref: refOf(list),
  stream: Model.Scripted.make([]),
  id: list,
  entry: Option.fromUndefinedOr(entries.find(({ ref }) => ref === refOf(list))),
  prices: "by hand"
})

const answerWith = (usage: Partial<Run.Usage>, reported?: string): Option.Option<Model.Answer.Answer> => {
  const collector = Model.Answer.collect()
  for (const part of parts(usage, reported)) collector.add(part)
  return collector.end()
}

/** An answer as a provider streams it. */
const parts = (usage: Partial<Run.Usage>, reported?: string): ReadonlyArray<Response.StreamPartEncoded> => {
  const { cacheRead = 0, cacheWrite = 0, cacheWriteHour = 0, output = 0, reasoning = 0, uncached = 0, webSearches } = usage
  const written = cacheWrite + cacheWriteHour
  return [
    { type: "text-start", id: "t" },
    { type: "text-delta", id: "t", delta: "Well, " },
    { type: "text-delta", id: "t", delta: "yes." },
    { type: "text-end", id: "t" },
    {
      type: "finish",
      reason: "stop",
      usage: {
        inputTokens: { uncached, cacheRead, cacheWrite: written, total: uncached + cacheRead + written },
        outputTokens: { total: output, reasoning, text: output - reasoning }
      },
      metadata: {
        test: {
          cacheWriteHour,
          ...(webSearches === undefined ? {} : { webSearches }),
          ...(reported === undefined ? {} : { cost: reported })
        }
      }
    }
  ]
}

describe("an answer costs", () => {
  for (const { cost, list, reported, source, usage, what } of bills) {
    it(`${cost} USD (${source}): ${what}`, () => {
      const billed = chargeOf(resolved(list), Option.getOrThrow(answerWith(usage, reported)))
      assert.deepStrictEqual(billed.usage, { ...Run.noUsage, ...usage })
      assert.deepStrictEqual([Money.format(billed.cost), billed.source], [cost, source])
    })
  }
})

/** A run whose attempt is under way, with so much set aside for it and so much output granted. */
const open = (reserved: string, maxOutput = 1_000, prices: string | null = "by hand"): Run.RunState => {
  const run = makeRun({ model: "test:sonnet" })
  const { after } = run.append(run.started(), { ...run.turnStarted(), reserved: Money.usd(reserved), scopes: reserved === "0" ? [] : [`run:${run.run}`], maxOutput, prices }).steps.at(-1) ?? assert.fail()
  return after
}

/** An attempt that may have had 1,000 tokens of input, after so many bytes of output. */
const broken = (more: Partial<Attempt>, list: keyof typeof lists = "sonnet"): Attempt => ({
  resolved: resolved(list), startedAt: 0, sent: true, firstAt: 5, lastAt: 9, bytes: 0, inputBound: 1_000, ...more
})

describe("an attempt that broke off costs", () => {
  for (const [what, cost, source, state, attempt, reason] of [
    // 1,000 × 4, the dearest kind of input, + 300 × 10 = 4,000 + 3,000
    ["the most that input and the output received can have cost", "0.007", "bound", open("1"), broken({ bytes: 300 }), "NetworkError"],
    // 1,000 × 0.2 + 300 × 0.5 = 200 + 150
    ["that by its own list", "0.00035", "bound", open("1"), broken({ bytes: 300 }, "haiku"), "Cancelled"],
    // 100,001 × 1 + 0
    ["that in the tier that its input may fall in", "0.100001", "bound", open("1"), broken({ inputBound: 100_001 }, "haiku"), "Cancelled"],
    // 1,000 × 4 + 1,000 × 10
    ["no more output than was granted", "0.014", "bound", open("1"), broken({ bytes: 5_000 }), "StreamStalled"],
    ["no more than was set aside", "0.0069", "bound", open("0.0069"), broken({ bytes: 300 }), "NetworkError"],
    // 1,000 × 4 + 1,000 × 10
    ["all output that was granted where nothing was heard", "0.014", "bound", open("1"), broken({ firstAt: null }), "TurnTimedOut"],
    ["nothing where the provider refused it", "0", "priced", open("1"), broken({ firstAt: null }), "AuthenticationError"],
    ["nothing where it was never sent", "0", "priced", open("1"), broken({ sent: false, firstAt: null }), "NetworkError"],
    ["nobody knows what where the model has no price", "0", "unpriced", open("0", 1_000, null), broken({ bytes: 300 }, "unpriced"), "NetworkError"]
  ] as const) {
    it(`${what}: ${cost} USD (${source})`, () => {
      const bound = boundOf(state, attempt, reason)
      assert.deepStrictEqual([Money.format(bound.cost), bound.source], [cost, source])
    })
  }

  it("all that was set aside where its process died", () => {
    const lost = (state: Run.RunState) => lostBill(state.attempt ?? assert.fail())
    assert.deepInclude(lost(open("0.08234")), { cost: Money.usd("0.08234"), source: "bound" })
    assert.deepInclude(lost(open("0", 1_000, null)), { cost: Money.zero, source: "unpriced" })
  })

  it("nobody knows what where its process died and nothing was set aside", () => {
    assert.deepInclude(lostBill(open("0").attempt ?? assert.fail()), { cost: Money.zero, source: "unpriced" })
  })

  it("all output that was granted where the model reasons, which is billed and need not be seen", () => {
    const reasoner: Attempt["resolved"] = { ...resolved("sonnet"), entry: Option.map(resolved("sonnet").entry, (entry) => ({ ...entry, thinking: "always" })) }
    // 1,000 × 4 + 1,000 × 10
    assert.strictEqual(Money.format(boundOf(open("1"), broken({ bytes: 300, resolved: reasoner }), "NetworkError").cost), "0.014")
  })
})

/** A run of each bill asks this, and the provider answers as it says. */
const say = (index: number) => `Bill ${index}`

const provider: Model.Provider = (request) => {
  const [first] = request.messages
  const bill = bills.find((_, index) => first?.role === "user" && first.text === say(index))
  return Stream.fromIterable(parts(bill?.usage ?? { uncached: 10, output: 5 }, bill?.reported))
}

const models = (test: Model.Provider) => Model.Models.layerOf({ test }).pipe(Layer.provideMerge(Model.Catalog.layerOf(entries, "by hand")))

const clerk = Agent.make("clerk", { instructions: "Answer.", model: "test:sonnet" })

/** Cost and source of a run's attempts, as its ledger has them. */
const callsOf = Effect.fnUntraced(function*(run: Run.RunId) {
  const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
  if (Option.isSome(sql)) {
    const rows = yield* sql.value<{ readonly cost: string; readonly source: string }>`
      SELECT trim_scale(cost_usd)::text AS cost, cost_source AS source FROM model_calls WHERE run_id = ${run} ORDER BY ended_at, attempt`
    return rows.map(({ cost, source }) => [cost, source])
  }
  return modelCalls(yield* Tables).filter((call) => call.run === run).map(({ cost, source }) => [Money.format(cost), source])
})

/** The ledger, the run, its budget, its row and its audit trail tell the same of what it cost. */
const agree = Effect.fnUntraced(function*(run: Run.RunId, attempts: ReadonlyArray<readonly [cost: string, source: string]>, total: string) {
  const state = yield* testing.check(run)
  assert.deepStrictEqual(yield* callsOf(run), attempts.map((attempt) => [...attempt]))
  assert.strictEqual(Money.format(state.cost), total)
  const audit = yield* (yield* AuditLog).list({ org: state.org, run, action: "model_attempt", limit: 100 })
  assert.deepStrictEqual(audit.map(({ cost }) => cost === null ? null : Money.format(cost)).toReversed(), attempts.map(([cost]) => cost))
  const budget = (yield* (yield* Budget).list(state.org)).find(({ scope }) => scope === `run:${run}`)
  if (budget !== undefined) assert.deepStrictEqual([Money.format(budget.spent), Money.format(budget.reserved)], [total, "0"])
  return state
})

const hundred = { limits: { cost: Money.usd("100") } }

for (const [name, runtime] of [
  ["memory", Layer.provideMerge(Conductor.layerTables({ agents: [clerk], models: models(provider) }), Tables.layer)],
  ["pglite", Layer.unwrap(Effect.map(freshDirectory, (dir) => Conductor.layerEmbedded({ agents: [clerk], models: models(provider), dir }))).pipe(Layer.provideMerge(Tables.layer))]
] as const) {
  layer(runtime, { excludeTestServices: true })(`a run's bill (${name})`, (it) => {
    for (const [index, { cost, list, source, what }] of bills.entries()) {
      it.effect(`is that of its attempt: ${what}`, () =>
        Effect.gen(function*() {
          const options = lists[list] === lists.unpriced ? {} : hundred
          const result = yield* Conductor.run(clerk, say(index), { model: refOf(list), ...options })
          assert.deepStrictEqual([Money.format(result.cost), result.priced], [cost, source !== "unpriced"])
          yield* agree(result.run, [[cost, source]], cost)
        }))
    }
  })
}

describe("a run's bill", () => {
  /** 64 for the request, 7 of "Answer.", 16 each for message and part, 2 of "Hi": the most tokens that its input can have. */
  const input = 64 + 7 + 16 + 16 + 2

  it.live("is a bound where somebody cancels it in the middle of an answer", () =>
    Effect.gen(function*() {
      const said = yield* Deferred.make<void>()
      const hangs: Model.Provider = () =>
        Stream.fromIterable(parts({}).slice(0, 3)).pipe(Stream.concat(Stream.fromEffect(Effect.andThen(Deferred.succeed(said, undefined), Effect.never))))
      yield* Effect.gen(function*() {
        const run = yield* Conductor.start(clerk, "Hi", hundred)
        yield* Deferred.await(said)
        yield* Conductor.cancel(run)
        assert.strictEqual((yield* Effect.flip(Conductor.result(run)))._tag, "Cancelled")
        // 105 × 4, the dearest input, + 10 bytes of "Well, yes." × 10 = 420 + 100
        assert.strictEqual(input, 105)
        const state = yield* agree(run, [["0.00052", "bound"]], "0.00052")
        assert.isTrue(state.bounded)
      }).pipe(Effect.provide(Conductor.layerTables({ agents: [clerk], models: models(hangs) })))
    }).pipe(Effect.provide(Tables.layer)))

  it.live("is all that was set aside where its process dies, and what the next one asks for", () =>
    Effect.gen(function*() {
      const said = yield* Deferred.make<void>()
      const hangs: Model.Provider = () => Stream.fromEffect(Effect.andThen(Deferred.succeed(said, undefined), Effect.never))
      const runtime = (test: Model.Provider) => Layer.fresh(Conductor.layerTables({ agents: [clerk], models: models(test) }))
      const box = { dead: false }
      /** From its death on nothing of the process is written. */
      const mortal = Layer.succeed(BetweenStore, (store) => ({ ...store, flush: (batch) => box.dead ? Effect.never : store.flush(batch) }))
      const run = yield* Effect.gen(function*() {
        const run = yield* Conductor.start(clerk, "Hi", hundred)
        yield* Deferred.await(said)
        box.dead = true
        return run
      }).pipe(Effect.provide(Layer.provide(runtime(hangs), mortal)))
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Conductor.result(run)).text, "Well, yes.")
        // Set aside were 105 × 4 + 8,192 × 10 = 420 + 81,920; the answer then cost 10 × 2 + 5 × 10.
        yield* agree(run, [["0.08234", "bound"], ["0.00007", "priced"]], "0.08241")
      }).pipe(Effect.provide(runtime(provider)))
    }).pipe(Effect.provide(Tables.layer)), 60_000)
})
