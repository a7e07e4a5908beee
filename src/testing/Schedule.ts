import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Budget } from "../Budget.ts"
import { Conductor, type Provided } from "../Conductor.ts"
import { Inbox } from "../Inbox.ts"
import * as Money from "../Money.ts"
import { isOver, type RunId, type RunState } from "../Run.ts"
import { BetweenStore, RunLog, Store } from "../RunLog.ts"
import { BetweenTools } from "../Runs.ts"
import { check, tags } from "./Check.ts"
import { type Death, type Execution, makeMortal, type Mortal, places } from "./Mortal.ts"
import { realSleep, type Time } from "./Time.ts"

/** How a schedule ended, for those who state what must hold. */
export interface Ending {
  /** The deaths, as `only` takes them; `undisturbed` for none. */
  readonly schedule: string
  /** Every run of the schedule: over, or parked. */
  readonly runs: ReadonlyArray<RunState>
  /** Every execution of a handler, in all processes of the schedule, in their order. */
  readonly executions: ReadonlyArray<Execution>
  /** How the program ended, where it was not cut off by a death. */
  readonly result: Exit.Exit<unknown, unknown> | undefined
}

/** What must hold does not, after these deaths. */
export class CrashFailed extends Schema.TaggedError<CrashFailed>()("CrashFailed", {
  schedule: Schema.String,
  /** What was happening at each death. */
  during: Schema.Array(Schema.String),
  problem: Schema.String,
  /** The tags of the events of each run. */
  logs: Schema.Array(Schema.String),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message() {
    const when = this.during.length === 0 ? "Without any death" : `With a death ${this.schedule} (${this.during.join("; ")})`
    const logs = this.logs.length === 0 ? "" : `\n${this.logs.join("\n")}`
    return `${when}: ${this.problem}\nPlay it alone with only: "${this.schedule}".${logs}`
  }
}

const undisturbed = "undisturbed"

/** The deaths of a schedule as text. */
export const nameOf = (deaths: ReadonlyArray<Death>): string =>
  deaths.length === 0 ? undisturbed : deaths.map(({ number, place }) => `${place} ${number}`).join(", then ")

/** The deaths that a text names; throws where it names none. */
export const deathsOf = (schedule: string): ReadonlyArray<Death> =>
  schedule === undisturbed ? [] : schedule.split(", then ").map((text) => {
    const number = Number(/ ([1-9]\d*)$/.exec(text)?.[1])
    const place = places.find((place) => text === `${place} ${number}`)
    if (place === undefined) throw new Error(`"${schedule}" is no schedule: write it as a failure names it, such as "before append 7".`)
    return { place, number }
  })

/** What the user's effects and handlers may need; all of it is provided around the matrix, or by the runtime. */
type Anything = Effect.Effect<unknown, unknown, never>

/** What is played in a schedule. */
export interface Play {
  /** The runtime over what outlives its processes. */
  readonly runtime: Layer.Layer<Provided, unknown>
  readonly time: Time
  readonly program: Anything
  readonly resume: (runs: ReadonlyArray<RunState>) => Anything
  readonly check: (ending: Ending) => Anything
}

/** What came of a schedule. */
export interface Played {
  /** The deaths that took place; fewer than planned where a place was never reached. */
  readonly deaths: number
  readonly runs: number
  /** How often each place was reached, in each process. */
  readonly counts: ReadonlyArray<Mortal["counts"]>
}

/** Seconds, by the real clock, after which a schedule counts as stuck. */
const patience = 60

/** Milliseconds, by the schedule's clock, after which a run that is neither over nor parked counts as stuck. */
const longest = 3_600_000

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}

/** Something that must hold and does not. */
class Broken extends Schema.TaggedError<Broken>()("Broken", { message: Schema.String }) {}

const runsOf = (processes: ReadonlyArray<Mortal>): ReadonlyArray<RunId> => [...new Set(processes.flatMap((one) => [...one.runs]))]

/** Waits until every run is over, or parked and without commands. */
const settle = Effect.fnUntraced(function*(processes: ReadonlyArray<Mortal>, time: Time) {
  const store = yield* Store
  const inbox = yield* Inbox
  const log = yield* RunLog
  const since = time.now()
  for (let pause = 5;; pause = Math.min(1_000, pause * 2)) {
    const addressed = new Set(yield* inbox.addressed)
    const states: Array<RunState> = []
    for (const run of runsOf(processes)) {
      // An append that never became durable has left no run.
      if (Option.isSome(yield* store.find(run))) states.push(yield* log.state(run))
    }
    const open = states.find((state) =>
      !isOver(state.status) && (state.status === "running" || state.parked === "shutdown" || addressed.has(state.run)))
    if (open === undefined) return states
    if (time.now() - since > longest) return yield* new Broken({ message: `run ${open.run} neither ended nor parked within an hour` })
    yield* Effect.sleep(pause)
  }
})

/** Checks what must hold of every run, and that nothing stays reserved in the budgets of their organisations. */
const examine = Effect.fnUntraced(function*(runs: ReadonlyArray<RunState>) {
  for (const { run } of runs) yield* check(run)
  const budget = yield* Budget
  for (const org of new Set(runs.map((state) => state.org))) {
    const held = (yield* budget.list(org)).find((balance) => balance.reserved !== 0n)
    if (held !== undefined) return yield* new Broken({ message: `${Money.format(held.reserved)} USD stay reserved in ${held.scope}` })
  }
})

const logsOf = (processes: ReadonlyArray<Mortal>) =>
  Effect.forEach(runsOf(processes), (run) =>
    tags(run).pipe(Effect.map((all) => `${run}: ${all.join(" ")}`), Effect.orElseSucceed(() => `${run}: it left nothing`)))

/** Plays a schedule: one process after the other, each to its death, and the last one to the end. */
export const play = Effect.fnUntraced(function*(
  { check, program, resume, runtime, time }: Play,
  deaths: ReadonlyArray<Death>
): Effect.fn.Return<Played, CrashFailed> {
  const schedule = nameOf(deaths)
  const processes: Array<Mortal> = []
  const during: Array<string> = []
  let logs: ReadonlyArray<string> = []
  let result: Exit.Exit<unknown, unknown> | undefined
  let runs = 0

  const failed = (problem: string, cause?: Cause.Cause<unknown>) =>
    new CrashFailed({ schedule, during, problem, logs, ...(cause === undefined ? {} : { cause: Cause.squash(cause) }) })

  /** What a process does, from its start to the end of the schedule. */
  const life = Effect.fnUntraced(function*(mortal: Mortal, scope: Scope.Scope) {
    const built = yield* Layer.buildWithMemoMap(runtime, Layer.makeMemoMapUnsafe(), scope).pipe(
      Effect.provideService(BetweenStore, mortal.store),
      Effect.provideService(BetweenTools, mortal.tools)
    )
    const context = Context.add(built, Conductor, mortal.conductor(Context.get(built, Conductor)))
    yield* Effect.gen(function*() {
      if (processes.length === 1) {
        result = yield* Effect.exit(program)
        // A program may fail because of a death, which the author judges; without one it is not as it was meant.
        if (deaths.length === 0 && Exit.isFailure(result)) return yield* Effect.failCause(result.cause)
      } else {
        yield* resume(yield* settle(processes, time))
      }
      const states = yield* settle(processes, time)
      runs = states.length
      yield* examine(states)
      yield* check({ schedule, runs: states, executions: processes.flatMap((one) => one.executions), result })
    }).pipe(
      Effect.onError(() => Effect.map(logsOf(processes), (all) => {
        logs = all
      })),
      Effect.provideContext(context)
    )
  })

  /** Lets a process live. False where it died. */
  const live = Effect.fnUntraced(function*(death: Death | undefined) {
    const mortal = makeMortal(processes.length + 1, death, time)
    processes.push(mortal)
    const scope = yield* Scope.make()
    const fiber = yield* Effect.forkChild(time.within(life(mortal, scope)))
    const ended = yield* Effect.raceFirst(
      Effect.map(Fiber.await(fiber), Option.some),
      Effect.map(Deferred.await(mortal.dead), (what) => {
        during.push(what)
        return Option.none<Exit.Exit<void, unknown>>()
      })
    )
    fiber.interruptUnsafe()
    yield* mortal.bury
    yield* Fiber.await(fiber)
    yield* time.within(Scope.close(scope, Exit.void))
    if (Option.isSome(ended) && Exit.isFailure(ended.value)) return yield* failed(messageOf(ended.value.cause), ended.value.cause)
    return Option.isSome(ended)
  })

  const driver = yield* Effect.forkChild(time.drive)
  const lives = Effect.gen(function*() {
    for (const death of deaths) if (yield* live(death)) return
    yield* live(undefined)
  })
  yield* Effect.raceFirst(lives, Effect.andThen(realSleep(`${patience} seconds`), Effect.suspend(() =>
    failed(`it is stuck: it did not come to an end within ${patience} seconds`))))
  yield* Fiber.interrupt(driver)
  return { deaths: during.length, runs, counts: processes.map((one) => one.counts) }
})
