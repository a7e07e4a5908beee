import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Ref, Schema, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import { Approval } from "../src/Approval.ts"
import { Agent, AuditLog, Conductor, CurrentOrg, CurrentPrincipal, Model, Plugin, Run, Tool } from "../src/index.ts"
import { RunLog } from "../src/RunLog.ts"
import * as testing from "../src/testing.ts"
import { runtimes } from "./support/conductors.ts"

const Refund = Schema.Struct({ order: Schema.String, dollars: Schema.Int })

const refund = Tool.make("refund", {
  description: "Gives money back.",
  parameters: Refund,
  success: Schema.Struct({ refunded: Schema.Int }),
  effect: "unsafe",
  approval: { when: ({ dollars }) => Effect.succeed(dollars > 100), expires: "1 hour", policy: "refunds over 100" }
})
const erase = Tool.make("erase", { description: "Erases.", success: Schema.Void, effect: "idempotent", approval: true })
const careless = Tool.make("careless", {
  description: "Its rule breaks.",
  success: Schema.Void,
  effect: "pure",
  approval: { when: () => Effect.die(new Error("no rule")) }
})
const echo = Tool.make("echo", { description: "Echoes.", success: Schema.String, effect: "pure" })

/** What was done, by run. */
const refunds = Effect.runSync(Ref.make<ReadonlyArray<{ readonly run: string; readonly order: string; readonly dollars: number }>>([]))
const doneIn = (run: string) => Effect.map(Ref.get(refunds), (all) => all.filter((one) => one.run === run))

const plugin = Plugin.make("money", {
  tools: [refund, erase, careless, echo],
  handlers: {
    refund: ({ dollars, order }) =>
      Effect.gen(function*() {
        const { run } = yield* Tool.Call
        yield* Ref.update(refunds, (all) => [...all, { run, order, dollars }])
        return { refunded: dollars }
      }),
    erase: () => Effect.void,
    careless: () => Effect.void,
    echo: () => Effect.succeed("echo")
  }
})

const agent = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [plugin] })

/** Calls what the first message says, and then repeats what came of it. */
const provider = Model.Scripted.make((request) => {
  const [first] = request.messages
  const last = request.messages.at(-1)
  if (last?.role === "tool") return last.results.map((result) => `${result.isFailure ? "✗" : "✓"} ${result.result}`).join("\n")
  const calls = JSON.parse(first?.role === "user" ? first.text : "[]") as ReadonlyArray<readonly [string, unknown]>
  return { toolCalls: calls.map(([name, params]) => ({ name, params })) }
})

/** Starts a run that calls these tools, and waits until it is parked. */
const parked = Effect.fnUntraced(function*(...calls: ReadonlyArray<readonly [string, unknown]>) {
  const run = yield* Conductor.start(agent, JSON.stringify(calls))
  const waiting = yield* Effect.flip(Conductor.result(run))
  assert.isTrue(waiting._tag === "RunWaiting" && waiting.reason === "approval")
  return run
})

const pendingOf = (run: Run.RunId) => Effect.map(Conductor.approvals({ limit: 1000 }), (all) => all.filter((one) => one.run === run))

const pending = Effect.fnUntraced(function*(run: Run.RunId) {
  const [request, ...more] = yield* pendingOf(run)
  assert.isDefined(request)
  assert.strictEqual(more.length, 0)
  return request
})

const big = ["refund", { order: "A-1", dollars: 500 }] as const

for (const { layer: runtime, name } of runtimes([agent], provider)) {
  layer(runtime, { excludeTestServices: true })(`Approval (${name})`, (it) => {
    it.effect("is asked for only where the rule says so, and a rule that breaks says so", () =>
      Effect.gen(function*() {
        const free = yield* Conductor.run(agent, JSON.stringify([["refund", { order: "A-0", dollars: 20 }]]))
        assert.strictEqual(free.text, `✓ {"refunded":20}`)
        const run = yield* parked(big, ["echo", {}], ["careless", {}], ["erase", {}])
        assert.deepStrictEqual((yield* pendingOf(run)).map((one) => one.tool), ["refund", "careless", "erase"])
        assert.deepStrictEqual((yield* doneIn(run)), [])
        // What needs no approval did not wait for what does.
        assert.deepStrictEqual((yield* testing.toolCalls(run)).map((call) => call.outcome), ["open", "success", "open", "open"])
        yield* Conductor.cancel(run)
        yield* Effect.flip(Conductor.result(run))
        assert.deepStrictEqual(yield* pendingOf(run), [])
        yield* testing.check(run)
      }))

    it.effect("lets the tool run once, and says who decided", () =>
      Effect.gen(function*() {
        const run = yield* parked(big)
        const request = yield* pending(run)
        assert.deepStrictEqual(JSON.parse(request.parameters), { order: "A-1", dollars: 500 })
        yield* Conductor.decide(request.id, { decision: "approved", comment: "a good customer", digest: request.digest }).pipe(
          Effect.provideService(CurrentPrincipal, "user:ann")
        )
        assert.strictEqual((yield* Conductor.result(run)).text, `✓ {"refunded":500}`)
        assert.strictEqual((yield* doneIn(run)).length, 1)
        const decided = yield* (yield* Approval).find(request.org, request.id)
        assert.isTrue(decided._tag === "Some" && decided.value.status === "approved" && decided.value.decidedBy === "user:ann")
        const rows = yield* (yield* AuditLog).list({ org: (yield* testing.check(run)).org, run, limit: 50 })
        const row = rows.find((one) => one.event === "ApprovalDecided")
        assert.deepInclude(row, { principal: "user:ann", success: true, output: "approved: a good customer" })
      }))

    it.effect("runs with edited parameters, which the model and the audit are told, and keeps what the model asked for", () =>
      Effect.gen(function*() {
        const run = yield* parked(big)
        const { id } = yield* pending(run)
        yield* Conductor.decide(id, { decision: "approved", parameters: { order: "A-1", dollars: 50 } })
        assert.strictEqual(
          (yield* Conductor.result(run)).text,
          `✓ {"parametersChangedBy":"local","parameters":{"order":"A-1","dollars":50},"result":{"refunded":50}}`
        )
        assert.deepStrictEqual((yield* doneIn(run)).map(({ dollars }) => dollars), [50])
        const [call] = yield* testing.toolCalls(run)
        assert.deepStrictEqual(JSON.parse(call?.arguments ?? ""), { order: "A-1", dollars: 500 })
        const rows = yield* (yield* AuditLog).list({ org: (yield* testing.check(run)).org, run, limit: 50 })
        assert.deepStrictEqual(rows.find((one) => one.event === "ApprovalDecided")?.input, { order: "A-1", dollars: 50 })
      }))

    it.effect("tells the model of a denial, with its reason", () =>
      Effect.gen(function*() {
        const run = yield* parked(big)
        yield* Conductor.decide((yield* pending(run)).id, { decision: "denied", comment: "too much" })
        assert.strictEqual((yield* Conductor.result(run)).text, "✗ This call was denied by local: too much")
        assert.deepStrictEqual(yield* doneIn(run), [])
        yield* testing.check(run)
      }))

    it.effect("decides about parallel calls one by one", () =>
      Effect.gen(function*() {
        const run = yield* parked(big, ["refund", { order: "A-2", dollars: 700 }])
        const [first, second] = yield* pendingOf(run)
        assert.isDefined(first)
        assert.isDefined(second)
        yield* Conductor.decide(first.id, { decision: "approved" })
        yield* Effect.flip(Conductor.result(run))
        assert.deepStrictEqual((yield* doneIn(run)).map(({ order }) => order), ["A-1"])
        yield* Conductor.decide(second.id, { decision: "denied" })
        assert.strictEqual((yield* Conductor.result(run)).text, `✓ {"refunded":500}\n✗ This call was denied by local.`)
      }))

    it.effect("refuses what is forged, of another organisation, replayed, unfit, or decided before, each in its own way", () =>
      Effect.gen(function*() {
        const run = yield* parked(big)
        const request = yield* pending(run)
        const other = yield* pending(yield* parked(big))
        const refusal = (id: string, decision: Parameters<typeof Conductor.decide>[1]) => Effect.flip(Conductor.decide(id, decision))
        const yes = { decision: "approved" } as const
        assert.strictEqual((yield* refusal("0193-forged.1.1", yes))._tag, "ApprovalNotFound")
        const foreign = yield* Effect.provideService(refusal(request.id, yes), CurrentOrg, Run.OrgId.make("other"))
        assert.strictEqual(foreign._tag, "ApprovalNotFound")
        assert.strictEqual((yield* refusal(request.id, { ...yes, digest: other.digest }))._tag, "ApprovalReplayed")
        assert.strictEqual((yield* refusal(request.id, { ...yes, parameters: { order: 1 } }))._tag, "ApprovalUnfit")
        assert.strictEqual((yield* pending(run)).status, "pending")
        // Of many at once one counts.
        const answers = yield* Effect.forEach([1, 2, 3, 4], () => Effect.result(Conductor.decide(request.id, yes)), { concurrency: 4 })
        assert.deepStrictEqual(answers.map((one) => one._tag === "Success" ? "yes" : one.failure._tag).toSorted(), [
          "ApprovalAlreadyDecided", "ApprovalAlreadyDecided", "ApprovalAlreadyDecided", "yes"
        ])
        yield* Conductor.result(run)
        assert.strictEqual((yield* refusal(request.id, { decision: "denied" }))._tag, "ApprovalAlreadyDecided")
        assert.strictEqual((yield* doneIn(run)).length, 1)
      }))
  })
}

layer(testing.layer({ agents: [agent], model: provider }))("Approval over time", (it) => {
  it.effect("expires, which the model is told as a denial, without anybody doing anything", () =>
    Effect.gen(function*() {
      const run = yield* parked(big)
      const { id, org } = yield* pending(run)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual((yield* (yield* Conductor).find(run)).status, "parked")
      const end = yield* Effect.forkChild(Stream.runDrain(Conductor.watch(run)))
      yield* TestClock.adjust("62 seconds")
      yield* Fiber.join(end)
      assert.strictEqual((yield* Effect.flip(Conductor.decide(id, { decision: "approved" })))._tag, "ApprovalExpired")
      const result = yield* Conductor.result(run)
      assert.strictEqual(result.text, "✗ Nobody approved this call in time, which counts as a denial.")
      assert.deepStrictEqual(yield* doneIn(run), [])
      const found = yield* (yield* Approval).find(org, id)
      assert.isTrue(found._tag === "Some" && found.value.status === "expired")
    }))

  it.effect("does not count the time of waiting against the run's limit", () =>
    Effect.gen(function*() {
      const run = yield* parked(big)
      yield* TestClock.adjust("30 minutes")
      yield* Conductor.decide((yield* pending(run)).id, { decision: "approved" })
      assert.strictEqual((yield* Conductor.result(run)).text, `✓ {"refunded":500}`)
    }))

  it.effect("is no good for parameters that were changed behind it", () =>
    Effect.gen(function*() {
      const run = yield* parked(big)
      const { id } = yield* pending(run)
      for (const { event } of yield* testing.events(run)) {
        if (event._tag === "TurnCompleted") {
          // The log in memory is what was written, so this is how somebody would change it.
          for (const part of event.parts) {
            if (part.type === "tool-call") Object.assign(part, { arguments: JSON.stringify({ order: "A-1", dollars: 50_000 }) })
          }
        }
      }
      const error = yield* Effect.flip(Conductor.decide(id, { decision: "approved" }))
      assert.strictEqual(error._tag, "ApprovalChanged")
      yield* Conductor.decide(id, { decision: "denied" })
      yield* Conductor.result(run)
      assert.deepStrictEqual(yield* doneIn(run), [])
      assert.strictEqual((yield* (yield* RunLog).find(run)).status, "completed")
    }))
})

