import { assert, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Agent } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, events, type Loose, type Sent, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"
import { weather } from "../support/weather.ts"

const assistant = Agent.make("assistant", { instructions: "Answer in one sentence.", model: "scripted:test", plugins: [weather] })

/** Three turns with a tool call each, then the answer, all in small pieces. */
const provider = testing.script((request) => {
  const turns = request.messages.filter((message) => message.role === "assistant").length
  const pace = "5 millis"
  return turns < 3
    ? { text: `I look at city number ${turns}, and tell of it.`, toolCalls: [{ name: "weather", params: { city: `${turns}` } }], pace }
    : { text: "It rains in all of these cities, as far as I can see.", pace }
}, { pieces: 3 })

const logged = (sent: ReadonlyArray<Sent>) => sent.filter(({ id }) => id !== null)
const textOf = (sent: ReadonlyArray<Sent>, turn: number) =>
  sent.filter(({ data, event }) => event === "Delta" && data.turn === turn).map(({ data }) => data.text).join("")
const answerOf = (sent: ReadonlyArray<Sent>) =>
  sent.findLast(({ event }) => event === "TurnCompleted")?.data.event.parts.map((part: Loose) => part.text).join("")

for (const { layer: runtime, name } of runtimes([assistant], provider)) {
  layer(served(runtime), { excludeTestServices: true, timeout: 60_000 })(`A stream of events (${name})`, (it) => {
    it.effect("loses and repeats nothing, wherever it is cut", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { input: "Where does it rain?" } })
        const all: Array<Sent> = []
        // Cut after each event that has an id; the last one is the end.
        for (let cuts = 0; all.at(-1)?.event !== "RunCompleted"; cuts++) {
          assert.isBelow(cuts, 100)
          const { sent } = yield* events(body.run, { after: all.length, enough: ({ id }) => id !== null })
          all.push(...logged(sent))
        }
        assert.deepStrictEqual(all.map(({ id }) => id), all.map((_, index) => index + 1))
        const whole = yield* events(body.run)
        assert.deepStrictEqual(all, logged(whole.sent))
        assert.strictEqual(answerOf(all), "It rains in all of these cities, as far as I can see.")
        assert.strictEqual((yield* ask(body.links.self)).body.text, answerOf(all))
      }))

    it.effect("tells the answer under way from its beginning, and again from its beginning to who comes back", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { input: "Where does it rain?" } })
        const first = yield* events(body.run, { enough: (_, all) => textOf(all, 1).length > 8 })
        const cursor = logged(first.sent).length
        assert.isTrue("I look at city number 0, and tell of it.".startsWith(textOf(first.sent, 1)))
        const rest = yield* events(body.run, { after: cursor })
        for (const turn of [2, 3]) assert.strictEqual(textOf(rest.sent, turn), `I look at city number ${turn - 1}, and tell of it.`)
        // What came before the answer as a whole began where it began.
        const before = rest.sent.slice(0, rest.sent.findIndex(({ event }) => event === "TurnCompleted"))
        assert.include(["I look at city number 0, and tell of it.", ""], textOf(before, 1))
      }))

    it.effect("has many readers, who come and go as they like", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { input: "Where does it rain?" } })
        const readers = yield* Effect.forEach(Array.from({ length: 20 }, (_, index) => index), (index) =>
          index % 2 === 0
            ? events(body.run)
            : events(body.run, { enough: (_, all) => all.length > index }), { concurrency: "unbounded" })
        const whole = readers.filter((_, index) => index % 2 === 0).map(({ sent }) => logged(sent))
        for (const one of whole) assert.deepStrictEqual(one, whole[0])
        assert.strictEqual((yield* ask(body.links.self)).body.status, "completed")
      }))

    it.effect("has nothing more to tell of a run that is over and was told", () =>
      Effect.gen(function*() {
        const { body } = yield* ask("/v1/runs", { body: { input: "Where does it rain?" } })
        const { sent } = yield* events(body.run)
        const again = yield* events(body.run, { after: logged(sent).length })
        assert.deepStrictEqual(again, { status: 204, sent: [] })
        const wrong = yield* ask(`${body.links.events}?after=never`)
        assert.deepStrictEqual([wrong.status, wrong.body.problems[0].path], [400, ["query", "after"]])
      }))
  })
}

const long = Array.from({ length: 200 }, (_, line) => `${line} ${"x".repeat(20_000)}\n`).join("")
const writer = Agent.make("writer", { instructions: "Write.", model: "scripted:test", plugins: [] })

layer(served(testing.layer({ agents: [writer], model: testing.script([{ text: long, pace: "1 millis" }], { pieces: 20_000 }) })), { excludeTestServices: true })(
  "A reader that does not read",
  (it) => {
    it.effect("gets every event once, and the answer whole, when it does", () =>
      Effect.gen(function*() {
        const { key, url } = yield* Address
        const { body } = yield* ask("/v1/runs", { body: { input: "Write." } })
        const headers = { authorization: `Bearer ${Redacted.value(key)}` }
        const response = yield* Effect.promise(() => fetch(`${url}${body.links.events}`, { headers }))
        // Another one does.
        yield* events(body.run)
        const text = yield* Effect.promise(() => response.text())
        const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
        assert.deepStrictEqual(ids, [1, 2, 3, 4, 5])
        assert.include(text, JSON.stringify(long))
        assert.strictEqual((yield* ask(body.links.self)).body.text, long)
      }), 60_000)
  }
)
