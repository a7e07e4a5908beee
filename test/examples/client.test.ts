import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as Money from "../../src/Money.ts"
import * as testing from "../../src/testing.ts"
import { served } from "../support/api.ts"
import { program } from "./client.ts"
import { assistant } from "./first-agent.ts"

const runtime = testing.layer({ agents: [assistant], model: testing.script([{ text: "Yes, it will.", delay: "1 second" }], { pieces: 4 }) })

layer(served(runtime), { excludeTestServices: true })("The client of the documentation", (it) => {
  it.effect("drives a run from its start to its answer", () =>
    Effect.gen(function*() {
      const { cost, live, output } = yield* program
      assert.strictEqual(output, "Yes, it will.")
      assert.strictEqual(live, "Yes, it will.")
      assert.isTrue(cost > Money.zero)
    }))
})
