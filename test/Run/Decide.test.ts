import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Money from "../../src/Money.ts"
import {
  AgentName, AttemptId, Compact, decide, DefinitionHash, fold, InboxId, isOver, type Logged, ModelRef, noUsage, OrgId, RunEvent, RunId, RunnerId,
  type RunState, SessionId, Transcript
} from "../../src/Run.ts"

type Event<Tag extends RunEvent["_tag"]> = Extract<RunEvent, { readonly _tag: Tag }>

const run = RunId.make("run")
const model = ModelRef.make("scripted:test")

/** A source of chance that is a list of numbers from 0 up to 1, used round and round. */
const dice = (rolls: ReadonlyArray<number>) => {
  let at = 0
  return <A>(choices: readonly [A, ...ReadonlyArray<A>]): A => {
    const roll = rolls[at++ % rolls.length] ?? 0
    return choices[Math.floor(roll * choices.length)] ?? choices[0]
  }
}

const started: Event<"RunStarted"> = {
  _tag: "RunStarted",
  v: 1,
  org: OrgId.make("org"),
  session: SessionId.make("session"),
  agent: AgentName.make("agent"),
  definition: DefinitionHash.make("hash"),
  model,
  input: JSON.stringify("Hello"),
  limits: { turns: 6, attempts: 3, cost: null, timeMs: 60_000, toolConcurrency: 4, outputTokens: 100 },
  principal: "tester",
  after: null,
  sourceProject: null
}

const bill = (cost: string): Event<"TurnCompleted">["bill"] => ({
  model,
  usage: { ...noUsage, uncached: 3, output: 2 },
  cost: Money.usd(cost),
  source: "priced",
  latencyMs: 1,
  firstTokenMs: null,
  requestId: null
})

/** What the world answers to a decision, by chance: any event that the runtime could write there. */
const answer = (state: RunState, roll: ReturnType<typeof dice>): ReadonlyArray<RunEvent> => {
  const next = decide(state)
  const turn = state.turns + 1
  const id = AttemptId.make(`attempt-${state.seq}`)
  switch (next._tag) {
    case "Ended":
      return []
    case "CallModel":
      return [{
        _tag: "TurnStarted",
        v: 1,
        turn,
        attempt: next.attempt,
        attemptId: id,
        model: next.model,
        maxOutput: 100,
        reserved: Money.usd("0.01"),
        scopes: [],
        prices: null
      }]
    case "Compact":
    case "CompactByRule": {
      const plan = Compact.planOf(state.messages, { window: 60, base: 0, scale: 1, keepTurns: roll([1, 2, 3]), resultCharacters: 500 })
      const start = { _tag: "TurnStarted", v: 1, turn, attempt: 1, attemptId: id, model, maxOutput: 100, reserved: Money.usd("0.01"), scopes: [], prices: null } as const
      if (plan._tag === "Nothing") return [start]
      if (plan._tag === "Shorten") return [{ _tag: "ContextShortened", v: 1, through: plan.before, characters: plan.characters }]
      if (next._tag === "Compact" && roll([true, true, false])) return [{ ...start, attempt: next.attempt, purpose: "compaction" }]
      return [{ _tag: "ContextShortened", v: 1, through: plan.before, summary: "Something.", because: "BudgetExceeded" }]
    }
    case "SettleAttempt": {
      if (roll([0, 0, 0, 1]) === 1) {
        return [{
          _tag: "AttemptFailed",
          v: 1,
          turn,
          attemptId: next.attempt.id,
          error: { reason: "RateLimitError", message: "busy", retryable: roll([true, true, false]), retryAfterMs: null },
          bill: bill("0.001")
        }]
      }
      if (state.compacting !== null) {
        const through = roll(Compact.cutsOf(state.messages) as [number, ...Array<number>]) // it was asked for, so there is one
        return [{ _tag: "ContextCompacted", v: 1, through, summary: "Something.", bill: bill("0.003"), attemptId: next.attempt.id }]
      }
      const calls = roll([0, 0, 1, 2, 3])
      const parts: Array<Transcript.AssistantPart> = [{ type: "text", text: "thinking aloud" }]
      for (let n = 0; n < calls; n++) parts.push({ type: "tool-call", id: `${state.seq}-${n}`, name: "tool", arguments: "{}" })
      return [{
        _tag: "TurnCompleted",
        v: 1,
        turn,
        attemptId: next.attempt.id,
        parts,
        finish: calls > 0 ? roll(["tool-calls", "length"]) : roll(["stop", "stop", "length", "content-filter", "pause", "unknown"]),
        note: null,
        bill: bill("0.002")
      }]
    }
    case "RunTools":
      return next.calls.flatMap(({ part, status }): ReadonlyArray<RunEvent> => {
        const effect = roll(["pure", "idempotent", "unsafe"] as const)
        const begun: RunEvent = { _tag: "ToolStarted", v: 1, turn: state.turns, call: part.id, name: part.name, effect, key: "key" }
        const done: RunEvent = {
          _tag: "ToolCompleted",
          v: 1,
          turn: state.turns,
          call: part.id,
          name: part.name,
          outcome: roll(["success", "failure", "timeout"]),
          result: "1",
          durationMs: 1,
          ...(roll([false, false, false, false, true]) ? { fatal: "\"broken\"" } : {})
        }
        const first = status === "started" ? [] : [begun]
        return roll([true, true, false]) ? [...first, done] : first
      })
    case "DoubtTools":
      return next.calls.map(({ part }) => ({ _tag: "ToolUnknown", v: 1, call: part.id, name: part.name, reason: "crash" }))
    case "CancelTools":
      return next.calls.map(({ part }) => ({
        _tag: "ToolCompleted",
        v: 1,
        turn: state.turns,
        call: part.id,
        name: part.name,
        outcome: "cancelled",
        result: "cancelled",
        durationMs: 0
      }))
    case "Park": {
      const doubtful = state.open?.calls.find((call) => call.status === "unknown")
      const resolved: ReadonlyArray<RunEvent> = doubtful === undefined ? [] : [{
        _tag: "ToolResolved",
        v: 1,
        call: doubtful.part.id,
        resolution: roll(["happened", "did-not-happen", "run-again"]),
        result: null,
        by: "person",
        comment: null
      }]
      return [{ _tag: "RunParked", v: 1, reason: next.reason }, { _tag: "RunClaimed", v: 1, runner: RunnerId.make("r2") }, ...resolved]
    }
    case "Finish":
      return [next.event]
  }
}

/** Something that may happen at any time, from outside. */
const outside = (state: RunState, roll: ReturnType<typeof dice>): ReadonlyArray<RunEvent> =>
  roll([
    [],
    [],
    [],
    [],
    [{ _tag: "MessageReceived", v: 1, message: InboxId.make(`m-${state.seq}`), text: "And?", by: "tester" }],
    [{ _tag: "RunClaimed", v: 1, runner: RunnerId.make("r3") }]
  ])

const append = (log: ReadonlyArray<Logged>, events: ReadonlyArray<RunEvent>): ReadonlyArray<Logged> => [
  ...log,
  ...events.map((event, n): Logged => ({ run, seq: log.length + n + 1, epoch: 1, at: log.length + n, event }))
]

const replay = (log: ReadonlyArray<Logged>): RunState => {
  const state = log.reduce<RunState | undefined>(fold, undefined)
  if (state === undefined) throw new Error("empty log")
  return state
}

/** Goes on from a log until the run has ended, checking after every event that the conversation is valid. */
const live = (from: ReadonlyArray<Logged>, roll: ReturnType<typeof dice>): ReadonlyArray<Logged> => {
  let log = from
  let state = replay(log)
  for (let step = 0; step < 400 && !isOver(state.status); step++) {
    const events = step % 2 === 1 && step < 40 && state.attempt === null ? outside(state, roll) : answer(state, roll)
    for (const event of events) {
      log = append(log, [event])
      const logged = log.at(-1)
      if (logged === undefined) throw new Error("nothing was appended")
      state = fold(state, logged)
      assert.isUndefined(Transcript.problem(state.messages), JSON.stringify(log.map((one) => one.event._tag)))
    }
  }
  assert.isTrue(isOver(state.status), `not over: ${log.map(({ event }) => event._tag).join(" ")}`)
  assert.deepStrictEqual(decide(state), { _tag: "Ended" })
  return log
}

const rolls = Arbitrary.array(Arbitrary.schema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 }))), { minLength: 20, maxLength: 60 })

/** Beginnings of runs: one has room for all that is said, and one for next to nothing, so that it is compacted before each turn. */
const beginnings = [started, { ...started, limits: { ...started.limits, context: { tokens: 4 } } }].map((event) => append([], [event]))

describe("a run's log", () => {
  it.prop("goes on to a valid end from any of its prefixes", { first: rolls, then: rolls }, ({ first, then }) => {
    for (const beginning of beginnings) {
      const log = live(beginning, dice(first))
      for (let length = 1; length <= log.length; length++) live(log.slice(0, length), dice(then))
    }
  })

  it.prop("is the same after a crash at any event as without it", { first: rolls }, ({ first }) => {
    const encode = Schema.encodeUnknownSync(RunEvent)
    const decode = Schema.decodeUnknownSync(RunEvent)
    for (const beginning of beginnings) {
      const log = live(beginning, dice(first))
      const whole = replay(log)
      for (let length = 1; length <= log.length; length++) {
        // What is before the crash comes back from the store, what is after it comes on top.
        const stored = log.slice(0, length).map((logged) => ({ ...logged, event: decode(JSON.parse(JSON.stringify(encode(logged.event)))) }))
        const resumed = log.slice(length).reduce(fold, replay(stored))
        assert.deepStrictEqual(resumed, whole)
        assert.deepStrictEqual(decide(resumed), decide(whole))
      }
    }
  })

  it.prop("ends as cancelled wherever the command comes", { first: rolls, then: rolls }, ({ first, then }) => {
    for (const beginning of beginnings) {
      const log = live(beginning, dice(first))
      for (let length = 1; length < log.length; length++) {
        const prefix = log.slice(0, length)
        if (isOver(replay(prefix).status)) continue
        const ended = replay(live(append(prefix, [{ _tag: "CancelRequested", v: 1, by: "tester", reason: null }]), dice(then)))
        assert.strictEqual(ended.status, "cancelled")
      }
    }
  })

  it.prop("survives being stored as JSON", { first: rolls }, ({ first }) => {
    const encode = Schema.encodeUnknownSync(RunEvent)
    const decode = Schema.decodeUnknownSync(RunEvent)
    for (const { event } of beginnings.flatMap((beginning) => live(beginning, dice(first)))) {
      assert.deepStrictEqual(decode(JSON.parse(JSON.stringify(encode(event)))), event)
    }
  })

  it.prop("adds up to the sum of its bills", { first: rolls }, ({ first }) => {
    for (const beginning of beginnings) {
      const log = live(beginning, dice(first))
      const total = log.reduce((sum, { event }) => "bill" in event ? Money.add(sum, event.bill.cost) : sum, Money.zero)
      assert.strictEqual(replay(log).cost, total)
    }
  })
})
