/**
 * A process whose runs spend the money of one organisation, with failures and cancels by chance, until it is killed or told to close. A
 * line of JSON on standard input orders what to do. It reports each run that begins, each that ends, that the model of run 0 is
 * asked, and that all are over.
 */
import { Cause, Duration, Effect, Exit, Layer, ManagedRuntime, Redacted, Schedule, Schema } from "effect"
import * as AiError from "effect/ai/AiError"
import * as readline from "node:readline"
import { Agent, Conductor, Model, Plugin, Run, Tool } from "../../src/index.ts"
import { LeaseRenewal, LeaseTime } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { between, chance } from "../support/chance.ts"
import { say } from "../survive/phases.ts"
import type { Place } from "../survive/worker.ts"

/** What a process is to do. */
export interface Orders {
  readonly seed: string
  readonly at: Place
  /** The numbers of the runs that it begins, all at once: from `first`, every `every`th, before `until`. */
  readonly begin: { readonly first: number; readonly every: number; readonly until: number }
  /** Whether it waits for the runs of all. */
  readonly last: boolean
  /** Whether the model of run 0 never answers here, and nobody cancels that run. */
  readonly holds: boolean
}

/** Turns that ask for a tool; one more answers. */
const turns = 3

const org = Run.OrgId.make("local")

const sessionOf = (n: number) => Run.SessionId.make(`spend-${n}`)

const Look = Tool.make("look", { description: "Looks.", parameters: Schema.Struct({}), success: Schema.String, effect: "pure" })

const agent = Agent.make("spender", {
  instructions: "Spend.",
  model: "scripted:spender",
  plugins: [Plugin.make("look", { tools: [Look], handlers: { look: () => Effect.succeed("Well.") } })],
  limits: { cost: "0.05 USD", attempts: 4, outputTokens: 600, time: "10 minutes" }
})

const tooMany = AiError.make({ module: "spender", method: "chat", reason: new AiError.RateLimitError({ retryAfter: Duration.millis(20) }) })

/**
 * The model: slow, dear and not to be relied on. Asked again, it does as chance has it; but the prompt of a run counts as much each time,
 * because what was billed for a prompt bounds what the next one can cost.
 */
const modelOf = ({ holds, seed }: Orders) => {
  let asked = 0
  return testing.script((request) => {
    const [first] = request.messages
    const n = first?.role === "user" ? Number(first.text) : 0
    if (n === 0) say("? 0")
    if (n === 0 && holds) return { text: "Well,", hang: true }
    const turn = 1 + request.messages.filter((message) => message.role === "assistant").length
    const by = [seed, n, turn, asked++] as const
    const luck = chance("luck", ...by)
    return {
      delay: luck > 0.97 ? 1_200 : between(0, 60, "delay", ...by),
      text: "So be it.",
      toolCalls: turn > turns ? [] : [{ name: "look" }],
      usage: { uncached: between(1, 1_000, "in", seed, n), output: Math.min(between(1, 600, "out", ...by), request.maxOutput) },
      ...(luck < 0.08 ? { fail: tooMany } : luck < 0.14 ? { fail: tooMany, failAfter: 2 } : luck < 0.2 ? { cut: true as const } : {})
    }
  })
}

const again = { while: (error: { readonly _tag: string }) => error._tag === "StorageFailed", schedule: Schedule.spaced("50 millis") }

/** Begins a run, which a person may cancel, and waits until it is over. */
const spend = Effect.fnUntraced(function*({ holds, seed }: Orders, n: number) {
  const run = yield* Conductor.start(agent, String(n), { session: sessionOf(n) })
  say(`+ ${n}`)
  const canceller = chance(seed, "cancel", n) < 0.35 && !(holds && n === 0)
    ? Effect.delay(Effect.exit(Conductor.cancel(run, "enough")), between(5, 700, seed, "cancel after", n))
    : Effect.void
  const [end] = yield* Effect.all([Effect.result(Conductor.result(run)), canceller], { concurrency: "unbounded" })
  say(`- ${n} ${end._tag === "Success" ? "completed" : end.failure._tag}`)
})

const unfinished = Effect.map(Effect.flatMap(Conductor, ({ list }) => list({ org, limit: 10_000 })), (rows) => rows.filter(({ endedAt }) => endedAt === null))

/** Waits for the runs of all. */
const finish = Effect.gen(function*() {
  while ((yield* Effect.retry(unfinished, again)).length > 0) yield* Effect.sleep("100 millis")
})

const perform = Effect.fnUntraced(function*(orders: Orders) {
  const { begin, last } = orders
  const rows = yield* Effect.flatMap(Conductor, ({ list }) => list({ org, limit: 10_000 }))
  const known = new Set(rows.map(({ session }) => session))
  const fresh: Array<number> = []
  for (let n = begin.first; n < begin.until; n += begin.every) if (!known.has(sessionOf(n))) fresh.push(n)
  say("ready")
  yield* Effect.forEach(fresh, (n) => spend(orders, n), { concurrency: "unbounded", discard: true })
  if (last) yield* finish
  say("done")
})

const layerOf = (orders: Orders) => {
  const { at } = orders
  const options = { agents: [agent], models: testing.models(modelOf(orders)) } as const
  const lease = 1_000
  return ("url" in at
    ? Conductor.layerPostgres({ ...options, url: Redacted.make(at.url), connections: 4 })
    : Conductor.layerEmbedded({ ...options, dir: at.dir })).pipe(Layer.provide([
      Layer.succeed(LeaseTime, Duration.millis(lease)),
      Layer.succeed(LeaseRenewal, Duration.millis(lease / 4)),
      // A provider as bad as this one would be left alone for half a minute, again and again.
      Layer.succeed(Model.Routing, { breaker: false as const })
    ]))
}

let runtime: ManagedRuntime.ManagedRuntime<Conductor, unknown> | undefined
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order: Orders | { readonly close: true } = JSON.parse(line)
  if ("close" in order) return void runtime?.dispose().then(() => process.exit(0))
  runtime = ManagedRuntime.make(layerOf(order))
  void runtime.runPromiseExit(perform(order)).then((exit) => {
    if (Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause)) console.error(Cause.pretty(exit.cause))
    if (Exit.isFailure(exit)) return
    return runtime?.dispose().then(() => process.exit(0))
  })
}).on("close", () => process.exit(0))
