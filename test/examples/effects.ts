import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Plugin, Tool } from "../../src/index.ts"

const Charged = Schema.Struct({ charge: Schema.String })

/** The other side: it keeps every charge under the key that it was made with. */
export class Payments extends Context.Service<Payments, {
  readonly charge: (key: string, customer: string, cents: number) => Effect.Effect<typeof Charged.Type>
  readonly find: (key: string) => Effect.Effect<Option.Option<typeof Charged.Type>>
}>()("example/Payments") {}

const Charge = Tool.make("charge", {
  description: "Charges the card of a customer.",
  parameters: Schema.Struct({ customer: Schema.String, cents: Schema.Int }),
  success: Charged,
  effect: "reconcilable",
  retry: Schedule.recurs(2)
})

const Remember = Tool.make("remember", {
  description: "Keeps a note.",
  parameters: Schema.Struct({ note: Schema.String }),
  success: Schema.Void,
  effect: "transactional"
})

const billing = Plugin.make("billing", {
  tools: [Charge, Remember],
  handlers: Effect.gen(function*() {
    const payments = yield* Payments
    return {
      charge: Effect.fnUntraced(function*({ cents, customer }) {
        const { key } = yield* Tool.Call
        return yield* payments.charge(key, customer, cents)
      }),
      remember: Effect.fnUntraced(function*({ note }) {
        const sql = yield* SqlClient.SqlClient // of the transaction that writes down the result
        yield* Effect.orDie(sql`INSERT INTO notes (note) VALUES (${note})`)
      })
    }
  }),
  reconcile: Effect.gen(function*() {
    const payments = yield* Payments
    return {
      charge: Effect.fnUntraced(function*() {
        const { key } = yield* Tool.Call
        return Option.match(yield* payments.find(key), { onNone: () => Tool.notDone, onSome: Tool.done })
      })
    }
  })
})

const instructions = "Charge customers, and keep a note of it."

export const accountant = Agent.make("accountant", {
  instructions,
  model: "anthropic:claude-sonnet-5-5",
  plugins: [billing],
  upgrade: ({ from }) =>
    from.tools.some((tool) => tool.name === "remember")
      ? Agent.adopt("Your instructions have changed; what you have done so far stands.")
      : Agent.refuse("it began without notes")
})
