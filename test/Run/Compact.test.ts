import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { Compact, tokensOfMessages, tokensOfText, Transcript } from "../../src/Run.ts"

type Message = Transcript.Message

const model = "scripted:test"

/** Any valid conversation: questions, answers that go on, and answers with calls and all their results. */
const conversations = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Schema.Struct({
    kind: Schema.Literals(["said", "said", "answered", "called", "called"]),
    size: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 })),
    calls: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 }))
  })), { minLength: 1, maxLength: 40 }),
  (steps): ReadonlyArray<Message> =>
    steps.flatMap(({ calls, kind, size }, index): ReadonlyArray<Message> => {
      const text = `${index} ${"word ".repeat(size / 10)}`
      if (kind === "said" || index === 0) return [{ role: "user", text }]
      if (kind === "answered") return [{ role: "assistant", model, parts: [{ type: "text", text }] }]
      const ids = Array.from({ length: calls }, (_, n) => `call_${index}_${n}`)
      return [
        { role: "assistant", model, parts: [{ type: "reasoning", text }, ...ids.map((id) => ({ type: "tool-call" as const, id, name: "look", arguments: "{}" }))] },
        { role: "tool", results: ids.map((id, n) => ({ id, name: "look", isFailure: n === 1, result: "x".repeat(size * (n + 1)) })) }
      ]
    })
)

const rulesOf = (window: number, keepTurns: number): Compact.Rules => ({ window, base: 0, scale: 1, keepTurns, resultCharacters: 500 })

const said = (text: string): Message => ({ role: "user", text })

/** The conversation after a plan was carried out, with a summary of some length. */
const carriedOut = (messages: ReadonlyArray<Message>, plan: Compact.Plan, rules: Compact.Rules): ReadonlyArray<Message> => {
  switch (plan._tag) {
    case "Nothing":
      return messages
    case "Shorten":
      return messages.map((message, index) => index < plan.before ? Compact.withShortResults(message, plan.characters) : message)
    case "Summarise": {
      const [old, rest] = [messages.slice(0, plan.before), messages.slice(plan.before)]
      return [said(Compact.summaryOf("They said some words.", old, rest, Compact.quoteFor(rules))), ...rest]
    }
  }
}

describe("a conversation that is made shorter", () => {
  it.prop("is valid wherever it is cut, and no call loses its result", { messages: conversations }, ({ messages }) => {
    assert.isUndefined(Transcript.problem(messages))
    for (const cut of Compact.cutsOf(messages)) {
      const [old, rest] = [messages.slice(0, cut), messages.slice(cut)]
      assert.isUndefined(Transcript.problem(old))
      assert.isUndefined(Transcript.problem([said("A summary."), ...rest]))
      assert.isAbove(cut, 0)
      assert.isAbove(rest.length, 0)
    }
  })

  it.prop("comes to an end, is valid all the time, and keeps its last message and what the user said last", {
    messages: conversations,
    window: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 50, maximum: 5_000 }))),
    keepTurns: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 })))
  }, ({ keepTurns, messages, window }) => {
    const rules = rulesOf(window, keepTurns)
    const lastSaid = messages.findLast((message) => message.role === "user")
    let left = messages
    let steps = 0
    for (let plan = Compact.planOf(left, rules); plan._tag !== "Nothing" && tokensOfMessages(left) > window; plan = Compact.planOf(left, rules)) {
      const before = left
      left = carriedOut(left, plan, rules)
      assert.isUndefined(Transcript.problem(left))
      assert.isTrue(plan._tag === "Summarise" ? left.length < before.length : tokensOfMessages(left) < tokensOfMessages(before))
      assert.isBelow(++steps, 100)
      const last = left.at(-1)
      assert.strictEqual(last?.role, messages.at(-1)?.role)
      const all = JSON.stringify(left)
      // Whole where it still stands for itself, and else as far as it is repeated.
      const isWhole = lastSaid !== undefined && left.includes(lastSaid)
      if (lastSaid?.role === "user" && !isWhole) assert.include(all, JSON.stringify(Compact.shortened(lastSaid.text, Compact.quoteFor(rules))).slice(1, -1))
    }
  })

  it.prop("keeps recent turns whole where they fit in half of the window", { messages: conversations }, ({ messages }) => {
    const window = tokensOfMessages(messages) - 1
    const plan = Compact.planOf(messages, rulesOf(window, 2))
    const cuts = Compact.cutsOf(messages)
    const recent = cuts.at(-2) ?? cuts.at(-1) ?? 0
    const isRoomy = tokensOfMessages(messages.slice(recent)) <= window / 2
    if (plan._tag !== "Nothing" && isRoomy && recent > 0) assert.isAtMost(plan.before, recent)
  })
})

describe("a text that is shortened", () => {
  it("says how much was left out, is cut where a character ends, and is not shortened again", () => {
    const text = `${"a".repeat(400)}😀${"b".repeat(9_598)}`
    const short = Compact.shortened(text, 572)
    assert.include(short, "\n[… 9428 characters left out …]\n")
    assert.isTrue(short.isWellFormed())
    assert.strictEqual(Compact.shortened(short, 572), short)
    assert.strictEqual(Compact.shortened("short", 500), "short")
  })
})

describe("a summary", () => {
  const tools: ReadonlyArray<Message> = [
    said("Book a table for two at eight."),
    { role: "assistant", model, parts: [{ type: "tool-call", id: "1", name: "book", arguments: "{\"n\":2}" }] },
    { role: "tool", results: [{ id: "1", name: "book", isFailure: true, result: "full" }] }
  ]

  it("repeats what the user said last, word for word, as often as it is made anew, where nothing that was said comes after it", () => {
    const once = Compact.summaryOf("A table was asked for.", tools, [])
    assert.deepStrictEqual(Compact.summaryIn(once), { text: "A table was asked for.", quote: "Book a table for two at eight." })
    const twice = Compact.summaryOf("Still no table.", [said(once), ...tools.slice(1)], [])
    assert.deepStrictEqual(Compact.summaryIn(twice), { text: "Still no table.", quote: "Book a table for two at eight." })
    assert.deepStrictEqual(Compact.summaryIn(Compact.summaryOf("A table.", tools, [said("At nine, then.")])), { text: "A table.", quote: undefined })
    assert.isUndefined(Compact.summaryIn("Book a table."))
  })

  it("is asked for with what was said, called and answered, as much of it as there is room for, the oldest left out first", () => {
    assert.strictEqual(Compact.told(tools, 1_000, 500), "User: Book a table for two at eight.\n\nAgent calls book: {\"n\":2}\n\nbook failed: full")
    const many = [said(Compact.summaryOf("Before.", [], [])), ...Array.from({ length: 50 }, (_, n) => said(`${n} ${"x".repeat(100)}`))]
    const text = Compact.told(many, 300, 500)
    assert.match(text, /^Summary of what was before: Before\.\n\n\[\d+ messages left out\]\n\nUser: 4\d /)
    assert.include(text, "User: 49 ")
    assert.isAtMost(text.length, 1_200)
  })

  it.prop("is asked for with no more than there is room for, also where a summary of before has all of it", {
    messages: conversations,
    before: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20_000 }))),
    tokens: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 50, maximum: 5_000 })))
  }, ({ before, messages, tokens }) => {
    const all = [said(Compact.summaryOf("Zürich. ".repeat(before / 8), [], [])), ...messages]
    const text = Compact.told(all, tokens, 2_000)
    assert.isAtMost(tokensOfText(text), tokens)
    assert.include(text, "Summary of what was before")
    assert.isAtMost(tokensOfText(Compact.ruledSummary(all, tokens)), tokens)
  })

  it("can be made without a model", () => {
    const text = Compact.ruledSummary([said(Compact.summaryOf("They met.", [], [])), ...tools, said("x".repeat(5_000))], 1_000)
    assert.strictEqual(text, [
      "They met.",
      "4 messages were left out to make room. Tools were called: book (1).",
      "The user said, among other things:",
      "- Book a table for two at eight.",
      `- ${Compact.shortened("x".repeat(5_000), 200)}`
    ].join("\n"))
    assert.strictEqual(Compact.ruledSummary(tools, 10), "3 messages were left out to make room. Tools were called: book (1).")
  })
})
