import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as http from "node:http"
import { inject } from "vitest"
import { Agent } from "../../src/index.ts"
import { Keys } from "../../src/Org.ts"
import { OrgId } from "../../src/Run.ts"
import * as Server from "../../src/Server.ts"
import * as testing from "../../src/testing.ts"
import { Address, ask, served } from "../support/api.ts"
import { makeChance } from "../support/chance.ts"
import { runtimes } from "../support/conductors.ts"
import { weather } from "../support/weather.ts"
import { problemOf, shoot, shotOf } from "./fuzz.ts"

/** How many requests; `npm run fuzz` sends ten thousand. */
const count = Number(process.env["CONDUCTOR_FUZZ_REQUESTS"] ?? 1_000)

const agent = Agent.make("assistant", { instructions: "Answer.", model: "scripted:test", plugins: [weather] })
const limits = Layer.succeed(Server.Limits, { bodyBytes: 2_000_000, bodyMs: 300, depth: 64, headerBytes: 16_384, headersMs: 500, heartbeatMs: 15_000, reads: 6 })
const stores = runtimes([agent], testing.script((request) => `${request.messages.length}`)).filter(({ name }) => name !== "pglite")

for (const { layer: runtime, name } of stores) {
  layer(served(runtime).pipe(Layer.provide(limits)), { excludeTestServices: true, timeout: 60_000 })(`The server (${name})`, (it) => {
    it.effect(`answers ${count} requests that are wrong in some way, each in words`, () =>
      Effect.gen(function*() {
        const { url } = yield* Address
        const document = (yield* ask("/openapi.json")).body
        const { key } = yield* (yield* Keys).create({ org: OrgId.make("local"), name: "fuzzer", scopes: ["admin"], requestsPerMinute: 1_000_000_000 })
        const { body } = yield* ask("/v1/runs", { body: { input: "hello", session: "known" } })
        const memory = yield* ask("/v1/memories", { body: { text: "It is known." } })
        const known = [body.run, "known", `${body.run}.1.1`, memory.body.id]
        const connections = new http.Agent({ keepAlive: true, maxSockets: 32 })
        const chance = makeChance(`fuzz ${inject("seed")}`)
        const shots = Array.from({ length: count }, () => shotOf(chance, document, Redacted.value(key), known))
        const statuses = new Map<number, number>()
        yield* Effect.forEach(shots, (shot) =>
          Effect.map(Effect.promise(() => shoot(new URL(url), shot, connections, chance)), (hit) => {
            statuses.set(hit.status, (statuses.get(hit.status) ?? 0) + 1)
            const problem = problemOf(hit, shot)
            const { body, ...rest } = shot
            assert.isUndefined(problem, `${JSON.stringify(rest).slice(0, 1_000)} ${Buffer.from(body ?? "").toString("utf8").slice(0, 1_000)}\n→ ${hit.status} ${hit.body.slice(0, 500)}`)
          }), { concurrency: 16 })
        connections.destroy()
        for (const status of [200, 202, 400, 401, 404, 405, 413, 415, 422]) assert.isAbove(statuses.get(status) ?? 0, 0, `${status} of ${JSON.stringify([...statuses])}`)
        assert.strictEqual((yield* ask("/health")).status, 200)
      }), 60_000 + count * 50)
  })
}
