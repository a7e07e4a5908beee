import { assert, describe, it } from "@effect/vitest"
import type { Watched } from "../../src/Conductor.ts"
import { paintOf, plain } from "../../src/Cli/Output.ts"
import { timeline } from "../../src/Cli/Timeline.ts"
import { humanView, jsonLine, summary } from "../../src/Cli/View.ts"
import { usd, zero } from "../../src/Money.ts"
import {
  AgentName, ApprovalId, AttemptId, type Bill, DefinitionHash, fold, InboxId, type Logged, ModelFailed, ModelRef, OrgId, type RunEvent, RunId, RunnerId, type RunState, SessionId
} from "../../src/Run.ts"

const run = RunId.make("01a20568-0000-7000-8000-000000000001")
const model = ModelRef.make("scripted:test")
const bill = {
  model, usage: { uncached: 10, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 5, reasoning: 0 },
  cost: usd("0.01"), source: "priced" as const, latencyMs: 1_200, firstTokenMs: 100, requestId: null
}
const attemptId = AttemptId.make("a1")

const started: RunEvent = {
  _tag: "RunStarted", v: 1, org: OrgId.make("local"), session: SessionId.make("s"), agent: AgentName.make("assistant"),
  definition: DefinitionHash.make("d"), model, input: `"What is it?"`,
  limits: { turns: 5, attempts: 3, cost: null, timeMs: 1_000, toolConcurrency: 2, outputTokens: 100 },
  principal: "me", after: null, sourceProject: null
}

const turn = (number: number, text: string, calls: ReadonlyArray<{ id: string; arguments: string }> = []): RunEvent => ({
  _tag: "TurnCompleted", v: 1, turn: number, attemptId, finish: calls.length > 0 ? "tool-calls" : "stop", note: null, bill,
  parts: [{ type: "text", text }, ...calls.map((call) => ({ type: "tool-call" as const, name: "sql_query", ...call }))]
})

const completed = (call: string, outcome: "success" | "failure", result: string): RunEvent => ({
  _tag: "ToolCompleted", v: 1, turn: 1, call, name: "sql_query", outcome, result, durationMs: 12
})

const log = (...events: ReadonlyArray<RunEvent>): ReadonlyArray<Logged> =>
  events.map((event, index) => ({ run, seq: index + 1, epoch: 1, at: 1_000_000 + index * 100, event }))

const stateOf = (events: ReadonlyArray<Logged>) => {
  const state = events.reduce<RunState | undefined>(fold, undefined)
  assert.isDefined(state)
  return state
}

const none = paintOf(false)
const watch = (items: ReadonlyArray<Watched>, after?: number) => {
  const view = humanView(none, after === undefined ? {} : { after })
  return items.map(view.next).join("")
}
const delta = (text: string, kind: "text" | "reasoning" = "text"): Watched => ({ _tag: "Delta", turn: 1, kind, text })

describe("humanView", () => {
  it("writes text as it comes, once, and a line for each tool call", () => {
    const [, answer, done, failed] = log(
      started,
      turn(1, "I look.", [{ id: "c1", arguments: `{"query":"SELECT 1"}` }, { id: "c2", arguments: "{" }]),
      completed("c1", "success", "{}"),
      completed("c2", "failure", `{"message":"no such\\ntable"}`)
    )
    assert.isDefined(answer)
    assert.isDefined(done)
    assert.isDefined(failed)
    assert.strictEqual(
      watch([delta("thinking", "reasoning"), delta("I "), delta("look."), answer, done, failed]),
      "I look.\n✓ sql_query 12 ms  query: SELECT 1\n✗ sql_query 12 ms  {\n  failure: message: no such table\n"
    )
  })

  it("makes up for pieces that did not arrive", () => {
    const [, answer] = log(started, turn(1, "All of it."))
    assert.isDefined(answer)
    assert.strictEqual(watch([answer]), "All of it.\n")
    assert.strictEqual(watch([delta("All "), answer]), "All of it.\n")
    assert.strictEqual(watch([delta("of it."), answer]), "of it.\nAll of it.\n")
  })

  it("shows that a turn is attempted again, and why", () => {
    const [, broken, answer] = log(started, {
      _tag: "AttemptFailed", v: 1, turn: 1, attemptId, bill,
      error: { reason: "RateLimitError", message: "slow down", retryable: true, retryAfterMs: null }
    }, turn(1, "Well, yes."))
    assert.isDefined(broken)
    assert.isDefined(answer)
    assert.strictEqual(
      watch([delta("Well, n"), { _tag: "Reset", turn: 1 }, broken, delta("Well, yes."), answer]),
      "Well, n\n↻ turn 1 failed, and what it said does not count (slow down); trying again\nWell, yes.\n"
    )
    assert.strictEqual(watch([{ _tag: "Reset", turn: 1 }]), "")
  })

  it("shows progress, messages, doubts and the request to cancel", () => {
    const events = log(
      started,
      { _tag: "MessageReceived", v: 1, message: InboxId.make("m"), text: "hurry", by: "me" },
      { _tag: "ToolUnknown", v: 1, call: "c1", name: "mail", reason: "the process ended" },
      { _tag: "CancelRequested", v: 1, by: "me", reason: "enough" },
      { _tag: "CancelRequested", v: 1, by: "me", reason: null }
    )
    assert.strictEqual(
      watch([{ _tag: "Progress", call: "c1", tool: "mail", message: "half" }, ...events]),
      "… mail: half\n› me: hurry\n? mail (c1) may or may not have happened: the process ended\n■ cancelled by me: enough\n■ cancelled by me\n"
    )
  })

  it("shows what persons decide, and results with the parameters that they were given for", () => {
    const calls = [{ id: "c1", arguments: `{"query":"SELECT 1"}` }, { id: "c2", arguments: "{}" }]
    const approval = (call: string, parameters: string | null, decision: "approved" | "denied" | "expired", comment: string | null): RunEvent => ({
      _tag: "ApprovalDecided", v: 1, approval: ApprovalId.make(`${run}.1.1`), call, decision, parameters, by: "ann", comment
    })
    const events = log(
      started,
      turn(1, "I look.", calls),
      { _tag: "ApprovalRequested", v: 1, approval: ApprovalId.make(`${run}.1.1`), call: "c1", name: "sql_query", digest: "d", expiresAt: 3_600_000 },
      { _tag: "RunParked", v: 1, reason: "approval" },
      approval("c1", `{"query":"SELECT 2"}`, "approved", "go\non"),
      { ...completed("c1", "success", "{}"), attempts: 3 } as RunEvent,
      approval("c2", null, "denied", "no"),
      approval("c2", null, "expired", null),
      { _tag: "ToolResolved", v: 1, call: "c2", resolution: "happened", result: null, by: "ann", comment: null },
      { _tag: "ToolResolved", v: 1, call: "c2", resolution: "did-not-happen", result: null, by: "ann", comment: "I looked" },
      { _tag: "ToolResolved", v: 1, call: "c9", resolution: "run-again", result: null, by: "ann", comment: null },
      { _tag: "CommandRefused", v: 1, command: InboxId.make("m"), kind: "decision", problem: "it was decided before", by: "bob" },
      { _tag: "CommandRefused", v: 1, command: InboxId.make("m"), kind: "resolve", problem: "not in doubt", by: "bob" },
      { _tag: "DefinitionKept", v: 1, definition: DefinitionHash.make("a".repeat(64)), registered: DefinitionHash.make("b".repeat(64)) },
      { _tag: "DefinitionMigrated", v: 1, from: DefinitionHash.make("a".repeat(64)), to: DefinitionHash.make("b".repeat(64)), note: "It may mail now." },
      { _tag: "MessageReceived", v: 1, message: InboxId.make("m"), text: "stop", by: "me", mode: "interrupt" },
      { _tag: "MessageReceived", v: 1, message: InboxId.make("m"), text: "then", by: "me", mode: "queue" }
    )
    const lines = [
      "I look.",
      "‖ sql_query needs approval  query: SELECT 1",
      `  ${run}.1.1, good until 1970-01-01 01:00:00 UTC`,
      "✓ sql_query approved by ann: go on",
      "  with other parameters: query: SELECT 2",
      "✓ sql_query 12 ms (3 attempts)  query: SELECT 2",
      "✗ sql_query denied by ann: no",
      "✗ sql_query was not approved in time, which counts as denied",
      "! sql_query: ann says that it happened",
      "! sql_query: ann says that it did not happen: I looked",
      "! c9: ann lets it be made again",
      "✗ a decision of bob was refused: it was decided before",
      "✗ a resolution of bob was refused: not in doubt",
      "! the agent has changed; the run goes on with its definition of before (aaaaaaaaaaaa, now bbbbbbbbbbbb)",
      "! the agent has changed; the run goes on with the new definition (bbbbbbbbbbbb, before aaaaaaaaaaaa): It may mail now.",
      "› me (at once): stop",
      "› me (when it has nothing more to do): then"
    ]
    assert.strictEqual(watch(events), lines.map((line) => `${line}\n`).join(""))
    const told = timeline(events, stateOf(events), none, 0).join("\n")
    for (const line of lines.filter((line) => !line.startsWith("›"))) assert.include(told, line.trim())
    assert.include(told, "message of me (interrupt)")
    assert.notInclude(told, "good for")
  })

  it("says at the end of a timeline how a run that waits goes on", () => {
    const asks = log(
      started,
      turn(1, "I look.", [{ id: "c1", arguments: "{}" }, { id: "it's c2", arguments: "{}" }]),
      { _tag: "ApprovalRequested", v: 1, approval: ApprovalId.make(`${run}.1.1`), call: "c1", name: "sql_query", digest: "d", expiresAt: 3_600_000 },
      { _tag: "ToolUnknown", v: 1, call: "it's c2", name: "sql_query", reason: "the process ended" },
      { _tag: "RunParked", v: 1, reason: "approval" }
    )
    const early = timeline(asks, stateOf(asks), none, 0)
    assert.include(early, `${" ".repeat(11)}good for 1 h 0 min`)
    assert.strictEqual(early.at(-1), `Run ${run} is parked until somebody decides about its call of sql_query: conductor approve ${run}.1.1, or conductor deny ${run}.1.1.`)
    assert.include(timeline(asks, stateOf(asks), none, 3_600_000), `${" ".repeat(11)}its time is over, which counts as denied`)
    const doubt = log(started, turn(1, "I look.", [{ id: "it's c2", arguments: "{}" }]), ...asks.slice(3, 4).map((logged) => logged.event), {
      _tag: "RunParked", v: 1, reason: "unknown-tool-outcome"
    })
    assert.include(timeline(doubt, stateOf(doubt), none, 0).at(-1), `conductor resolve ${run} 'it'\\''s c2' --happened (or`)
    const shut = log(started, { _tag: "RunParked", v: 1, reason: "shutdown" })
    assert.include(timeline(shut, stateOf(shut), none, 0).at(-1), `go on with it with conductor retry ${run}.`)
  })

  it("says in a timeline who answered in fact, where the cost is from, and by which price list it was charged", () => {
    const attempt = (number: number, prices: string, more: Partial<Bill>): ReadonlyArray<RunEvent> => {
      const id = AttemptId.make(`a${number}`)
      const answer = turn(number, "Yes.")
      return answer._tag !== "TurnCompleted" ? [] : [
        { _tag: "TurnStarted", v: 1, turn: number, attempt: 1, attemptId: id, model, maxOutput: 10, reserved: zero, scopes: [], prices },
        { ...answer, attemptId: id, bill: { ...bill, ...more } }
      ]
    }
    const events = log(
      started,
      ...attempt(1, "list 1", { host: "Upstream", servedModel: "test-20261101", source: "reported" }),
      ...attempt(2, "list 2", {}),
      ...attempt(3, "list 3", { cost: zero }),
      { _tag: "RunCompleted", v: 1 }
    )
    const told = timeline(events, stateOf(events), none, 0)
    assert.include(told.join("\n"), "scripted:test (test-20261101 at Upstream) · 1.2 s")
    assert.include(told.join("\n"), "$0.0100 (reported)")
    assert.strictEqual(told.at(-1), "  prices of list 2")
  })

  it("dims on a terminal what comes under an event", () => {
    const events = log(started, turn(1, "I look.", [{ id: "c1", arguments: "{}" }]), completed("c1", "success", "[1]"))
    assert.include(timeline(events, stateOf(events), paintOf(true), 0), `${" ".repeat(11)}\u001B[2m[1]\u001B[22m`)
  })

  it("writes only what comes after a place, and still knows what was asked before it", () => {
    const events = log(started, turn(1, "I look.", [{ id: "c1", arguments: `{"query":"SELECT 1"}` }]), completed("c1", "success", "{}"))
    assert.strictEqual(watch(events, 2), "✓ sql_query 12 ms  query: SELECT 1\n")
  })

  it("ends with a line of turns, tokens, cost and run", () => {
    const state = stateOf(log(started, turn(1, "Yes."), { _tag: "RunCompleted", v: 1 }))
    assert.strictEqual(humanView(none).end(state), `\n✓ completed · 1 turn · 15 tokens (10 in, 5 out) · $0.0100 · run ${run}\n`)
    const statuses = [
      { _tag: "RunFailed", v: 1, error: new ModelFailed({ model, reason: "r", problem: "p", attempts: 1 }) },
      { _tag: "RunCancelled", v: 1, by: "me", reason: null, left: [] },
      { _tag: "RunParked", v: 1, reason: "approval" }
    ] as const
    assert.deepStrictEqual(statuses.map((event) => summary(stateOf(log(started, event)), none).split(" · ")[0]), [
      "✗ failed", "■ cancelled", "‖ parked"
    ])
    assert.strictEqual(humanView(none).end(stateOf(log(started))).split(" · ")[0], "… running")
  })
})

describe("plain", () => {
  it("takes out what could move the cursor or hide text, and keeps lines and tabs", () => {
    assert.strictEqual(plain("a\u001B[2Jb\u0007\u009Bc\r\n\td"), "a[2Jbc\n\td")
    assert.strictEqual(plain("10\u202E0\u2066 to\u200B me\u2028"), "100 to me")
    assert.strictEqual(paintOf(true).red("x"), "\u001B[31mx\u001B[39m")
  })
})

describe("jsonLine", () => {
  it("is an object a line that reads as the event again", () => {
    for (const logged of log(started, turn(1, "Yes.\n"), { _tag: "RunCompleted", v: 1 })) {
      const line = jsonLine(logged)
      assert.match(line, /^\{.*\}\n$/)
      assert.strictEqual(JSON.parse(line).event._tag, logged.event._tag)
    }
    assert.deepStrictEqual(JSON.parse(jsonLine(delta("a"))), { _tag: "Delta", turn: 1, kind: "text", text: "a" })
  })
})

describe("timeline", () => {
  it("tells every kind of event", () => {
    const events = log(
      started,
      { _tag: "RunClaimed", v: 1, runner: RunnerId.make("p1") },
      { _tag: "TurnStarted", v: 1, turn: 1, attempt: 1, attemptId, model, maxOutput: 10, reserved: zero, scopes: [], prices: null },
      {
        _tag: "AttemptFailed", v: 1, turn: 1, attemptId, bill: { ...bill, source: "unpriced", cost: zero },
        error: { reason: "RateLimitError", message: "slow down", retryable: true, retryAfterMs: null }
      },
      turn(1, " ", [{ id: "c1", arguments: `{"query":"SELECT 1"}` }, { id: "c2", arguments: "{}" }]),
      { _tag: "ToolStarted", v: 1, turn: 1, call: "c1", name: "sql_query", effect: "pure", key: "k" },
      completed("c1", "success", `{"rows":[[1]]}`),
      completed("c2", "failure", "no"),
      { _tag: "ToolUnknown", v: 1, call: "c3", name: "mail", reason: "crash" },
      { _tag: "MessageReceived", v: 1, message: InboxId.make("m"), text: "hurry", by: "me" },
      { _tag: "ApprovalRequested", v: 1, approval: ApprovalId.make("x"), call: "c", name: "mail", digest: "d", expiresAt: 1 },
      { _tag: "RunParked", v: 1, reason: "approval" },
      turn(2, "Two\nlines."),
      { _tag: "RunFailed", v: 1, error: new ModelFailed({ model, reason: "r", problem: "it is gone", attempts: 2 }) },
      { _tag: "RunRetried", v: 1, limits: { turns: 5, attempts: 3, cost: null, timeMs: 1, toolConcurrency: 1, outputTokens: 1 }, by: "you" },
      { _tag: "CancelRequested", v: 1, by: "me", reason: "enough" },
      { _tag: "CancelRequested", v: 1, by: "me", reason: null },
      { _tag: "RunCancelled", v: 1, by: "me", reason: null, left: [] }
    )
    const again: Logged = { run, seq: 19, epoch: 2, at: 1_002_000, event: { _tag: "RunClaimed", v: 1, runner: RunnerId.make("p2") } }
    const text = timeline([...events, again], stateOf(events), none, 0).join("\n")
    for (const part of [
      `run ${run}`, "agent assistant · model scripted:test · by me", "What is it?", "↻ turn 1 failed: slow down", "no known price (unpriced)",
      "→ sql_query  query: SELECT 1", `✓ sql_query 12 ms`, `{"rows":[[1]]}`, "failure: no", "? mail (c3) may or may not have happened: crash",
      "message of me", "hurry", "mail needs approval", "x, good until 1970-01-01 00:00:00 UTC", "parked until somebody decides about a call", "           Two\n           lines.",
      "failed: scripted:test failed after 2 attempts: it is gone", "retried by you", "cancel asked for by me: enough", "cancelled by me",
      "taken over by process p2 (epoch 2)", "■ cancelled · 2 turns"
    ]) assert.include(text, part)
    assert.notInclude(text, "taken over by process p1")
    const [first] = log({ ...started, prompt: "Rendered." })
    assert.isDefined(first)
    assert.include(timeline([first], stateOf([first]), none, 0).join("\n"), "Rendered.")
    assert.deepStrictEqual(timeline([], stateOf([first]), none, 0).length, 2)
  })
})
