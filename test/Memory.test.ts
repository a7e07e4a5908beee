import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { randomUUID } from "node:crypto"
import { AuditLog } from "../src/AuditLog.ts"
import { Memory, MemoryId } from "../src/Memory.ts"
import { CurrentOrg, CurrentPrincipal } from "../src/Org.ts"
import { OrgId, RunId } from "../src/Run.ts"
import { fromEvent, fragmentOf, takeOut } from "../src/Memory/TakeOut.ts"
import { stores } from "./support/stores.ts"

/** Does something for an organisation of its own. */
const inOrg = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, CurrentOrg, OrgId.make(`org-${randomUUID()}`)).pipe(Effect.provideService(CurrentPrincipal, "user:ann"))

/** Does something at another time, without letting the time between pass. */
const at = <A, E, R>(time: number, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.Clock, (clock) =>
    Effect.provideService(effect, Clock.Clock, { ...clock, sleep: clock.sleep.bind(clock), currentTimeMillisUnsafe: () => time, currentTimeMillis: Effect.succeed(time) }))

const remembered = Effect.fnUntraced(function*(...texts: ReadonlyArray<string>) {
  const memory = yield* Memory
  return yield* Effect.forEach(texts, (text) => memory.remember({ text }))
})

const recalled = Effect.fnUntraced(function*(text: string) {
  return (yield* (yield* Memory).recall({ text })).map((found) => found.text)
})

for (const { layer: store, name } of stores) {
  const rooms = (name === "memory" ? Memory.layerMemory : Memory.layer as unknown as typeof Memory.layerMemory).pipe(
    Layer.provideMerge(store),
    Layer.provide(SecureRandom.layerWebCrypto)
  ) // the stores on a database bring its client
  layer(rooms)(`Memory (${name})`, (it) => {
    it.effect("recalls by words, whatever their form and order, and what has most of them first", () =>
      inOrg(Effect.gen(function*() {
        const [lisbon, tax] = yield* remembered(
          "The Lisbon office orders its paper from Papelaria Fernandes.",
          "Taxes of the office are due on the 15th of each quarter."
        )
        assert.deepStrictEqual(yield* recalled("Where does the office in LISBON order paper?"), [lisbon?.text, tax?.text])
        assert.deepStrictEqual(yield* recalled("When is the tax due?"), [tax?.text])
        assert.deepStrictEqual(yield* recalled("Who are we?"), [])
        assert.deepStrictEqual(yield* recalled("hovercraft"), [])
        assert.deepStrictEqual(yield* recalled(" "), [])
        const memory = yield* Memory
        const [best] = yield* memory.recall({ text: "paper orders in Lisbon", limit: 1 })
        assert.deepInclude(best, { ...lisbon, score: 1 })
      })))

    it.effect("recalls what contains the question letter by letter, in any language and with any sign", () =>
      inOrg(Effect.gen(function*() {
        yield* remembered("仓库的钥匙在前台", "Rabatt: 100%_\\'\" für Müller & Söhne", "The part is A-77/b.")
        assert.deepStrictEqual(yield* recalled("钥匙在"), ["仓库的钥匙在前台"])
        assert.deepStrictEqual(yield* recalled("100%_\\'\""), ["Rabatt: 100%_\\'\" für Müller & Söhne"])
        assert.deepStrictEqual(yield* recalled("müller".replace("m", "M")), ["Rabatt: 100%_\\'\" für Müller & Söhne"])
        assert.deepStrictEqual(yield* recalled("a-77/B"), ["The part is A-77/b."])
      })))

    it.effect("keeps what it is told under one key once, and says where it is from", () =>
      inOrg(Effect.gen(function*() {
        const memory = yield* Memory
        const source = { run: RunId.make("run-1"), call: "call-1" }
        const first = yield* memory.remember({ text: "  Ann likes tea.  ", scope: "user:ann", source, dedupe: "key" })
        assert.deepInclude(first, { text: "Ann likes tea.", scope: "user:ann", sourceRun: source.run, sourceCall: "call-1", createdBy: "user:ann" })
        assert.deepStrictEqual(yield* memory.remember({ text: "Ann likes tea, says the attempt made again.", dedupe: "key" }), first)
        assert.deepStrictEqual(yield* memory.list(), [first])
        // The key is the organisation's own.
        yield* inOrg(Effect.gen(function*() {
          const other = yield* memory.remember({ text: "Ann likes coffee.", dedupe: "key" })
          assert.strictEqual(other.text, "Ann likes coffee.")
        }))
      })))

    it.effect("shows a scope what is its own, and an organisation nothing of another", () =>
      inOrg(Effect.gen(function*() {
        const memory = yield* Memory
        const ours = yield* memory.remember({ text: "The code word is heron." })
        const clerks = yield* memory.remember({ text: "The code word of clerks is wren.", scope: "agent:clerk" })
        const anns = yield* memory.remember({ text: "The code word of Ann is owl.", scope: "user:ann" })
        const ids = (facts: ReadonlyArray<{ readonly id: string }>) => facts.map((fact) => fact.id)
        assert.deepStrictEqual(ids(yield* memory.list()), ids([anns, clerks, ours]))
        assert.deepStrictEqual(ids(yield* memory.list({ scopes: ["org", "user:ann"] })), ids([anns, ours]))
        assert.deepStrictEqual(ids(yield* memory.list({ before: anns.id, limit: 1 })), ids([clerks]))
        assert.deepStrictEqual(ids(yield* memory.recall({ text: "code word", scopes: ["agent:clerk"] })), ids([clerks]))
        assert.deepStrictEqual(ids(yield* memory.recall({ text: "code word", scopes: [] })), [])
        yield* inOrg(Effect.gen(function*() {
          assert.deepStrictEqual(yield* memory.recall({ text: "code word" }), [])
          assert.deepStrictEqual(yield* memory.list(), [])
          assert.strictEqual((yield* memory.forget({ id: ours.id })).memories, 0)
        }))
        assert.strictEqual((yield* memory.forget({ id: clerks.id, scopes: ["user:ann"] })).memories, 0)
        assert.strictEqual((yield* memory.list()).length, 3)
      })))

    it.effect("knows nothing any more when its time is over", () =>
      inOrg(Effect.gen(function*() {
        const memory = yield* Memory
        const lift = yield* memory.remember({ text: "The lift is broken.", expires: "2 days" })
        yield* memory.remember({ text: "The lift is in the north wing." })
        const end = lift.expiresAt ?? 0
        assert.strictEqual(end - lift.createdAt, 172_800_000)
        assert.strictEqual((yield* at(end - 1, recalled("lift"))).length, 2)
        assert.deepStrictEqual(yield* at(end, recalled("lift")), ["The lift is in the north wing."])
        assert.strictEqual((yield* at(end, memory.list())).length, 1)
        yield* at(end, memory.settle)
        assert.strictEqual((yield* memory.list()).length, 1)
      })))

    it.effect("forgets one memory, a scope, or whatever contains a text, and the audit trail tells who asked, not what", () =>
      inOrg(Effect.gen(function*() {
        const memory = yield* Memory
        const [plum, pear, fig] = yield* remembered("Plums are from Kent.", "Pears are from Ann Miller.", "Figs are Ann Miller's, too.")
        yield* memory.remember({ text: "Ann hates plums.", scope: "user:ann" })
        assert.deepStrictEqual(yield* memory.forget({ id: plum?.id ?? MemoryId.make("") }), { memories: 1, waiting: [] })
        assert.deepStrictEqual(yield* memory.forget({ scope: "user:ann" }), { memories: 1, waiting: [] })
        assert.deepStrictEqual((yield* memory.list()).map((fact) => fact.id), [fig?.id, pear?.id])
        assert.deepStrictEqual(yield* memory.forget({ text: "Ann Miller" }), { memories: 2, waiting: [] })
        assert.deepStrictEqual(yield* memory.list(), [])
        const org = yield* CurrentOrg
        const audit = yield* AuditLog
        const rows = yield* audit.list({ org, limit: 100 })
        assert.deepStrictEqual(rows.filter((row) => row.tool === "memory.forget").map((row) => [row.principal, row.target, row.input]), [
          ["user:ann", null, { memories: 2 }],
          ["user:ann", null, { memories: 1 }],
          ["user:ann", `memory:${plum?.id}`, { memories: 1 }]
        ])
        assert.notInclude(JSON.stringify(rows), "Miller")
        assert.isUndefined((yield* audit.verify({ org })).broken)
      })))

    it.effect("refuses what is too short to be found, too long to be of use, or nobody's", () =>
      inOrg(Effect.gen(function*() {
        const memory = yield* Memory
        for (const text of ["", "  no ", "x".repeat(8_001)]) {
          const error = yield* Effect.flip(memory.remember({ text }))
          assert.strictEqual(error._tag, "MemoryInvalid")
          assert.match(error.message, /a text of 4 to 8000 characters is wanted/)
        }
        assert.strictEqual((yield* Effect.flip(memory.forget({ text: "Ann" })))._tag, "MemoryInvalid")
        assert.match((yield* Effect.flip(memory.remember({ text: "Fine.", scope: "user:" })))?.message, /say org, agent:NAME or user:ID/)
      })))
  })
}

describe("taking a text out", () => {
  it("finds it in text, in JSON, and in JSON within JSON, however it is escaped", () => {
    const secret = "Ann's \"pin\" is\n4711 é"
    const take = takeOut([secret])
    assert.strictEqual(take(`Well: ${secret}!`), "Well: [FORGOTTEN]!")
    for (const depth of [1, 2, 3]) {
      let [text, left] = [`so ${secret}.`, "so [FORGOTTEN]."]
      for (let i = 0; i < depth; i++) [text, left] = [JSON.stringify({ n: 1.50, text }), JSON.stringify({ n: 1.5, text: left })]
      assert.strictEqual(take(text), left)
    }
    // JSON within prose is no JSON, and its escapes are there all the same.
    for (const depth of [1, 2, 3]) {
      let text = secret
      for (let i = 0; i < depth; i++) text = JSON.stringify({ text })
      const left = take(`The tool failed with ${text}, says its maker.`)
      assert.include(left, "[FORGOTTEN]", `${depth}`)
      assert.notInclude(left, "4711", `${depth}`)
    }
    assert.strictEqual(take("{ \"a\": \"Ann's \\u0022pin\\u0022 is\\u000A4711 \\u00e9\", \"b\": 1.50 }"), "{ \"a\": \"[FORGOTTEN]\", \"b\": 1.50 }")
    assert.strictEqual(take(`{"cut": "${JSON.stringify(secret).slice(1, -1)}`), "{\"cut\": \"[FORGOTTEN]")
    assert.strictEqual(takeOut(["4711"])("[4711, 47110, \"4711\"]"), "[\"[FORGOTTEN]\", 47110, \"[FORGOTTEN]\"]")
  })

  it("leaves everything else of an event as it is, and a signature only where it still holds", () => {
    const event = {
      _tag: "TurnCompleted", v: 1, turn: 1, attemptId: "run.3",
      parts: [
        { type: "reasoning", text: "The heron flies.", opaque: { anthropic: { signature: "abc" } } },
        { type: "text", text: "Done.", opaque: { google: { thoughtSignature: "def" } } },
        { type: "tool-call", id: "call_1", name: "remember", arguments: "{\"text\": \"The heron flies.\"}" }
      ],
      finish: "tool-calls", note: null,
      bill: { model: "scripted:heron", usage: { uncached: 1, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, output: 1, reasoning: 0 }, cost: "0", source: "priced", latencyMs: 1, firstTokenMs: null, requestId: null }
    }
    const taken = fromEvent(JSON.stringify(event), takeOut(["heron"]))
    const [, text] = event.parts
    assert.deepStrictEqual(taken?.calls, ["call_1"])
    assert.strictEqual(taken?.payload, JSON.stringify({
      ...event,
      parts: [
        { type: "reasoning", text: "The [FORGOTTEN] flies." },
        text,
        { type: "tool-call", id: "call_1", name: "remember", arguments: "{\"text\": \"The [FORGOTTEN] flies.\"}" }
      ]
    }))
    assert.isUndefined(fromEvent(JSON.stringify(event), takeOut(["wren"])))
  })

  it("looks for the longest part that every JSON writes alike", () => {
    assert.strictEqual(fragmentOf("Ann's \"code word\" is \"47\""), "code word")
    assert.strictEqual(fragmentOf("仓库的钥匙"), "")
    assert.strictEqual(fragmentOf("a/b"), "")
  })
})
