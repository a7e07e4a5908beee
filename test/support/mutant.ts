/** A program whose author forgot, in every statement, to say whose rows are meant. */
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Statement from "effect/sql/Statement"

let count = 0

/** How often something was taken out so far. */
export const cuts = (): number => count

/** Takes the organisation out of every WHERE. */
const forgetful: Statement.Transformer = (statement, sql) =>
  Effect.sync(() => {
    const [text, parameters] = statement.compile()
    const cut = text.replace(/\b(?:\w+\.)?org_id = (\$\d+)(?!\w)/g, (_, parameter: string) => {
      count++
      return `${parameter}::text IS NOT NULL`
    })
    return cut === text ? statement : sql.unsafe(cut, parameters)
  })

/** The same in the database's own functions that read for an organisation. */
const forgetfulFunctions = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const functions = yield* sql<{ readonly text: string }>`
    SELECT pg_get_functiondef(oid) AS text FROM pg_proc WHERE proname IN ('conductor_run_as', 'conductor_latest_as', 'conductor_events_as')`
  for (const { text } of functions) {
    const cut = text.replace(/\w+\.org_id = p_org AND /g, "")
    assert.notStrictEqual(cut, text)
    yield* sql.unsafe(cut)
  }
  assert.strictEqual(functions.length, 3)
})

/** A runtime on a database as that author would have it. */
export const mutant = <A, E>(runtime: Layer.Layer<A, E>): Layer.Layer<A, E> => {
  // A runtime on a database brings its client.
  const whole = Layer.provideMerge(Layer.effectDiscard(forgetfulFunctions), runtime as Layer.Layer<A | SqlClient.SqlClient, E>)
  // The transformer is a reference, which nobody need know of.
  return Layer.provideMerge(whole, Layer.succeed(Statement.CurrentTransformer, forgetful)) as unknown as Layer.Layer<A, E>
}
