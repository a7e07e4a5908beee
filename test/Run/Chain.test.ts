import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Money from "../../src/Money.ts"
import {
  AgentName, type Asked, AttemptId, type AttemptError, decide, DefinitionHash, fold, isOver, type Logged, mayAnotherDoBetter, ModelRef, noUsage,
  OrgId, RunEvent, RunId, RunnerId, type RunState, SessionId
} from "../../src/Run.ts"

const run = RunId.make("run")
const chain = (["a:1", "b:2", "c:3"] as const).map((ref) => ModelRef.make(ref))
const [first, ...fallback] = chain

const started = (attempts: number, more: ReadonlyArray<ModelRef> = fallback): RunEvent => ({
  _tag: "RunStarted",
  v: 1,
  org: OrgId.make("org"),
  session: SessionId.make("session"),
  agent: AgentName.make("agent"),
  definition: DefinitionHash.make("hash"),
  model: first ?? ModelRef.make("a:1"),
  ...(more.length === 0 ? {} : { fallback: more }),
  input: JSON.stringify("Hello"),
  limits: { turns: 6, attempts, cost: null, timeMs: 60_000, turnMs: 30_000, firstTokenMs: 2_000, toolConcurrency: 4, outputTokens: 100 },
  principal: "tester",
  after: null,
  sourceProject: null
})

const log = (...events: ReadonlyArray<RunEvent>) =>
  events.map((event, n): Logged => ({ run, seq: n + 1, epoch: 1, at: n * 10, event }))

const replay = (logged: ReadonlyArray<Logged>): RunState => {
  const state = logged.reduce<RunState | undefined>(fold, undefined)
  assert.isDefined(state)
  return state
}

const bill = (model: ModelRef): Extract<RunEvent, { _tag: "AttemptFailed" }>["bill"] => ({
  model,
  usage: { ...noUsage, uncached: 7, output: 3 },
  cost: Money.usd("0.001"),
  source: "bound",
  latencyMs: 1,
  firstTokenMs: null,
  requestId: null
})

const asks = (model: ModelRef, turn: number, attempt: number): RunEvent => ({
  _tag: "TurnStarted",
  v: 1,
  turn,
  attempt,
  attemptId: AttemptId.make(`${turn}.${attempt}`),
  model,
  maxOutput: 100,
  reserved: Money.zero,
  scopes: [],
  prices: null
})

const fails = (model: ModelRef, reason: string, retryable: boolean, more: Partial<AttemptError> = {}): RunEvent => ({
  _tag: "AttemptFailed",
  v: 1,
  turn: 1,
  attemptId: AttemptId.make("x"),
  error: { reason, message: `${reason} of ${model}`, retryable, retryAfterMs: null, ...more },
  bill: bill(model)
})

const answers = (model: ModelRef, turn: number): RunEvent => ({
  _tag: "TurnCompleted",
  v: 1,
  turn,
  attemptId: AttemptId.make("x"),
  parts: [{ type: "tool-call", id: `call-${turn}`, name: "tool", arguments: "{}" }],
  finish: "tool-calls",
  note: null,
  bill: bill(model)
})

const result = (turn: number): RunEvent => ({
  _tag: "ToolCompleted", v: 1, turn, call: `call-${turn}`, name: "tool", outcome: "success", result: "1", durationMs: 1
})

/** Lets each attempt of a turn fail as told, or the last of them again and again; every request with how it ended. */
const play = (attempts: number, failures: ReadonlyArray<Pick<AttemptError, "reason" | "retryable" | "retryAfterMs">>) => {
  const events: Array<RunEvent> = [started(attempts), { _tag: "RunClaimed", v: 1, runner: RunnerId.make("r") }]
  const requests: Array<{ readonly model: ModelRef; readonly delayMs: number; readonly reason: string; readonly retryable: boolean }> = []
  for (let n = 0;; n++) {
    const next = decide(replay(log(...events)))
    if (next._tag !== "CallModel") return { next, requests, events }
    const failure = failures[Math.min(n, failures.length - 1)] ?? { reason: "NetworkError", retryable: true, retryAfterMs: null }
    requests.push({ model: next.model, delayMs: next.delayMs, reason: failure.reason, retryable: failure.retryable })
    events.push(asks(next.model, 1, next.attempt), fails(next.model, failure.reason, failure.retryable, { retryAfterMs: failure.retryAfterMs }))
  }
}

const retryable = { reason: "InternalProviderError", retryable: true, retryAfterMs: null }
const badKey = { reason: "AuthenticationError", retryable: false, retryAfterMs: null }

describe("a chain of models", () => {
  it("asks each as often as the limit says, then the next at once, and names all in the end", () => {
    const { next, requests } = play(2, [retryable])
    assert.deepStrictEqual(requests.map(({ delayMs, model }) => `${model} ${delayMs}`), [
      "a:1 0", "a:1 500", "b:2 0", "b:2 500", "c:3 0", "c:3 500"
    ])
    assert.isTrue(next._tag === "Finish" && next.event._tag === "RunFailed" && next.event.error._tag === "ModelFailed")
    if (next._tag !== "Finish" || next.event._tag !== "RunFailed" || next.event.error._tag !== "ModelFailed") return
    const { asked, attempts, message, model } = next.event.error
    assert.deepStrictEqual(asked?.map((one) => [one.model, one.attempts]), [["a:1", 2], ["b:2", 2], ["c:3", 2]])
    assert.deepStrictEqual([model, attempts], ["c:3", 6])
    assert.match(message, /^None of 3 models answered\. a:1 failed after 2 attempts: .* b:2 failed .* c:3 failed .* To mend it: try again later/)
  })

  it("does not repeat what will not get better, and says what to do about each", () => {
    const quota = { reason: "QuotaExhaustedError", retryable: false, retryAfterMs: null }
    const tooLong = { reason: "InvalidRequestError", retryable: false, retryAfterMs: null }
    const { next, requests } = play(3, [badKey, quota, tooLong])
    assert.deepStrictEqual(requests.map(({ model }) => model), chain)
    assert.isTrue(next._tag === "Finish" && next.event._tag === "RunFailed")
    if (next._tag !== "Finish" || next.event._tag !== "RunFailed") return
    assert.match(next.event.error.message, /To mend it: give the provider "a" a valid key\. Or: raise the spend limit .*"b".* Or: change the request .*a shorter conversation/)
  })

  it("is left alone where the failure is one of the input", () => {
    const { next, requests } = play(3, [{ reason: "ContentPolicyError", retryable: false, retryAfterMs: null }])
    assert.deepStrictEqual(requests.map(({ model }) => model), [first])
    assert.isTrue(next._tag === "Finish" && next.event._tag === "RunFailed" && next.event.error._tag === "ModelFailed" && next.event.error.asked === undefined)
  })

  it("waits as long as the provider asks, up to a minute, before the same model only", () => {
    const busy = (retryAfterMs: number) => ({ reason: "RateLimitError", retryable: true, retryAfterMs })
    const { requests } = play(2, [busy(7_000), busy(9_000), busy(3_600_000)])
    assert.deepStrictEqual(requests.map(({ delayMs, model }) => `${model} ${delayMs}`), [
      "a:1 0", "a:1 7000", "b:2 0", "b:2 60000", "c:3 0", "c:3 60000"
    ])
  })

  it("stays with the model that answered, whose count of tokens is void for another, and begins anew with a retry", () => {
    const [a, b, c] = chain as [ModelRef, ModelRef, ModelRef]
    const events = [started(2), asks(a, 1, 1), fails(a, "AuthenticationError", false), asks(b, 1, 2), answers(b, 1)]
    const answered = replay(log(...events))
    assert.deepStrictEqual([answered.model, answered.measured?.tokens, answered.asked.length], [b, 10, 0])
    const due = replay(log(...events, result(1)))
    assert.deepStrictEqual(decide(due), { _tag: "CallModel", model: b, attempt: 1, delayMs: 0 })
    // A bill without a prompt bounds no later one.
    const uncounted = (event: RunEvent): RunEvent =>
      event._tag === "TurnCompleted" ? { ...event, bill: { ...event.bill, usage: { ...noUsage, output: 3 } } } : event
    assert.isNull(replay(log(...events.map(uncounted))).measured)
    const switched = replay(log(...events, result(1), asks(b, 2, 1), fails(b, "QuotaExhaustedError", false), asks(c, 2, 2)))
    assert.deepStrictEqual([switched.model, switched.measured], [c, null])
    const failed = [...events, result(1), asks(b, 2, 1), fails(b, "ContentPolicyError", false)]
    const end = decide(replay(log(...failed)))
    assert.strictEqual(end._tag, "Finish")
    if (end._tag !== "Finish") return
    const retried = replay(log(...failed, end.event, { _tag: "RunRetried", v: 1, limits: due.limits, by: "tester" }))
    assert.deepStrictEqual(decide(retried), { _tag: "CallModel", model: a, attempt: 1, delayMs: 0 })
  })

  it("goes on with the model that was asked when its process died, which counts against nothing", () => {
    const [a, b] = chain as [ModelRef, ModelRef]
    const lost = fails(b, "Lost", true, { retryAfterMs: 0 })
    const events = [started(1), asks(a, 1, 1), fails(a, "NetworkError", true), asks(b, 1, 2), lost]
    assert.deepStrictEqual(decide(replay(log(...events))), { _tag: "CallModel", model: b, attempt: 3, delayMs: 0 })
    const failed = [...events, asks(b, 1, 3), fails(b, "NetworkError", true)]
    const next = decide(replay(log(...failed)))
    assert.isTrue(next._tag === "CallModel" && next.model === chain[2] && next.delayMs === 0)
  })

  it("is over with the time of the turn, and counts the waiting before the first request into it", () => {
    const [a] = chain as [ModelRef]
    const next = decide(replay(log(started(3), asks(a, 1, 1), fails(a, "TurnTimedOut", false))))
    assert.isTrue(next._tag === "Finish" && next.event._tag === "RunFailed" && next.event.error._tag === "TurnTimedOut")
    const waited = asks(a, 1, 1)
    assert.strictEqual(waited._tag, "TurnStarted")
    if (waited._tag === "TurnStarted") assert.strictEqual(replay(log(started(3), { ...waited, waitedMs: 4 })).turnSince, 6)
  })

  it("is one model where a run was started without more, whose time limits keep their own errors", () => {
    const [a] = chain as [ModelRef]
    const silent = [asks(a, 1, 1), fails(a, "FirstTokenTimedOut", true)]
    const alone = decide(replay(log(started(1, []), ...silent)))
    assert.isTrue(alone._tag === "Finish" && alone.event._tag === "RunFailed" && alone.event.error._tag === "FirstTokenTimedOut")
    const next = decide(replay(log(started(1), ...silent)))
    assert.isTrue(next._tag === "CallModel" && next.model === chain[1])
  })

  const Failure = Schema.Struct({
    reason: Schema.Literals([
      "AuthenticationError", "QuotaExhaustedError", "ContentPolicyError", "InvalidRequestError", "RateLimitError", "NetworkError",
      "InternalProviderError", "InvalidResponseError", "FirstTokenTimedOut", "StreamStalled", "UnknownError"
    ]),
    retryable: Schema.Boolean,
    retryAfterMs: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 })))
  })

  it.prop("ends, within its requests, without going back, and repeats nothing hopeless", {
    attempts: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))),
    failures: Arbitrary.array(Arbitrary.schema(Failure), { minLength: 1, maxLength: 14 })
  }, ({ attempts, failures }) => {
    const { events, next, requests } = play(attempts, failures)
    assert.strictEqual(next._tag, "Finish")
    assert.isAtMost(requests.length, attempts * chain.length)
    const places = requests.map(({ model }) => chain.indexOf(model))
    assert.deepStrictEqual(places, places.toSorted())
    for (const [index, { delayMs, model, reason, retryable }] of requests.entries()) {
      const after = requests[index + 1]
      if (after === undefined) continue
      assert.isAtMost(delayMs, 60_000)
      if (after.model === model) assert.isTrue(retryable && !["AuthenticationError", "QuotaExhaustedError", "ContentPolicyError", "InvalidRequestError"].includes(reason))
      else assert.isTrue(mayAnotherDoBetter(reason) && after.delayMs === 0)
    }
    // What a process decided, the next one decides too, from any place of the log as it is stored.
    for (let length = 1; length <= events.length; length++) {
      const stored = log(...events).slice(0, length).map((logged) => ({
        ...logged,
        event: Schema.decodeUnknownSync(RunEvent)(JSON.parse(JSON.stringify(Schema.encodeUnknownSync(RunEvent)(logged.event))))
      }))
      assert.deepStrictEqual(decide(replay(stored)), decide(replay(log(...events).slice(0, length))))
    }
    const asked: ReadonlyArray<Asked> = replay(log(...events)).asked
    assert.strictEqual(asked.reduce((sum, one) => sum + one.attempts, 0), requests.length)
    if (next._tag === "Finish") assert.isTrue(isOver(replay([...log(...events), ...log(next.event).map((one) => ({ ...one, seq: events.length + 1 }))]).status))
  })
})
