import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, type Layer, Stream } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { Conductor, Run } from "../../src/index.ts"
import { demo } from "../../src/plugins/demo.ts"
import { CrashMatrix, Export, Replay } from "../../src/testing.ts"
import { embedded } from "../support/databases.ts"
import { runtimes } from "../support/conductors.ts"

const agent = demo.agentOf("scripted:test")

// The first runtime is the one in memory, which has no leads.
for (const { layer: runtime, name } of runtimes([agent], demo.script({ pace: 0 })).slice(1)) {
  // The runtimes on a database bring its client, though the type that they share with the one in memory does not say so.
  layer(runtime as Layer.Layer<Layer.Success<typeof runtime> | SqlClient, unknown>, { excludeTestServices: true })(`demo, run by Conductor (${name})`, (it) => {
    it.effect("answers its question in three turns, two calls at once first", () =>
      Effect.gen(function*() {
        yield* demo.load(Run.OrgId.make("local"))
        const result = yield* Conductor.run(agent, demo.question)
        assert.match(result.output, /^TX has the most Generac dealers: 19 of \d+, which are in \d+ states\. In TX the two closest together are /)
        assert.strictEqual(result.turns, 3)
        const events = yield* Stream.runCollect(Conductor.watch(result.run))
        const steps = events.flatMap((item) => "event" in item && /^(Tool|TurnC|RunC)/.test(item.event._tag) ? [item.event._tag] : [])
        assert.strictEqual(steps.filter((tag) => tag === "ToolCompleted").length, 3)
        assert.strictEqual(steps.filter((tag) => tag === "TurnCompleted").length, 3)
        assert.strictEqual(steps.at(-1), "RunCompleted")

        // Its tools are pure, so that a replay may run them again, and finds the same.
        const stored = yield* Export.of(result.run)
        assert.strictEqual((yield* Replay.run(stored, { agents: [agent] })).state.status, "completed")
        assert.strictEqual((yield* Replay.run(stored, { agents: [agent], handlers: "run" })).state.status, "completed")
      }))
  })
}

describe("demo", () => {
  it.live("answers its question whenever its process dies", () =>
    Effect.gen(function*() {
      const answers = new Set<string>()
      const report = yield* CrashMatrix.run({
        agents: [agent],
        model: demo.script({ pace: 0 }),
        program: Conductor.run(agent, demo.question),
        before: demo.load(Run.OrgId.make("local")),
        check: ({ runs }) => Effect.sync(() => runs.forEach((run) => answers.add(Run.answerOf(run)))),
        database: embedded
      })
      assert.isAbove(report.byPlace["after handler"], 2)
      assert.strictEqual(answers.size, 1)
    }), 60_000)
})
