import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { CurrentOrg, CurrentPrincipal, Memory, Plugin, Tool } from "../index.ts"

/** How an agent remembers. */
export interface Options {
  /**
   * Whose what it remembers is: its own, whoever it works for (`agent`, the default), that of the user for whom it works (`user`), or
   * everybody's in the organisation (`org`).
   */
  readonly scope?: "agent" | "user" | "org"
  /** Whether a person has to approve before something is forgotten; true by default. */
  readonly approveForgetting?: boolean
}

const Remembered = Schema.Struct({ id: Memory.MemoryId, text: Schema.String })

type Call = Tool.Call["Service"]

const scopesOf = ({ agent, principal }: Call): Readonly<Record<"agent" | "user" | "org", Memory.Scope>> => ({
  agent: `agent:${agent}`,
  user: `user:${principal}`,
  org: "org"
})

/** Does something with the memory of the organisation of a call, as the one on whose behalf it is. */
const within = <A, E, R>({ org, principal }: Call, effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(Effect.provideService(effect, CurrentOrg, org), CurrentPrincipal, principal)

/**
 * The tools by which an agent remembers from one run to the next: `remember`, `recall` and `forget`. It recalls what is its
 * own, its user's and its organisation's, and nothing else.
 */
export const memoryPlugin = ({ approveForgetting = true, scope = "agent" }: Options = {}) => {
  const remember = Tool.make("remember", {
    description: "Remember something for later conversations: a fact, a wish, a decision, in a sentence that can be understood by itself. " +
      "Not for what is only of use now, and never for passwords or keys.",
    parameters: Schema.Struct({
      text: Schema.String.annotate({ description: "What to remember, in one to three sentences." }),
      days: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3_650 })).annotate({
        description: "For how many days it is of use; leave it out for good."
      }))
    }),
    success: Schema.Struct({ id: Memory.MemoryId }),
    failure: Memory.MemoryInvalid,
    // The memory takes a second call of the same key for the first.
    effect: "idempotent",
    category: "memory"
  })

  const recall = Tool.make("recall", {
    description: "Look up what was remembered in earlier conversations. Use the words that the memory may have: names, things, places.",
    parameters: Schema.Struct({
      query: Schema.String.annotate({ description: "A few words; not all of them need to be in a memory." }),
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 50 })).annotate({
        description: "How many memories at most; 10 by default."
      }))
    }),
    success: Schema.Array(Remembered),
    effect: "pure",
    category: "memory"
  })

  const forget = Tool.make("forget", {
    description: "Forget a memory for good, and everything that was kept of it. Only where the user asks for it.",
    parameters: Schema.Struct({ id: Memory.MemoryId.annotate({ description: "The id of the memory, as recall gives it." }) }),
    success: Schema.Struct({
      /** False where there is no such memory, or none that this agent may forget. */
      forgotten: Schema.Boolean
    }),
    // What is gone stays gone.
    effect: "idempotent",
    category: "memory",
    target: ({ id }) => `memory:${id}`,
    timeout: "2 minutes",
    ...(approveForgetting ? { approval: true as const } : {})
  })

  return Plugin.make("memory", {
    tools: [remember, recall, forget],
    handlers: Effect.map(Memory.Memory, (memory) => ({
      remember: Effect.fnUntraced(function*({ days, text }) {
        const call = yield* Tool.Call
        const fact: Memory.NewFact = {
          text,
          scope: scopesOf(call)[scope],
          source: { run: call.run, call: call.id },
          dedupe: call.key,
          ...(days === undefined ? {} : { expires: `${days} days` as const })
        }
        const { id } = yield* within(call, memory.remember(fact)).pipe(Effect.catchTag("StorageFailed", Effect.die))
        return { id }
      }),
      recall: Effect.fnUntraced(function*({ limit = 10, query }) {
        const call = yield* Tool.Call
        const found = yield* Effect.orDie(within(call, memory.recall({ text: query, limit, scopes: Object.values(scopesOf(call)) })))
        return found.map(({ id, text }) => ({ id, text }))
      }),
      forget: Effect.fnUntraced(function*({ id }) {
        const call = yield* Tool.Call
        const { memories } = yield* Effect.orDie(within(call, memory.forget({ id, scopes: [scopesOf(call)[scope]] })))
        return { forgotten: memories > 0 }
      })
    }))
  })
}
