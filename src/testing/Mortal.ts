import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Agent from "../Agent.ts"
import type { Conductor } from "../Conductor.ts"
import { type RunId, StorageFailed } from "../Run.ts"
import type { Append, Reads, Store, Transaction } from "../RunLog.ts"
import type { Registry } from "../Runs.ts"
import type { Time } from "./Time.ts"

/**
 * Where a process can die: before an append is durable, or after it is and before anybody has heard of it; before a
 * handler begins, or after it ended and before its result is recorded, and the same for the check of a `reconcilable` tool;
 * before a command is accepted, or after it is.
 */
export const places = [
  "before append", "after append", "before handler", "after handler", "before check", "after check", "before command", "after command"
] as const
export type Place = (typeof places)[number]

/** One death: at which place, the how manieth time that the process comes there. */
export interface Death {
  readonly place: Place
  readonly number: number
}

/** An execution of a handler, whether it ended or not. */
export interface Execution {
  readonly run: RunId
  readonly tool: string
  /** The id that the model gave the call. */
  readonly call: string
  readonly key: string
  /** The process that it was in, counted from 1. */
  readonly process: number
  readonly ended: boolean
}

/** A process that dies at one place, or lives. */
export interface Mortal {
  readonly store: (store: Store["Service"]) => Store["Service"]
  readonly tools: (agents: Registry["Service"]) => Registry["Service"]
  readonly conductor: (conductor: Conductor["Service"]) => Conductor["Service"]
  /** Done, with what was just happening, when it dies; from then on nothing of it is written or heard. */
  readonly dead: Deferred.Deferred<string>
  /** Lets those go who wait for the dead process. */
  readonly bury: Effect.Effect<void>
  /** How often each place was reached. */
  readonly counts: Record<Place, number>
  readonly executions: Array<Execution>
  /** The runs that it wrote to. */
  readonly runs: Set<RunId>
}

const told = ({ steps }: Append): string =>
  steps.map(({ logged: { event } }) => "name" in event ? `${event._tag} ${event.name}` : event._tag).join(", ")

/** A process, the how manieth of its schedule, with its death, if it has one. */
export const makeMortal = (number: number, death: Death | undefined, time: Pick<Time, "outside">): Mortal => {
  const dead = Deferred.makeUnsafe<string>()
  const buried = Latch.makeUnsafe(false)
  let alive = true
  const counts = Object.fromEntries(places.map((place) => [place, 0])) as Record<Place, number>
  const executions: Array<Execution> = []
  const runs = new Set<RunId>()

  const silence = Effect.andThen(buried.await, Effect.fail(new StorageFailed({ operation: "any", problem: "the process is dead" })))

  /** Comes to a place. False where it is dead from then on. */
  const survives = (place: Place, what: () => string): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (!alive) return Effect.succeed(false)
      counts[place]++
      if (death?.place !== place || death.number !== counts[place]) return Effect.succeed(true)
      alive = false
      return Effect.as(Deferred.succeed(dead, what()), false)
    })

  /** The same, for those who are interrupted with the process. */
  const reach = (place: Place, what: () => string): Effect.Effect<void> =>
    Effect.flatMap(survives(place, what), (alive) => alive ? Effect.void : Effect.never)

  /** The same for those who cannot be interrupted, as a transaction cannot. */
  const within = (place: Place, what: () => string): Effect.Effect<void, StorageFailed> =>
    Effect.flatMap(survives(place, what), (alive) => alive ? Effect.void : silence)

  /** Asks the store, which a dead process neither asks nor hears any more. */
  const living = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | StorageFailed> =>
    Effect.suspend((): Effect.Effect<A, E | StorageFailed> =>
      alive ? Effect.flatMap(effect, (answer): Effect.Effect<A, StorageFailed> => alive ? Effect.succeed(answer) : silence) : silence
    )

  const store = (real: Store["Service"]): Store["Service"] => {
    const flushOne = Effect.fnUntraced(function*(append: Append) {
      runs.add(append.run)
      if (!(yield* survives("before append", () => told(append)))) return yield* silence
      const outcomes = yield* real.flush([append]).pipe(
        Effect.catch((failure) => {
          const error = failure._tag === "BadBatch" ? failure.error : failure
          return Effect.succeed([{ _tag: "Refused", error } as const])
        })
      )
      if (outcomes[0]?._tag === "Appended") yield* survives("after append", () => told(append))
      return outcomes
    })

    const transaction = ({ perform, sql }: Transaction): Transaction => ({
      sql,
      perform: (effect, appendOf, learn) =>
        Effect.suspend(() => {
          let written: Append | undefined
          return perform(Effect.tap(effect, within("before append", () => "a transaction")), appendOf, (append) => {
            written = append
            runs.add(append.run)
            learn(append)
          }).pipe(
            Effect.tap(Effect.suspend(() => within("after append", () => written === undefined ? "a transaction" : told(written))))
          )
        })
    })

    const reads = (real: Reads): Reads => ({
      read: (run, after, size) => living(real.read(run, after, size)),
      find: (run) => living(real.find(run)),
      list: (filter) => living(real.list(filter))
    })

    // What is written at once could not be lost on its way.
    const { write: _, ...rest } = real
    return {
      ...rest,
      transaction: real.transaction === undefined ? undefined : transaction(real.transaction),
      // One at a time, so that every append is a place of its own.
      // There is a death between any two.
      joins: false,
      flush: (batch) => living(Effect.map(Effect.forEach(batch, (append) => flushOne(append)), (outcomes) => outcomes.flat())),
      ...reads(real),
      as: (org) => reads(real.as(org)),
      define: (hash, agent, definition) => living(real.define(hash, agent, definition)),
      definition: (hash) => living(real.definition(hash)),
      renew: living(real.renew),
      claim: (run, options) => living(real.claim(run, options)),
      orphans: (agents, except, limit) => living(real.orphans(agents, except, limit)),
      unclaimed: living(real.unclaimed),
      latest: (org, session) => living(real.latest(org, session))
    }
  }

  const tool = (real: Agent.RegisteredTool): Agent.RegisteredTool => {
    const { reconcile } = real
    return {
      ...real,
      handle: (parameters, call, services, sql) =>
        Effect.gen(function*() {
          yield* reach("before handler", () => real.name)
          const index = executions.length
          const execution = { run: call.run, tool: real.name, call: call.id, key: call.key, process: number, ended: false }
          executions.push(execution)
          const exit = yield* Effect.exit(time.outside(real.handle(parameters, call, services, sql)))
          executions[index] = { ...execution, ended: true }
          yield* reach("after handler", () => real.name)
          return yield* exit
        }),
      reconcile: reconcile === undefined ? undefined : (parameters, call) =>
        Effect.gen(function*() {
          yield* reach("before check", () => real.name)
          const exit = yield* Effect.exit(time.outside(reconcile(parameters, call)))
          yield* reach("after check", () => real.name)
          return yield* exit
        })
    }
  }

  const command = <Args extends ReadonlyArray<unknown>, A, E>(
    name: string,
    send: (...args: Args) => Effect.Effect<A, E>
  ) =>
  (...args: Args): Effect.Effect<A, E> =>
    Effect.gen(function*() {
      yield* reach("before command", () => name)
      const answer = yield* send(...args)
      yield* reach("after command", () => name)
      return answer
    })

  return {
    dead,
    bury: buried.open,
    counts,
    executions,
    runs,
    store,
    tools: (agents) =>
      new Map([...agents].map(([name, agent]) => [name, {
        ...agent,
        tools: new Map([...agent.tools].map(([name, one]) => [name, tool(one)]))
      }])),
    conductor: (real) => ({
      ...real,
      send: command("send", real.send),
      cancel: command("cancel", real.cancel),
      decide: command("decide", real.decide),
      resolve: command("resolve", real.resolve),
      retry: command("retry", real.retry)
    })
  }
}
