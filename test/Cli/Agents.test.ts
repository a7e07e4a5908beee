import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { Agent, Conductor, Model } from "../../src/index.ts"
import { agentOfRun, coreTools, toolRows } from "../../src/Cli/Agents.ts"
import { durability, nodeCheck } from "../../src/Cli/Checks.ts"
import { similar } from "../../src/Cli/Choice.ts"
import { conductor } from "../support/cli.ts"
import { scripted } from "../support/conductors.ts"
import { freshPostgres } from "../support/databases.ts"

describe("agents of the program", () => {
  it("are known by the names of their runs, with the tools that they were started with", () => {
    assert.strictEqual(agentOfRun("dealers", "scripted:demo")?.name, "dealers")
    assert.strictEqual(agentOfRun("assistant", "scripted:demo")?.plugins.length, coreTools.length)
    assert.strictEqual(agentOfRun("assistant[]", "scripted:demo")?.plugins.length, 0)
    assert.strictEqual(agentOfRun("assistant[]", "scripted:demo")?.name, "assistant[]")
    assert.isUndefined(agentOfRun("assistant[gone]", "scripted:demo"))
    assert.isUndefined(agentOfRun("weather", "scripted:demo"))
    assert.includeMembers(toolRows.map((row) => row.name), ["sql_query", "dealer_distances"])
  })

  it.live("are not those of other programs, whose runs are cancelled there", () =>
    Effect.gen(function*() {
      const { url } = yield* freshPostgres()
      const env = { DATABASE_URL: Redacted.value(url) }
      const other = Agent.make("other", { instructions: "Wait.", model: "scripted:test", input: Schema.Struct({ city: Schema.String }) })
      const models = scripted(Model.Scripted.make([{ hang: true }]))
      const run = yield* Conductor.start(other, { city: "Lisbon" }).pipe(Effect.provide(Conductor.layerPostgres({ agents: [other], models, url })))
      const retry = yield* conductor(["retry", run], { env })
      assert.deepStrictEqual([retry.code, retry.err], [1, `The agent "other" of run ${run} is not one of this program: retry it where that agent is registered.\n`])
      const cancel = yield* conductor(["cancel", run], { env })
      assert.strictEqual(cancel.err, "")
      assert.match(cancel.out, /^The command is kept: run .* will be cancelled by the process that performs it, as soon as one does\.\n$/)
      assert.match((yield* conductor(["show", run], { env })).out, /city/)
    }))
})

describe("doctor's checks", () => {
  it("know which Node is new enough", () => {
    assert.deepStrictEqual(["20.20.2", "22.18.0", "22.19.0", "24.1.0", "odd"].map((version) => nodeCheck(version).verdict), [
      "wrong", "wrong", "good", "good", "wrong"
    ])
  })

  it("say what survives what", () => {
    assert.deepStrictEqual((["server", "power loss", "process", "none"] as const).map((kind) => durability(kind).verdict), [
      "good", "good", "attention", "attention"
    ])
  })
})

describe("similar", () => {
  it("finds what was probably meant", () => {
    assert.deepStrictEqual(similar("a:modle", ["a:model", "b:something-else"]), ["a:model"])
    assert.deepStrictEqual(similar("", ["a:model"]), [])
  })
})
