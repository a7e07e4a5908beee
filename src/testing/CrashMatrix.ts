import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as References from "effect/References"
import type { SqlClient } from "effect/sql/SqlClient"
import type * as Agent from "../Agent.ts"
import { Conductor, type Provided } from "../Conductor.ts"
import type { Database, DatabaseLayer } from "../Database.ts"
import type * as Model from "../Model.ts"
import type { RunState } from "../Run.ts"
import { Tables } from "../RunLog.ts"
import { models } from "./Layers.ts"
import { type Death, type Place, places } from "./Mortal.ts"
import { CrashFailed, deathsOf, type Ending, nameOf, play, type Play, type Played } from "./Schedule.ts"
import { makeTime, realNow, realTime } from "./Time.ts"

export type { Death, Execution, Place } from "./Mortal.ts"
export { CrashFailed, type Ending } from "./Schedule.ts"

/** What the matrix runs, and what must hold. */
export interface Options<A extends ReadonlyArray<Agent.Any>, D, R1, R2, R3, R4> {
  readonly agents: A
  /** The model behind every name: a script that answers by the request alone, so that an attempt made again is answered alike. */
  readonly model: Model.Provider
  /** What the first process does; its death cuts it off. The runs that it leaves go on in the next process by themselves. */
  readonly program: Effect.Effect<unknown, unknown, R1>
  /** States what must hold when all runs are over or parked. What it fails with, and what it throws, fails the matrix. */
  readonly check?: (ending: Ending) => Effect.Effect<unknown, unknown, R2>
  /** What people do in a process after a death, once all runs are over or parked: decide, cancel, ask again. */
  readonly resume?: (runs: ReadonlyArray<RunState>) => Effect.Effect<unknown, unknown, R3>
  /** What is done before each schedule, such as emptying what counts; it may use the database, where there is one. */
  readonly before?: Effect.Effect<unknown, unknown, R4>
  /** Deaths of one schedule at most; with 2, the process that goes on dies too. 1 by default. */
  readonly deaths?: 1 | 2
  /** Schedules with two deaths at most, chosen by `seed` where there could be more; 200 by default. */
  readonly pairs?: number
  readonly seed?: number
  /** Plays this schedule alone, and shows its log messages: `before append 7`, or `after append 3, then before handler 1`. */
  readonly only?: string
  /** A database, opened once for all schedules, on which time is real; process memory by default, where waiting takes no time. */
  readonly database?: D
}

/** What was played. */
export interface Report {
  /** Schedules in which a process died. */
  readonly schedules: number
  /** Deaths by their place. */
  readonly byPlace: Readonly<Record<Place, number>>
  /** Schedules with two deaths. */
  readonly pairs: number
  /** Runs that were checked. */
  readonly runs: number
}

/** The services of the database, where there is one. */
type Stored<D> = [D] extends [undefined] ? never : Database | SqlClient | PgClient

/** What is left to provide. */
type Needs<A extends ReadonlyArray<Agent.Any>, D, R> = Exclude<R | Agent.Services<A[number]>, Provided | Tables | Stored<D>>

const range = (length: number): ReadonlyArray<number> => Array.from({ length }, (_, index) => index + 1)

/** Every second death that a process could die after a first one. */
const pairsOf = (first: Death, { counts: [, next] }: Played): ReadonlyArray<readonly [Death, Death]> =>
  next === undefined ? [] : places.flatMap((place) => range(next[place]).map((number) => [first, { place, number }] as const))

/** Pairs in an order in which every place of the second death comes early, also one that is seldom reached. */
const evenly = (pairs: ReadonlyArray<readonly [Death, Death]>): ReadonlyArray<readonly [Death, Death]> => {
  const seen = new Map<Place, number>()
  const ranked = pairs.map((pair) => {
    const rank = seen.get(pair[1].place) ?? 0
    seen.set(pair[1].place, rank + 1)
    return { pair, rank }
  })
  return ranked.toSorted((a, b) => a.rank - b.rank).map(({ pair }) => pair)
}

/**
 * Runs a program again and again, each time with another death of its process: at every append, before it is durable and
 * after; at every tool call, before its handler begins and after it ended; at every command. What the dead process left is
 * taken over by a new one over the same store, and once every run is over or parked it is checked: by the kit, that each
 * run keeps what every run must keep and nothing stays reserved, and by the author.
 *
 * The runtime dies as of `kill -9`: nothing more is written or heard. Handlers are interrupted, so that their finalizers
 * run, which a kill would not let them.
 */
export const run = <
  const A extends ReadonlyArray<Agent.Any>,
  R1 = never,
  R2 = never,
  R3 = never,
  R4 = never,
  D extends DatabaseLayer<unknown> | undefined = undefined
>(options: Options<A, D, R1, R2, R3, R4>): Effect.Effect<Report, CrashFailed, Needs<A, D, R1 | R2 | R3> | Exclude<R4, Stored<D>>> =>
  Effect.scoped(Effect.gen(function*() {
    const shared = options.database === undefined ? undefined : yield* Layer.build<unknown, unknown, never>(options.database).pipe(
      Effect.mapError((cause) => new CrashFailed({ schedule: nameOf([]), during: [], problem: String(cause), logs: [], cause }))
    )
    const parts = { agents: options.agents, models: models(options.model) }

    const playOf = Effect.gen(function*() {
      // The tables of the schedule outlive its processes.
      const tables = yield* Layer.build(Layer.fresh(Tables.layer))
      const runtime = shared === undefined
        ? Layer.provide(Conductor.layerTables(parts), Layer.succeedContext(tables))
        : Conductor.layerDatabase({ ...parts, database: Layer.succeedContext(shared) as DatabaseLayer<never> })
      return {
        // What the agents' handlers and the author's effects need is in the requirements of the whole.
        runtime: runtime as Play["runtime"],
        time: shared === undefined ? makeTime(realNow()) : realTime,
        program: options.program,
        resume: options.resume ?? (() => Effect.void),
        check: options.check ?? (() => Effect.void)
      } as Play
    })

    let runs = 0
    const one = Effect.fnUntraced(function*(deaths: ReadonlyArray<Death>) {
      yield* Effect.provideContext(Effect.orDie(options.before ?? Effect.void), shared ?? Context.empty())
      const played = yield* play(yield* playOf, deaths)
      runs += played.runs
      return played
    }, Effect.scoped)

    const byPlace = Object.fromEntries(places.map((place) => [place, 0])) as Record<Place, number>
    let schedules = 0
    let pairs = 0
    const counted = Effect.fnUntraced(function*(deaths: ReadonlyArray<Death>) {
      const played = yield* one(deaths)
      for (const { place } of deaths.slice(0, played.deaths)) byPlace[place]++
      if (played.deaths > 0) schedules++
      if (played.deaths > 1) pairs++
      return played
    })

    if (options.only !== undefined) {
      yield* counted(deathsOf(options.only))
      return { schedules, byPlace, pairs, runs }
    }
    yield* counted([])
    const second: Array<readonly [Death, Death]> = []
    for (const place of places) {
      for (let number = 1;; number++) {
        const played = yield* counted([{ place, number }])
        if (played.deaths === 0) break
        second.push(...pairsOf({ place, number }, played))
      }
    }
    if (options.deaths === 2) {
      const chosen = yield* Random.withSeed(Random.shuffle(second), options.seed ?? 1)
      for (const deaths of evenly(chosen).slice(0, options.pairs ?? 200)) yield* counted(deaths)
    }
    return { schedules, byPlace, pairs, runs }
  })).pipe(
    options.only === undefined ? Effect.provideService(References.MinimumLogLevel, "None") : (effect) => effect
  ) as never // what is left to provide is what `Needs` says
