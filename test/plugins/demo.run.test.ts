import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Conductor, Run } from "../../src/index.ts"
import { demo } from "../../src/plugins/demo.ts"
import { runtimes } from "../support/conductors.ts"

const agent = demo.agentOf("scripted:test")

for (const { layer: runtime, name } of runtimes([agent], demo.script({ pace: 0 })).slice(1)) {
  layer(runtime, { excludeTestServices: true })(`demo, run by Conductor (${name})`, (it) => {
    it.effect("x", () =>
      Effect.gen(function*() {
        yield* demo.load(Run.OrgId.make("local"))
        const result = yield* Conductor.run(agent, demo.question)
        assert.match(String(result.output), /^TX has the most Generac dealers: 19 of /)
        assert.strictEqual(result.turns, 3)
      }))
  })
}
