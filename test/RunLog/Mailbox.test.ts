import { assert, describe, it } from "@effect/vitest"
import { type Logged, type RunEvent, RunId } from "../../src/Run.ts"
import { makeMailbox } from "../../src/RunLog/Mailbox.ts"

const run = RunId.make("00000000-0000-7000-8000-000000000000")
const delta = (text: string, turn = 1) => ({ _tag: "Delta", turn, kind: "text", text }) as const
const result = (result: string): RunEvent => ({
  _tag: "ToolCompleted", v: 1, turn: 1, call: "a", name: "a", outcome: "success", result, durationMs: 1
})
const event = (seq: number, text = "rain"): Logged => ({ run, seq, epoch: 1, at: 0, event: result(text) })

describe("a watcher's mailbox", () => {
  it("keeps what comes in order, pieces of one text as one", () => {
    const mailbox = makeMailbox(0)
    mailbox.put(delta("Wel"))
    mailbox.put(delta("l."))
    mailbox.put({ _tag: "Events", events: [event(1)] })
    mailbox.put(delta("An", 2))
    mailbox.put({ _tag: "Delta", turn: 2, kind: "reasoning", text: "hm" })
    assert.deepStrictEqual(mailbox.take(), {
      items: [delta("Well."), event(1), delta("An", 2), { _tag: "Delta", turn: 2, kind: "reasoning", text: "hm" }],
      isBehind: false,
      isStale: false
    })
    assert.deepStrictEqual(mailbox.take().items, [])
  })

  it("drops pieces first when nobody takes them, and keeps the events", () => {
    const mailbox = makeMailbox(0)
    mailbox.put({ _tag: "Events", events: [event(1)] })
    for (let i = 0; i < 10_000; i++) mailbox.put(delta("x".repeat(100), i % 2))
    mailbox.put({ _tag: "Events", events: [event(2)] })
    assert.deepStrictEqual(mailbox.take(), { items: [event(1), event(2)], isBehind: false, isStale: true })
    mailbox.put(delta("fresh"))
    assert.deepStrictEqual(mailbox.take(), { items: [delta("fresh")], isBehind: false, isStale: false })
  })

  it("drops events too, by number and by size, and says that they are to be read", () => {
    const many = makeMailbox(0)
    for (let seq = 1; seq <= 1_000; seq++) many.put({ _tag: "Events", events: [event(seq)] })
    const { isBehind, items } = many.take()
    assert.isTrue(isBehind)
    assert.isBelow(items.length, 257)
    const large = makeMailbox(0)
    for (let seq = 1; seq <= 3; seq++) large.put({ _tag: "Events", events: [event(seq, "x".repeat(600_000))] })
    assert.isTrue(large.take().isBehind)
  })

  it("is behind where the log has come further than it heard", () => {
    const mailbox = makeMailbox(3)
    mailbox.look(3)
    mailbox.put({ _tag: "Events", events: [event(4), event(5)] })
    mailbox.look(5)
    assert.isFalse(mailbox.take().isBehind)
    mailbox.look(6)
    assert.isTrue(mailbox.take().isBehind)
    mailbox.reached(6)
    mailbox.look(6)
    assert.isFalse(mailbox.take().isBehind)
    mailbox.look(null)
    assert.isTrue(mailbox.take().isBehind)
  })
})
