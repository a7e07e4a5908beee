/** The invented shop whose runs are in test/logs: its agents, as they were when those logs were written. */
import { Deferred, Effect, Schedule, Schema } from "effect"
import { Agent, Plugin, Tool } from "../../src/index.ts"

export class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { item: Schema.String }) {
  override get message() { return `There is no ${this.item} left.` }
}

const item = Schema.Struct({ item: Schema.String.annotate({ description: "What it is about" }) })
const Price = Schema.Struct({ euros: Schema.Finite })
const Order = Schema.Struct({ order: Schema.String })

const price = Tool.make("price", { description: "The price of an item.", parameters: item, success: Price, failure: SoldOut, effect: "pure" })
const reserve = Tool.make("reserve", {
  description: "Sets an item aside.",
  parameters: item,
  success: Schema.Struct({ reservation: Schema.String }),
  failure: SoldOut,
  effect: "idempotent",
  timeout: "40 millis"
})
const order = Tool.make("order", {
  description: "Orders an item.",
  parameters: item,
  success: Order,
  failure: SoldOut,
  failureMode: "error",
  effect: "unsafe",
  timeout: "5 seconds"
})

/** Done when a handler has begun that will not end. */
export const began = { latch: Deferred.makeUnsafe<void>() }

const shop = Plugin.make("shop", {
  tools: [price, reserve, order],
  handlers: {
    price: ({ item }) => {
      if (item === "nothing") return Effect.fail(new SoldOut({ item }))
      if (item === "void") return Effect.die(new Error("the shelf fell down"))
      // A handler in JavaScript may return anything; this one breaks its promise.
      return Effect.succeed(item === "lie" ? { euros: "many" } as never : { euros: item.length })
    },
    reserve: ({ item }) => item === "slow" ? Effect.never : Effect.map(Tool.Call, (call) => ({ reservation: `R-${call.key.length}` })),
    order: ({ item }) => {
      if (item === "nothing") return Effect.fail(new SoldOut({ item }))
      return item === "hang" ? Effect.andThen(Deferred.succeed(began.latch, undefined), Effect.never) : Effect.succeed({ order: `O-${item}` })
    }
  }
})

/** The agent of version 0.1.0. */
export const clerk = Agent.make("clerk", {
  instructions: "You are the clerk of an invented shop. Answer in one sentence.",
  model: "scripted:clerk",
  plugins: [shop],
  limits: { cost: "0.50 USD", turns: 6, attempts: 3 }
})

/** The agent of version 0.1.0 with schemas for input and answer. */
export const sums = Agent.make("sums", {
  instructions: "Add up.",
  model: "scripted:sums",
  input: Schema.Struct({ a: Schema.Int, b: Schema.Int }),
  prompt: ({ a, b }) => `What is ${a} + ${b}?`,
  output: Schema.Struct({ sum: Schema.Int })
})

const refund = Tool.make("refund", {
  description: "Gives money back.",
  parameters: Schema.Struct({ euros: Schema.Int }),
  success: Price,
  effect: "idempotent",
  approval: { when: ({ euros }) => Effect.succeed(euros > 10), policy: "refunds over 10", expires: "1 hour" }
})
const ship = Tool.make("ship", { description: "Ships an item.", parameters: item, success: Order, failure: SoldOut, effect: "reconcilable", retry: Schedule.recurs(2) })
const wait = Tool.make("wait", { description: "Waits for an item.", parameters: item, success: Order, failureMode: "error", effect: "unsafe", timeout: "30 millis" })

/** How often an item was shipped in vain. */
export const vain = { times: 0 }

const desk = Plugin.make("desk", {
  tools: [price, refund, ship, order, wait],
  handlers: {
    price: ({ item }) => Effect.succeed({ euros: item.length }),
    refund: ({ euros }) => Effect.succeed({ euros }),
    ship: ({ item }) => Effect.suspend(() => item === "doubt" || vain.times++ % 2 === 0 ? Effect.fail(new SoldOut({ item })) : Effect.succeed({ order: `S-${item}` })),
    order: ({ item }) => item === "hang" ? Effect.andThen(Deferred.succeed(began.latch, undefined), Effect.never) : Effect.succeed({ order: `O-${item}` }),
    wait: () => Effect.never
  },
  reconcile: { ship: ({ item }) => Effect.succeed(item === "doubt" ? Tool.unknown : Tool.notDone) }
})

/** The agent of version 0.2.0, as it was in the runs whose logs are called so, with another sentence and policy. */
export const deskWith = (instructions: string, upgrade?: Agent.Policy) =>
  Agent.make("desk", {
    instructions,
    model: "scripted:desk",
    plugins: [desk],
    limits: { cost: "0.50 USD", turns: 6, attempts: 3 },
    ...(upgrade === undefined ? {} : { upgrade })
  })

/** The agent of version 0.2.0. */
export const deskAgent = deskWith("You serve at the desk of an invented shop. Answer in one sentence.")
