import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as path from "node:path"
import { Agent, Conductor, Plugin, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"

const stored = fs.readFileSync(path.join(import.meta.dirname, "invitation.json"), "utf8")

const Invite = Tool.make("invite", {
  description: "Invites somebody by mail.",
  parameters: Schema.Struct({ name: Schema.String }),
  success: Schema.Struct({ sent: Schema.Boolean }),
  effect: "idempotent"
})

/** The post office, outside of the process: it sends a letter once for each key. */
const letters = new Map<string, string>()

const post = Plugin.make("post", {
  tools: [Invite],
  handlers: {
    invite: ({ name }) => Effect.map(Tool.Call, ({ key }) => (letters.set(key, name), { sent: true }))
  }
})

const host = Agent.make("host", { instructions: "Invite whom you are told to.", model: "anthropic:claude-sonnet-5-5", plugins: [post] })

const invitation = testing.script([
  { toolCalls: [{ name: "invite", params: { name: "Ada" } }, { name: "invite", params: { name: "Grace" } }] },
  "Both are invited."
])

describe("host", () => {
  it.effect("invites everybody once, whenever its process dies", () =>
    Effect.gen(function*() {
      const report = yield* testing.CrashMatrix.run({
        agents: [host],
        model: invitation,
        program: Conductor.run(host, "Invite Ada and Grace."),
        before: Effect.sync(() => letters.clear()),
        check: ({ runs }) =>
          Effect.sync(() => {
            for (const run of runs) assert.strictEqual(run.status, "completed")
            assert.strictEqual(letters.size, 2 * runs.length)
          }),
        deaths: 2,
        pairs: 100
      })
      assert.isAbove(report.schedules, 100)
    }))

  it.effect("does what it did in production", () =>
    Effect.gen(function*() {
      const run = yield* testing.Export.parse(stored) // conductor export RUN --out invitation.json
      yield* testing.Replay.run(run, { agents: [host] })
    }))
})
