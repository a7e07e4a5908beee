/**
 * A process with an agent whose model and tools do what the parent's server tells them, for tests in which the parent
 * knows every step: started with a line of JSON on standard input, and further lines start runs.
 */
import { Duration, Effect, Exit, Layer, ManagedRuntime, Redacted, Schema, Stream } from "effect"
import * as readline from "node:readline"
import { Agent, Conductor, Plugin, Run, Tool } from "../../src/index.ts"
import { LeaseRenewal, LeaseTime, RunLog } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { say, standStill } from "./phases.ts"
import { tell } from "./subject.ts"
import type { Place } from "./worker.ts"

/** How the process is set up. */
export interface Setup {
  /** Names the process to the parent's server. */
  readonly name: string
  readonly at: Place
  /** The parent's server: `/call` answers when a handler may end, `/model` with what the model says. */
  readonly server: string
  /** Milliseconds of the lease; the default's where it is left out. */
  readonly lease?: number
}

/** What the process is told to do. */
export type Order =
  /** Start a run in a session of that name; it is reported, and so is each of its events. */
  | { readonly start: string; readonly input: string }
  /** Report the events and the end of the run of that session, which somebody else has started. */
  | { readonly join: string }
  /** Write to that run as the owner that this process was when it saw its last event. */
  | { readonly write: string }
  /** Stand still as soon as that run has so many events of that tag. */
  | { readonly still: string; readonly tag: string; readonly count: number }

/** What the model says: tool calls, or an answer; it may never end it. */
export interface Said {
  readonly calls?: ReadonlyArray<{ readonly id: string; readonly name: string }>
  readonly text?: string
  readonly hang?: boolean
}

const options = { description: "Does as it is told.", parameters: Schema.Struct({}), success: Schema.Json, timeout: "5 minutes" } as const
const tools = [
  Tool.make("pure", { ...options, effect: "pure" }),
  Tool.make("idempotent", { ...options, effect: "idempotent" }),
  Tool.make("unsafe", { ...options, effect: "unsafe" }),
  Tool.make("guarded", { ...options, effect: "unsafe", approval: true })
] as const

/** The agent, whose every step the server knows. */
export const agentOf = (name: string, server: string) => {
  const handler = (tool: string) => () =>
    Effect.gen(function*() {
      const { id, key, run } = yield* Tool.Call
      return (yield* tell(server, "/call", { name, tool, run, id, key })) as Schema.Json // the server answers in JSON
    })
  const plugin = Plugin.make("server", {
    tools,
    handlers: { pure: handler("pure"), idempotent: handler("idempotent"), unsafe: handler("unsafe"), guarded: handler("guarded") }
  })
  return Agent.make("led", {
    instructions: "Do as you are told.",
    model: "scripted:led",
    plugins: [plugin],
    limits: { cost: "1 USD", time: "1 hour", attempts: 20 }
  })
}

/** The model, as the server says. */
export const modelOf = (name: string, server: string) =>
  testing.script((request) =>
    Effect.gen(function*() {
      const users = request.messages.flatMap((message) => message.role === "user" ? [message.text] : [])
      const turn = 1 + request.messages.filter((message) => message.role === "assistant").length
      const said = (yield* tell(server, "/model", { name, users, turn })) as Said // the server's own
      const toolCalls = (said.calls ?? []).map(({ id, name }) => ({ id, name, params: {} }))
      return { text: said.text ?? "So be it.", toolCalls, ...(said.hang === true ? { hang: true } : {}) }
    }))

const layerOf = ({ at, name, server }: Setup) => {
  const options = { agents: [agentOf(name, server)], models: testing.models(modelOf(name, server)) } as const
  return "url" in at
    ? Conductor.layerPostgres({ ...options, url: Redacted.make(at.url), connections: 4 })
    : Conductor.layerEmbedded({ ...options, dir: at.dir })
}

const leases = ({ lease }: Setup) =>
  lease === undefined ? Layer.empty : Layer.mergeAll(
    Layer.succeed(LeaseTime, Duration.millis(lease)),
    Layer.succeed(LeaseRenewal, Duration.millis(lease / 4))
  )

let still: Extract<Order, { readonly still: string }> | undefined

/** The last event that was seen of each run, by session. */
const seen = new Map<string, Run.Logged>()

const follow = Effect.fnUntraced(function*(session: string, run: Run.RunId) {
  const counts = new Map<string, number>()
  yield* Conductor.watch(run).pipe(Stream.runForEach((item) =>
    Effect.sync(() => {
      if (!("event" in item)) return
      const { _tag } = item.event
      seen.set(session, item)
      counts.set(_tag, (counts.get(_tag) ?? 0) + 1)
      say(`event ${session} ${_tag} ${"call" in item.event ? item.event.call : ""}`)
      if (still?.still === session && still.tag === _tag && counts.get(_tag) === still.count) standStill()
    })
  ))
})

const end = Effect.fnUntraced(function*(session: string, run: Run.RunId) {
  yield* Effect.forkDetach(follow(session, run))
  const result = yield* Effect.exit(Conductor.result(run))
  say(`ended ${session} ${Exit.isSuccess(result) ? "completed" : JSON.stringify(result.cause)}`)
})

const begin = Effect.fnUntraced(function*(session: string, input: string) {
  const run = yield* Effect.exit(Conductor.start("led", input, { session }))
  if (Exit.isFailure(run)) return say(`refused ${session} ${JSON.stringify(run.cause)}`)
  say(`started ${session} ${run.value}`)
  yield* end(session, run.value)
})

const join = Effect.fnUntraced(function*(session: string) {
  const rows = yield* (yield* Conductor).list({ session: Run.SessionId.make(session), limit: 1 })
  for (const row of rows) yield* end(session, row.run)
})

/** An append that says nothing of where the run is now, as a process makes it that does not know. */
const write = Effect.fnUntraced(function*(session: string) {
  const last = seen.get(session)
  if (last === undefined) return say(`wrote ${session} nothing`)
  const log = yield* RunLog
  const before = yield* log.state(last.run)
  const event: Run.RunEvent = { _tag: "RunParked", v: 1, reason: "shutdown" }
  const logged = { run: last.run, epoch: last.epoch, at: last.at, seq: last.seq + 1, event }
  const step = { before, logged, after: Run.fold(before, logged) }
  const exit = yield* Effect.exit(log.append({ run: last.run, epoch: last.epoch, steps: [step], consumes: [] }))
  say(`wrote ${session} ${Exit.isSuccess(exit) ? "it" : JSON.stringify(exit.cause)}`)
})

/** Does as the parent says until it says no more. */
export const main = (): void => {
  let runtime: ManagedRuntime.ManagedRuntime<Conductor | RunLog, unknown> | undefined
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const order: Setup | Order = JSON.parse(line)
    if ("server" in order) {
      runtime = ManagedRuntime.make(layerOf(order).pipe(Layer.provide(leases(order))))
      runtime.context().then(() => say("ready"), (cause: unknown) => {
        console.error(cause)
        process.exit(1)
      })
    } else if ("still" in order) {
      still = order
    } else {
      // A run that is under way when the process is told to end is not waited for.
      void runtime?.runPromiseExit("join" in order ? join(order.join) : "write" in order ? write(order.write) : begin(order.start, order.input))
    }
  }).on("close", () => process.exit(0))
  process.once("SIGTERM", () => {
    void runtime?.dispose().then(() => {
      say("disposed")
      process.exit(0)
    })
  })
}

if (import.meta.main) main()
