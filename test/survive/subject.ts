/** What is performed while it is killed: runs of ten steps, each with one to eight tool calls of every effect class at the same time. */
import { Effect, Schema } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Agent, Plugin, type Run, Tool } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { between, chance } from "../support/chance.ts"
import { handlerPhase, place, say } from "./phases.ts"
import { callName, type Letter } from "./world.ts"

/** Turns that ask for tools; one more answers. */
export const steps = 10
/** Tool calls of one turn at most. */
export const mostCalls = 8

/** The organisation, and what it, a session and a run may spend. */
export const budgets = { org: "1000", session: "2", run: "1 USD" } as const

/** The effect classes and how often each is called. */
const classes: ReadonlyArray<readonly [Run.EffectClass, number]> = [
  ["pure", 0.2], ["idempotent", 0.25], ["transactional", 0.25], ["reconcilable", 0.2], ["unsafe", 0.1]
]

/** A call that the model asks for. */
export interface Planned {
  readonly n: number
  readonly turn: number
  readonly index: number
  readonly tool: Run.EffectClass
}

/** The calls of a turn of run `n`. */
export const planned = (seed: string, n: number, turn: number): ReadonlyArray<Planned> =>
  turn > steps ? [] : Array.from({ length: between(1, mostCalls, seed, "calls", n, turn) }, (_, index) => {
    let left = chance(seed, "class", n, turn, index)
    const [tool] = classes.find(([, share]) => (left -= share) < 0) ?? ["pure"]
    return { n, turn, index, tool }
  })

/** The session of run `n`, by which it is known before and after it has an id. */
export const sessionOf = (n: number): string => `survive-${n}`
/** The number of the run of a session. */
export const numberOf = (session: string): number => Number(session.slice("survive-".length))

/** Milliseconds after which somebody cancels run `n`; nobody does where it is none. */
export const cancelledAfter = (seed: string, n: number): number | undefined =>
  chance(seed, "cancel", n) < 0.1 ? between(20, 900, seed, "cancel after", n) : undefined

/** Messages that somebody sends to run `n`, and how many milliseconds after the one before. */
export const messagesFor = (seed: string, n: number): ReadonlyArray<{ readonly text: string; readonly after: number; readonly mode: "steer" | "queue" }> =>
  Array.from({ length: chance(seed, "talk", n) < 0.3 ? between(1, 4, seed, "messages", n) : 0 }, (_, index) => ({
    text: `message ${index + 1}`,
    after: between(10, 300, seed, "message after", n, index),
    mode: chance(seed, "mode", n, index) < 0.7 ? "steer" : "queue"
  }))

/** What a tool is called with; a person who edits a call adds the note. */
const parameters = Schema.Struct({ n: Schema.Int, turn: Schema.Int, index: Schema.Int, note: Schema.optionalKey(Schema.String) })
type Parameters = typeof parameters.Type

/** Whether a call needs a person's approval. */
export const needsApproval = ({ index, turn }: { readonly turn: number; readonly index: number }): boolean => index === 0 && turn % 4 === 0

const options = { description: "Has an effect.", parameters, success: Schema.Int, timeout: "2 minutes" } as const
const tools = [
  Tool.make("pure", { ...options, effect: "pure" }),
  Tool.make("idempotent", { ...options, effect: "idempotent" }),
  Tool.make("transactional", { ...options, effect: "transactional", approval: { when: (params) => Effect.succeed(needsApproval(params)) } }),
  Tool.make("reconcilable", { ...options, effect: "reconcilable" }),
  Tool.make("unsafe", { ...options, effect: "unsafe" })
] as const

/** Tells the other side of an effect and waits for its answer. */
export const tell = (url: string, path: string, letter: object): Effect.Effect<unknown> =>
  Effect.promise((signal) =>
    fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(letter), signal }).then((response) => response.json())
  )

const pluginOf = (seed: string, world: string) => {
  /** An effect between two pauses, with a place to be killed at before it and one after it. */
  const around = <E, R>(tool: Run.EffectClass, params: Parameters, effect: (letter: Letter) => Effect.Effect<unknown, E, R>) =>
    Effect.gen(function*() {
      const { key } = yield* Tool.Call
      const pause = (when: string) => Effect.sleep(between(0, tool === "transactional" ? 4 : 15, seed, when, callName(params)))
      const here = Effect.sync(() => place(handlerPhase(tool)))
      yield* pause("before")
      yield* here
      yield* effect({ call: callName(params), key })
      yield* here
      yield* pause("after")
      return params.index
    })
  return Plugin.make("effects", {
    tools,
    handlers: {
      pure: (params) => around("pure", params, () => Effect.void),
      idempotent: (params) => around("idempotent", params, (letter) => tell(world, "/idempotent", letter)),
      transactional: (params) =>
        around("transactional", params, Effect.fnUntraced(function*({ call, key }) {
          const sql = yield* SqlClient.SqlClient
          yield* Effect.orDie(sql`INSERT INTO survive_effects (call, key, note) VALUES (${call}, ${key}, ${params.note ?? null})`)
        })),
      reconcilable: (params) => around("reconcilable", params, (letter) => tell(world, "/reconcilable", letter)),
      unsafe: (params) => around("unsafe", params, (letter) => tell(world, "/unsafe", letter))
    },
    reconcile: {
      reconcilable: Effect.fnUntraced(function*(params) {
        const { key } = yield* Tool.Call
        say("+ in a reconciliation")
        place("in a reconciliation")
        const { state } = (yield* tell(world, "/reconcile", { call: callName(params), key })) as { readonly state: string } // the world's own
        say("- in a reconciliation")
        return state === "done" ? Tool.done(params.index) : state === "not-done" ? Tool.notDone : Tool.unknown
      })
    }
  })
}

/** The agent, whose tools have their effects on that other side. */
export const agentOf = (seed: string, world: string) =>
  Agent.make("survivor", {
    instructions: "Go on.",
    model: "scripted:survivor",
    plugins: [pluginOf(seed, world)],
    // However often a run is killed, it is neither too late nor too often.
    limits: { cost: budgets.run, turns: 5 * steps, attempts: 100, time: "2 hours", toolConcurrency: mostCalls }
  })

/** The model: reports each request, and asks for the calls of the turn. */
export const modelOf = (seed: string) =>
  testing.script((request) =>
    Effect.sync(() => {
      const [first] = request.messages
      const n = first?.role === "user" ? Number(first.text) : 0
      const turn = 1 + request.messages.filter((message) => message.role === "assistant").length
      say(`? ${n} ${turn}`)
      place("in a model call")
      return {
        delay: between(0, 20, seed, "delay", n, turn),
        text: turn > steps ? "Done." : `Step ${turn}.`,
        toolCalls: planned(seed, n, turn).map(({ index, n, tool, turn }) => ({ id: `c${turn}-${index}`, name: tool, params: { n, turn, index } }))
      }
    }), { pieces: 4 })
