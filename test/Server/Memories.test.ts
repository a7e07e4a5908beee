import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Agent } from "../../src/index.ts"
import { ConductorClient } from "../../src/client.ts"
import { memoryPlugin } from "../../src/plugins/memory.ts"
import * as testing from "../../src/testing.ts"
import { ask, events, keyOf, type Loose, served } from "../support/api.ts"
import { runtimes } from "../support/conductors.ts"

const clerk = Agent.make("clerk", { instructions: "Serve.", model: "scripted:test", plugins: [memoryPlugin({ scope: "org" })] })

const provider = testing.script((request) => {
  const last = request.messages.at(-1)
  if (last?.role === "tool") return "Done."
  return { toolCalls: [{ name: "remember", params: { text: last?.role === "user" ? last.text : "" } }] }
})

const texts = (body: Loose) => body.memories.map((memory: Loose) => memory.text)

for (const { layer: runtime, name } of runtimes([clerk], provider)) {
  layer(served(runtime), { excludeTestServices: true, timeout: 60_000 })(`Memories over HTTP (${name})`, (it) => {
    it.effect("are listed, looked for, told and forgotten, with all that was said of them", () =>
      Effect.gen(function*() {
        const { body: started } = yield* ask("/v1/runs", { body: { input: "The vault opens with gold-7731." } })
        yield* events(started.run)
        const told = yield* ask("/v1/memories", { body: { text: "Ann likes herons.", scope: "user:ann", days: 2 } })
        assert.deepStrictEqual([told.status, told.body.scope, told.body.expiresAt - told.body.createdAt], [201, "user:ann", 172_800_000])
        assert.match(told.body.createdBy, /^key:/)
        yield* ask("/v1/memories", { body: { text: "The lift is broken." } })

        const first = yield* ask("/v1/memories?limit=2")
        assert.deepStrictEqual(texts(first.body), ["The lift is broken.", "Ann likes herons."])
        const second = yield* ask(`/v1/memories?limit=2&before=${first.body.next}`)
        assert.deepStrictEqual([texts(second.body), second.body.next], [["The vault opens with gold-7731."], null])
        assert.deepInclude(second.body.memories[0], { scope: "org", sourceRun: started.run })
        assert.deepStrictEqual(texts((yield* ask("/v1/memories?scope=user:ann")).body), ["Ann likes herons."])
        const found = yield* ask("/v1/memories?q=what%20opens%20the%20vault%3F")
        assert.deepStrictEqual(found.body.memories.map((memory: Loose) => [memory.text, memory.score]), [["The vault opens with gold-7731.", 1]])

        const { body: forgotten, status } = yield* ask(`/v1/memories/${second.body.memories[0].id}`, { method: "DELETE" })
        assert.deepStrictEqual([status, forgotten], [200, { memories: 1, waiting: [] }])
        assert.notInclude(JSON.stringify((yield* ask(`/v1/runs/${started.run}`)).body), "gold-7731")
        assert.deepStrictEqual((yield* ask("/v1/memories/forget", { body: { text: "herons" } })).body, { memories: 1, waiting: [] })
        assert.deepStrictEqual((yield* ask("/v1/memories/forget", { body: { scope: "org" } })).body, { memories: 1, waiting: [] })
        assert.deepStrictEqual((yield* ask("/v1/memories")).body, { memories: [], next: null })
        assert.isNull((yield* ask("/v1/audit/verify")).body.broken)
      }))

    it.effect("are for keys that may do so, and refused in words where they cannot be had", () =>
      Effect.gen(function*() {
        const reader = yield* keyOf(["runs:read"])
        const writer = yield* keyOf(["runs:write"])
        const tell = { body: { text: "The key is under the mat." } }
        assert.strictEqual((yield* ask("/v1/memories", { ...tell, key: reader })).status, 403)
        assert.strictEqual((yield* ask("/v1/memories", { ...tell, key: writer })).status, 201)
        assert.strictEqual((yield* ask("/v1/memories", { key: writer })).status, 403)
        const [memory] = (yield* ask("/v1/memories", { key: reader })).body.memories
        for (const key of [reader, writer]) {
          assert.strictEqual((yield* ask(`/v1/memories/${memory.id}`, { method: "DELETE", key })).status, 403)
          assert.strictEqual((yield* ask("/v1/memories/forget", { body: { scope: "org" }, key })).status, 403)
        }
        const missing = yield* ask("/v1/memories/nothing", { method: "DELETE" })
        assert.deepStrictEqual([missing.status, missing.body._tag], [404, "MemoryNotFound"])
        const short = yield* ask("/v1/memories", { body: { text: "no" } })
        assert.deepStrictEqual([short.status, short.body._tag], [422, "MemoryInvalid"])
        for (const body of [{}, { text: "some text", scope: "org" }, { scope: "team:ann" }, { text: "" }]) {
          assert.strictEqual((yield* ask("/v1/memories/forget", { body })).status, 400, JSON.stringify(body))
        }
        assert.strictEqual((yield* ask("/v1/memories?scope=user:")).status, 400)
        // What no database keeps is no reason to fail.
        const strange = yield* ask("/v1/memories", { body: { text: "Strange \u0000 text", scope: "user:\u0000\ud800" } })
        assert.strictEqual(strange.status, 201)
        for (const path of ["/v1/memories?scope=user:%00", "/v1/memories?q=%00", "/v1/memories?before=%00"]) assert.isBelow((yield* ask(path)).status, 500, path)
        assert.isBelow((yield* ask("/v1/memories/%00", { method: "DELETE" })).status, 500)
        assert.strictEqual((yield* ask("/v1/memories/forget", { body: { scope: "user:\u0000" } })).status, 200)
      }))

    it.effect("are in the typed client", () =>
      Effect.gen(function*() {
        const { api } = yield* ConductorClient
        const made = yield* api.memories.remember({ payload: { text: "Clients remember, too." } })
        const { memories } = yield* api.memories.list({ query: { q: "clients" } })
        assert.deepStrictEqual(memories.map(({ id }) => id), [made.id])
        assert.deepStrictEqual(yield* api.memories.forget({ params: { id: made.id } }), { memories: 1, waiting: [] })
        assert.strictEqual((yield* Effect.flip(api.memories.forget({ params: { id: made.id } })))._tag, "MemoryNotFound")
      }))
  })
}
