import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, Conductor } from "../src/index.ts"
import * as testing from "../src/testing.ts"

const adder = Agent.make("adder", {
  instructions: "Add.",
  model: "scripted:test",
  output: Schema.Struct({ sum: Schema.Int, note: Schema.String })
})

const answered = (text: string) =>
  Effect.map(Conductor.run(adder, "1 and 2"), (result) => result.output).pipe(
    Effect.provide(testing.layer({ agents: [adder], model: testing.script([text]) }))
  )

describe("An answer of a schema", () => {
  for (const [how, text] of [
    ["as it is", `{"sum":3,"note":"a \`\`\` b"}`],
    ["in a fence", "```json\n{\"sum\":3,\"note\":\"a ``` b\"}\n```"],
    ["in a fence without a name, with space around it", "\n ``` \n{\n  \"sum\": 3,\n  \"note\": \"a ``` b\"\n}\n```\n"]
  ] as const) {
    it.effect(`is read ${how}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* answered(text), { sum: 3, note: "a ``` b" })
      }))
  }

  it.effect("is refused where it is something else", () =>
    Effect.gen(function*() {
      for (const text of ["three", "```json\n{\"sum\":\"3\"}\n```", "Here it is: ```json\n{\"sum\":3,\"note\":\"\"}\n```"]) {
        assert.strictEqual((yield* Effect.flip(answered(text)))._tag, "InvalidOutput")
      }
    }))
})
