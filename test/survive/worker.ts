/**
 * A process that performs runs until it is killed: it goes on with those that there are and keeps a number of them under
 * way. A line of JSON on standard input orders what to do, and further lines where to stand still; it ends with the input.
 */
import { Cause, Duration, Effect, Exit, Layer, Option, Redacted, Result, Schedule, Tracer } from "effect"
import { SpanPropagationEnabled } from "effect/sql/Statement"
import * as readline from "node:readline"
import { Budget, Conductor, Money, Run } from "../../src/index.ts"
import { LeaseRenewal, LeaseTime } from "../../src/RunLog.ts"
import * as testing from "../../src/testing.ts"
import { aimAt, type Aim, say, tracer } from "./phases.ts"
import { makePerson, type Person } from "./person.ts"
import { agentOf, budgets, cancelledAfter, messagesFor, modelOf, numberOf, sessionOf } from "./subject.ts"

/** Where runs are kept. */
export type Place = { readonly url: string } | { readonly dir: string }

/** What a worker is to do. */
export interface Orders {
  readonly seed: string
  readonly world: string
  readonly at: Place
  /** Runs under way at the same time. */
  readonly active: number
  /** The numbers of the runs that it may begin: from `first`, every `every`th, before `until`. */
  readonly begin: { readonly first: number; readonly every: number; readonly until: number }
  /** Milliseconds of the lease. */
  readonly lease: number
}

const layerOf = ({ at, seed, world }: Orders) => {
  const options = { agents: [agentOf(seed, world)], models: testing.models(modelOf(seed)) } as const
  return "url" in at
    ? Conductor.layerPostgres({ ...options, url: Redacted.make(at.url), connections: 4 })
    : Conductor.layerEmbedded({ ...options, dir: at.dir })
}

const org = Run.OrgId.make("local")

/** What a connection that was cut leaves open: it is done again. */
const again = { while: (error: { readonly _tag: string }) => error._tag === "StorageFailed", schedule: Schedule.spaced("50 millis") }

/** Begins run `n`, within its budget; done when it is durable, or nobody can say whether it is. */
const begin = Effect.fnUntraced(function*(n: number) {
  const budget = yield* Budget
  yield* budget.set(org, `session:${sessionOf(n)}`, Money.usd(budgets.session)).pipe(Effect.retry(again))
  say("+ in a start")
  const run = yield* Effect.result(Conductor.start("survivor", String(n), { session: sessionOf(n) }))
  say("- in a start")
  if (Result.isFailure(run)) return run.failure._tag === "StorageFailed" ? Option.none() : yield* run.failure
  say(`! ${n} ${run.success}`)
  return Option.some(run.success)
})

/** Sends a run its messages, each until it is known to be accepted, and cancels it if somebody is to. */
const disturb = Effect.fnUntraced(function*(seed: string, n: number, run: Run.RunId) {
  const talk = Effect.forEach(messagesFor(seed, n), ({ after, mode, text }) =>
    Conductor.send(run, text, { mode, dedupe: text }).pipe(
      Effect.retry(again),
      Effect.delay(after),
      Effect.andThen(Effect.sync(() => say(`m ${n} ${text}`)))
    ), { discard: true })
  const after = cancelledAfter(seed, n)
  const cancel = after === undefined ? Effect.void : Conductor.cancel(run, "enough").pipe(
    Effect.retry(again),
    Effect.delay(after),
    Effect.andThen(Effect.sync(() => say(`c ${n}`)))
  )
  // The run may be over by then.
  yield* Effect.all([talk, cancel].map((one) => Effect.catchTag(one, "RunConflict", () => Effect.void)), { concurrency: 2, discard: true })
})

/** Waits until a run is over, or parked for good. */
const finish = Effect.fnUntraced(function*(person: Person, n: number, run: Run.RunId) {
  for (;;) {
    const end = yield* Effect.result(Effect.retry(Conductor.result(run), again))
    const waits = Result.isFailure(end) && end.failure._tag === "RunWaiting" && !(yield* Effect.retry(person.isForsaken(run), again))
    if (!waits) return say(`= ${n} ${Result.isSuccess(end) ? "completed" : end.failure._tag}`)
    yield* Effect.sleep("100 millis")
  }
})

const perform = (orders: Orders) =>
  Effect.gen(function*() {
    const conductor = yield* Conductor
    yield* (yield* Budget).set(org, `org:${org}`, Money.usd(budgets.org)).pipe(Effect.retry(again))
    say("ready")
    const person = makePerson(orders.seed, orders.world)
    yield* Effect.forkScoped(person.works)
    const known = new Map((yield* conductor.list({ org, limit: 10_000 }).pipe(Effect.retry(again))).map((row) => [numberOf(row.session), row]))
    const unfinished = [...known].filter(([, row]) => row.endedAt === null).map(([n, row]) => finish(person, n, row.run))
    const { every, first, until } = orders.begin
    const whole = Effect.fnUntraced(function*(n: number) {
      const run = yield* begin(n)
      if (Option.isNone(run)) return
      yield* Effect.forkScoped(disturb(orders.seed, n, run.value))
      yield* finish(person, n, run.value)
    })
    const fresh = function*() {
      yield* unfinished
      for (let n = first; n < until; n += every) {
        if (!known.has(n)) yield whole(n)
      }
    }
    yield* Effect.forEach(fresh(), (one) => one, { concurrency: orders.active, discard: true })
    say("done")
  }).pipe(
    Effect.scoped,
    Effect.provide(layerOf(orders).pipe(Layer.provide([
      Layer.succeed(LeaseTime, Duration.millis(orders.lease)),
      Layer.succeed(LeaseRenewal, Duration.millis(orders.lease / 4))
    ]))),
    Effect.provideService(Tracer.Tracer, tracer),
    // Spans of statements tell when they have a connection.
    Effect.provideService(SpanPropagationEnabled, true)
  )

let begun = false
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order: Orders | Aim = JSON.parse(line)
  if ("phase" in order) return aimAt(order)
  if (begun) return
  begun = true
  void Effect.runPromiseExit(perform(order)).then((exit) => {
    if (Exit.isFailure(exit)) console.error(Cause.pretty(exit.cause))
    process.exit(Exit.isSuccess(exit) ? 0 : 1)
  })
}).on("close", () => process.exit(0))
