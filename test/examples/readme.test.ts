import { assert, describe, it } from "@effect/vitest"
import { Effect, ManagedRuntime } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { scratchPath } from "../support/databases.ts"
import { assistant, program } from "./first-agent.ts"

const root = path.resolve(import.meta.dirname, "../..")
const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
const examples = fs.readdirSync(import.meta.dirname).map((file) =>
  fs.readFileSync(path.join(import.meta.dirname, file), "utf8")
    .replaceAll("../../src/index.ts", "conductor-ai").replaceAll("../../src/testing.ts", "conductor-ai/testing")
)
const flat = (text: string) => text.replaceAll(/\s+/g, " ").replaceAll("export const", "const").trim()

describe("README.md", () => {
  it("shows programs that are in test/examples, and so run", () => {
    const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? "")
    assert.isAbove(blocks.length, 2)
    for (const block of blocks) {
      assert.isTrue(examples.some((example) => flat(example).includes(flat(block))), `not in test/examples:\n${block}`)
    }
  })

  it("names only commands and scripts that there are", () => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as { scripts: Record<string, string> }
    for (const [, name] of readme.matchAll(/npm run (?:-s )?([a-z]+)/g)) assert.property(scripts, name ?? "")
  })

  it.effect("runs its first agent", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* program, "Yes.")
    }).pipe(Effect.provide(testing.layer({ agents: [assistant], model: testing.script(["Yes."]) }))))

  it.live("serves promise callers from one runtime", () =>
    Effect.gen(function*() {
      const layer = testing.layerEmbedded({ agents: [assistant], model: testing.script(["Yes."]), dir: scratchPath("promises") })
      const runtime = ManagedRuntime.make(layer)
      const answers = yield* Effect.promise(() => Promise.all([1, 2].map(() => runtime.runPromise(Conductor.run(assistant, "Rain?")))))
      assert.deepStrictEqual(answers.map((answer) => answer.output), ["Yes.", "Yes."])
      yield* Effect.promise(() => runtime.dispose())
    }))
})
