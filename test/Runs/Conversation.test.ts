import { assert, describe, it } from "@effect/vitest"
import { DefinitionHash, type RunEvent, Transcript } from "../../src/Run.ts"
import { conversationOf } from "../../src/Runs/Conversation.ts"
import { makeRun } from "../support/runs.ts"

type Run = ReturnType<typeof makeRun>

/** An answer with a signed thought. */
const thinking = (run: Run, text: string, calls: ReadonlyArray<{ readonly id: string; readonly name: string; readonly arguments: string }> = []): readonly [RunEvent, RunEvent] => {
  const [started, completed] = run.turn({ text, calls })
  return [started, { ...completed, parts: [{ type: "reasoning", text: "hm", opaque: { anthropic: { signature: text } } }, ...completed.parts] }]
}

const stateOf = (run: Run) => {
  const state = run.state()
  assert.isDefined(state)
  return state
}

const sent = (run: Run) => conversationOf(stateOf(run), stateOf(run).definition)

/** The signatures that go to the model, in order. */
const signatures = (messages: ReadonlyArray<Transcript.Message>) =>
  messages.flatMap((message) => message.role === "assistant" ? message.parts.flatMap((part) => part.opaque?.["anthropic"]?.["signature"] ?? []) : [])

const call = (id: string) => ({ id, name: "look", arguments: "{}" })

/** A run with two calls answered and an answer that is being worked on. */
const begun = () => {
  const run = makeRun({ model: "anthropic:claude-fable-5-2" })
  run.append(run.started(), ...thinking(run, "one", [call("a")]), ...run.tool("a"), ...thinking(run, "two", [call("b")]), ...run.tool("b"), ...thinking(run, "three", [call("c")]))
  return run
}

describe("The conversation of a run", () => {
  it("is its messages as they are while nothing before them changes", () => {
    const run = begun()
    run.append(...run.tool("c"))
    assert.strictEqual(sent(run), stateOf(run).messages)
    assert.deepStrictEqual(signatures(sent(run)), ["one", "two", "three"])
    assert.deepStrictEqual(signatures(conversationOf(stateOf(run), DefinitionHash.make("e".repeat(64)))), [])
  })

  it("loses reasoning that is bound to what was compacted, of the answer too that was being worked on", () => {
    const run = begun()
    run.append({ _tag: "ContextCompacted", v: 1, through: 3, summary: "One was looked up.", bill: run.bill() })
    assert.strictEqual(stateOf(run).measured, null)
    run.append(...run.tool("c"), ...thinking(run, "four", [call("d")]), ...run.tool("d"))
    assert.deepStrictEqual(signatures(sent(run)), ["four"])
    assert.isUndefined(Transcript.problem(sent(run)))
    assert.deepStrictEqual(sent(run).map((message) => message.role), ["user", "assistant", "tool", "assistant", "tool", "assistant", "tool"])
  })

  it("loses it where the definition changes, and is measured anew", () => {
    const run = begun()
    const { definition } = stateOf(run)
    run.append(...run.tool("c"))
    assert.isNotNull(stateOf(run).measured)
    run.append({ _tag: "DefinitionMigrated", v: 1, from: definition, to: DefinitionHash.make("e".repeat(64)) })
    assert.isNull(stateOf(run).measured)
    run.append(...thinking(run, "four"))
    assert.deepStrictEqual(signatures(sent(run)), ["four"])
    assert.isUndefined(Transcript.problem(sent(run)))
  })
})
