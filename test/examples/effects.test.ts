import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { accountant, Payments } from "./effects.ts"

const charges = new Map<string, { readonly charge: string }>()

/** A payment service whose first answer gets lost after the charge was made. */
const payments = Layer.succeed(Payments, Payments.of({
  charge: (key) =>
    Effect.suspend(() => {
      const isFirst = charges.size === 0
      charges.set(key, { charge: `ch_${charges.size + 1}` })
      return isFirst ? Effect.die(new Error("The connection was lost.")) : Effect.succeed({ charge: `ch_${charges.size}` })
    }),
  find: (key) => Effect.sync(() => Option.fromUndefinedOr(charges.get(key)))
}))

const model = testing.script([
  { toolCalls: [{ name: "charge", params: { customer: "c-1", cents: 500 } }, { name: "remember", params: { note: "c-1 paid" } }] },
  (request) => {
    const last = request.messages.at(-1)
    return last?.role === "tool" ? last.results.map(({ result }) => result).join(" ") : "Nothing."
  }
])

layer(testing.layerEmbedded({ agents: [accountant], model }).pipe(Layer.provide(payments)), { timeout: "60 seconds" })("effect classes", (it) => {
  it.effect("ask the other side what became of a call, and commit SQL with its result", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE notes (note text NOT NULL)`
      const { output, run } = yield* Conductor.run(accountant, "Charge c-1.")
      assert.strictEqual(output, `{"charge":"ch_1"} null`)
      assert.strictEqual(charges.size, 1)
      assert.deepStrictEqual(yield* sql`SELECT note FROM notes`, [{ note: "c-1 paid" }])
      yield* testing.check(run)
    }))
})
