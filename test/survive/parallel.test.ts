import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { freshDirectory, freshPostgres } from "../support/databases.ts"
import { between } from "../support/chance.ts"
import { direct } from "./director.ts"
import { started } from "./processes.ts"
import type { Place } from "./worker.ts"

/** The eight calls of the kth run. */
const callsOf = (k: number) => Array.from({ length: 8 }, (_, index) => `${k}-${index}`)

/** The calls that complete before the kill, in some order, where `k` do. */
const completing = (k: number): ReadonlyArray<string> =>
  callsOf(k).toSorted((a, b) => between(0, 1_000_000, "order", a) - between(0, 1_000_000, "order", b)).slice(0, k)

/** Nine runs of eight parallel calls: of the kth, k are complete when the process is killed. */
const killedAfter = (at: Place) =>
  Effect.gen(function*() {
    // The last call of the last run is let go when everything else is where it should be.
    let letGo: () => void = () => {}
    const last = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const director = yield* direct({
      model: ({ turn, users: [k] }) =>
        turn > 1 ? { text: "Done." } : { calls: callsOf(Number(k)).map((id, index) => ({ id, name: index % 2 === 0 ? "pure" : "idempotent" })) },
      call: async ({ id, name }) => {
        if (name === "second") return
        const k = Number.parseInt(id)
        const place = completing(k).indexOf(id)
        if (place === -1) return new Promise(() => {})
        if (k === 8 && place === 7) await last
      }
    })
    const first = yield* started({ name: "first", at, server: director.url, lease: 3_000 })
    for (let k = 0; k <= 8; k++) first.order({ start: `k${k}`, input: String(k) })
    first.order({ still: "k8", tag: "ToolCompleted", count: 8 })
    for (let k = 0; k <= 8; k++) {
      for (const id of callsOf(k)) yield* first.saw(`event k${k} ToolStarted ${id}`)
      for (const id of completing(k).slice(0, 7)) yield* first.saw(`event k${k} ToolCompleted ${id}`)
    }
    yield* director.arrived(72)
    letGo()
    yield* first.saw("@")
    yield* Effect.promise(() => first.kill())
    const before = [...director.executed]
    assert.strictEqual(before.length, 72)

    const second = yield* started({ name: "second", at, server: director.url, lease: 3_000 })
    for (let k = 0; k <= 8; k++) second.order({ join: `k${k}` })
    for (let k = 0; k <= 8; k++) yield* second.saw(`ended k${k} completed`)
    const after = director.executed.slice(72)
    for (let k = 0; k <= 8; k++) {
      const again = after.filter(({ id }) => id.startsWith(`${k}-`))
      assert.strictEqual(again.length, 8 - k, `executions that followed where ${k} were complete`)
      assert.deepStrictEqual(again.map(({ id }) => id).toSorted(), callsOf(k).filter((id) => !completing(k).includes(id)))
      const asked = director.asked.filter(({ users }) => users[0] === String(k)).map(({ turn }) => turn)
      assert.deepStrictEqual(asked, [1, 2], `requests to the model where ${k} were complete`)
    }
    for (const { id, key } of after) assert.strictEqual(before.find((first) => first.id === id)?.key, key, "one key")
  })

describe("eight parallel tools, killed after k are complete, k = 0 to 8", () => {
  it.live("run 8 - k again, and ask the model nothing twice (postgres)", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      yield* killedAfter({ url: Redacted.value(url) })
    }), 240_000)

  it.live("run 8 - k again, and ask the model nothing twice (pglite)", () =>
    Effect.gen(function*() {
      yield* killedAfter({ dir: yield* freshDirectory })
    }), 240_000)
})
