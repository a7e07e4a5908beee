import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Agent, Plugin, type Run, Tool } from "../../src/index.ts"
import { Export, Replay } from "../../src/testing.ts"
import { clerk, deskAgent, deskWith, sums } from "../support/shop.ts"

const dir = path.join(import.meta.dirname, "../logs")
const load = (file: string) => Export.parse(fs.readFileSync(path.join(dir, file), "utf8"))

const seat = Tool.make("seat", { description: "Books a seat.", parameters: Schema.Struct({ row: Schema.Int }), success: Schema.Struct({ seat: Schema.String }), effect: "transactional" })
const booking = Plugin.make("seats", { tools: [seat], handlers: { seat: () => Effect.die(new Error("nobody calls it")) } })
const seats = Agent.make("seats", { instructions: "Book seats.", model: "scripted:seats", plugins: [booking] })
const agents = [clerk, sums, deskAgent, seats]

/** The stored runs that real agents made; those without a definition were made by hand. */
const files = fs.readdirSync(dir).filter((file) => !/"definitions": \{\}/.test(fs.readFileSync(path.join(dir, file), "utf8")))

/** Runs that ended in a way of which the runtime has another name since. */
const renamed = ["0.1.0-time-model.json", "0.1.0-time-tools.json"]

const text = (document: Export.Export, events: ReadonlyArray<Run.Logged>) =>
  Export.print({ ...document, events: events.map(({ at, epoch, event, seq }) => ({ seq, epoch, at, event })) })

const changed = (file: string, agent: Agent.Any, handlers: "recorded" | "run" = "recorded") =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Replay.run(yield* load(file), { agents: [agent], handlers }))
    assert.isTrue(error instanceof Replay.ReplayDiffers)
    return error as Replay.ReplayDiffers
  })

const Item = Schema.Struct({ item: Schema.String.annotate({ description: "What it is about" }) })

/** The clerk with another price tool. */
const clerkWith = (price: Tool.Any, handler: (parameters: { readonly item: string }) => Effect.Effect<{ readonly euros: number }>) => {
  const plugin = Plugin.make("shop", { tools: [price], handlers: { price: handler } as never })
  const rest = clerk.plugins[0].tools.slice(1)
  return {
    ...clerk,
    plugins: [plugin, Plugin.make("rest", { tools: rest, handlers: Object.fromEntries(rest.map((tool) => [tool.name, () => Effect.never])) as never })]
  } as Agent.Any
}

describe("Replay", () => {
  for (const file of files.filter((file) => !renamed.includes(file))) {
    it.effect(`plays ${file} again, byte for byte`, () =>
      Effect.gen(function*() {
        const document = yield* load(file)
        const isMigrated = document.events.some(({ event }) => event._tag === "DefinitionMigrated")
        const now = isMigrated ? [deskWith("You serve at the desk. Be brief.")] : agents
        const { events, state } = yield* Replay.run(document, { agents: now })
        assert.strictEqual(text(document, events), Export.print(document))
        assert.strictEqual(state.seq, document.events.length)
      }))
  }

  it.effect("plays a run that is under way as far as it has come", () =>
    Effect.gen(function*() {
      for (const file of ["0.1.0-tools.json", "0.1.0-retried.json", "0.2.0-approved.json", "0.2.0-queued.json"]) {
        const document = yield* load(file)
        for (let length = 2; length < document.events.length; length++) {
          const part = { ...document, events: document.events.slice(0, length) }
          const { events } = yield* Replay.run(part, { agents })
          assert.strictEqual(text(part, events), Export.print(part))
        }
      }
    }))

  it.effect("shows the first request that is another one, line by line", () =>
    Effect.gen(function*() {
      const brief = yield* changed("0.1.0-tools.json", { ...clerk, instructions: "You are the clerk of an invented shop. Answer in two sentences." })
      assert.deepStrictEqual([brief.seq, brief.what], [4, "the request to the model is another one"])
      assert.strictEqual(brief.difference, [
        "  output tokens: 8192",
        "  instructions:",
        "-   You are the clerk of an invented shop. Answer in one sentence.",
        "+   You are the clerk of an invented shop. Answer in two sentences.",
        "  tool price:",
        "    The price of an item."
      ].join("\n"))
      assert.match(brief.message, /^Run [0-9a-f-]+ differs from its log at event 4: the request to the model is another one \(- then, \+ now\)\n/)

      const price = Tool.make("price", {
        description: "The price of an item.",
        parameters: Schema.Struct({ ...Item.fields, currency: Schema.String }),
        success: Schema.Struct({ euros: Schema.Finite }),
        effect: "pure"
      })
      const schema = yield* changed("0.1.0-tools.json", clerkWith(price, () => Effect.succeed({ euros: 1 })))
      assert.include(schema.difference, `+       "currency": {`)

      const prompt = yield* changed("0.1.0-typed.json", { ...sums, prompt: ({ a, b }: { readonly a: number; readonly b: number }) => `Add ${a} and ${b}.` })
      assert.deepStrictEqual(prompt.seq, 1)
      assert.include(prompt.difference, `-   "prompt": "What is 2 + 3?",\n+   "prompt": "Add 2 and 3.",`)
    }))

  it.effect("shows the first event that is another one", () =>
    Effect.gen(function*() {
      const time = yield* changed("0.1.0-time-tools.json", clerk)
      assert.include(time.difference, `-     "_tag": "LimitExceeded",`)
      const price = Tool.make("price", { description: "The price of an item.", parameters: Item, success: Schema.Struct({ euros: Schema.Finite }), effect: "idempotent" })
      const effect = yield* changed("0.1.0-turns.json", clerkWith(price, () => Effect.never))
      assert.include(effect.difference, `-   "effect": "pure",\n+   "effect": "idempotent",`)
    }))

  it.live("runs pure handlers and compares their results, where it is told to", () =>
    Effect.gen(function*() {
      const document = yield* load("0.1.0-turns.json")
      const same = yield* Replay.run(document, { agents: [clerk], handlers: "run" })
      assert.strictEqual(text(document, same.events), Export.print(document))
      const price = Tool.make("price", { description: "The price of an item.", parameters: Item, success: Schema.Struct({ euros: Schema.Finite }), effect: "pure" })
      const dearer = yield* changed("0.1.0-turns.json", clerkWith(price, ({ item }) => Effect.succeed({ euros: item.length + 1 })), "run")
      assert.include(dearer.difference, `-   "result": "{\\"euros\\":4}",\n+   "result": "{\\"euros\\":5}",`)
    }))

  it.effect("says which agent it misses, and needs nothing of its handlers", () =>
    Effect.gen(function*() {
      const document = yield* load("0.1.0-text.json")
      const error = yield* Effect.flip(Replay.run(document, { agents: [sums] }))
      assert.strictEqual(error._tag, "AgentNotRegistered")
      class Nowhere extends Context.Service<Nowhere, string>()("test/Nowhere") {}
      const needy = Plugin.make("shop", { tools: clerk.plugins[0].tools, handlers: Effect.die(Nowhere) as Effect.Effect<never, never, Nowhere> })
      yield* Replay.run(document, { agents: [{ ...clerk, plugins: [needy] }] })
    }))
})
