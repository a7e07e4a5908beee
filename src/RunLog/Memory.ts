import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Money from "../Money.ts"
import {
  type AgentName, Fenced, fold, isOver, type Logged, type OrgId, promptTokens, RunConflict, type RunEvent, type RunId, RunnerId, type RunState
} from "../Run.ts"
import { outcomesOf } from "./Answer.ts"
import type { Append, Gate, Projection } from "./Append.ts"
import { LeaseTime } from "./Lease.ts"
import { pageOf } from "./Page.ts"
import { BetweenStore, type Outcome, type Reads, type RunFilter, type RunRow, Store } from "./Store.ts"
import { Tables } from "./Tables.ts"

interface Entry {
  readonly events: Array<Logged>
  readonly createdAt: number
  owner: RunnerId | null
  epoch: number
  /** As of the last event. */
  state: RunState
  seq: number
  turns: number
  cost: Money.Money
  priced: boolean
  inputTokens: number
  outputTokens: number
  endedAt: number | null
}

const begin = (append: Append, runner: RunnerId): Entry | undefined => {
  const { after, logged } = append.steps[0]
  if (logged.event._tag !== "RunStarted") return undefined
  return {
    events: [],
    createdAt: logged.at,
    owner: runner,
    epoch: append.epoch,
    state: after,
    seq: 0,
    turns: 0,
    cost: Money.zero,
    priced: true,
    inputTokens: 0,
    outputTokens: 0,
    endedAt: null
  }
}

const rowOf = ({ state, ...entry }: Entry): RunRow => ({
  run: state.run,
  org: state.org,
  session: state.session,
  agent: state.agent,
  definition: state.started.definition,
  model: state.started.model,
  status: state.status,
  owner: entry.owner,
  epoch: entry.epoch,
  seq: entry.seq,
  turns: entry.turns,
  cost: entry.cost,
  priced: entry.priced,
  inputTokens: entry.inputTokens,
  outputTokens: entry.outputTokens,
  error: state.failure?._tag ?? null,
  parked: state.status === "parked" ? state.parked : null,
  createdAt: entry.createdAt,
  endedAt: entry.endedAt
})

const sessionKey = ({ org, session }: RunState): string => `${org}/${session}`

const lastOf = ({ steps }: Append) => steps[steps.length - 1] ?? steps[0]

const nobody = () => false

const runsOf = (tables: Tables["Service"]) => tables.get("runs", () => new Map<RunId, Entry>())

/** A change of what a run cost that its log does not know of, because it was learnt later. */
export interface Correction {
  readonly cost: Money.Money
  readonly inputTokens: number
  readonly outputTokens: number
  /** Whether every attempt of it has a known price now. */
  readonly priced: boolean
}

/** Corrects what a run in process memory cost. */
export const correctRun = (tables: Tables["Service"], run: RunId, correction: Correction): void => {
  const entry = runsOf(tables).get(run)
  if (entry === undefined) return
  entry.cost = Money.add(entry.cost, correction.cost)
  entry.inputTokens += correction.inputTokens
  entry.outputTokens += correction.outputTokens
  entry.priced = correction.priced
}

/**
 * Puts other events of the same kinds in the place of those of a run in process memory that is over; the numbers of those that
 * are other events now, or nothing where the run is not over.
 */
export const rewriteRun = (
  tables: Tables["Service"],
  run: RunId,
  change: (event: RunEvent) => RunEvent
): ReadonlyArray<number> | undefined => {
  const entry = runsOf(tables).get(run)
  if (entry === undefined || !isOver(entry.state.status)) return undefined
  const changed: Array<number> = []
  entry.events.forEach((logged, index) => {
    const event = change(logged.event)
    if (event === logged.event) return
    entry.events[index] = { ...logged, event }
    changed.push(logged.seq)
  })
  if (changed.length > 0) entry.state = entry.events.reduce<RunState | undefined>(fold, undefined) ?? entry.state
  return changed
}

/** Keeps logs in the memory of this process, under the rules of the SQL store: same fences, gates and projections. */
export const layerMemory = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
  Layer.effect(Store, Effect.gen(function*() {
    const tables = yield* Tables
    const random = yield* SecureRandom.SecureRandom
    const runner = RunnerId.make(yield* random.uuidV7())
    const lease = Duration.toMillis(yield* LeaseTime)
    const ordered = projections.toSorted((a, b) => a.order - b.order)
    const runs = runsOf(tables)
    /** The run of each session that was started last, and the one that is not over. */
    const sessions = tables.get("sessions", () => new Map<string, RunId>())
    const active = tables.get("active", () => new Map<string, RunId>())
    const definitions = tables.get("definitions", () => new Map<string, string>())
    const runners = tables.get("runners", () => new Map<RunnerId, number>())
    const clock = yield* Clock.Clock
    const now = Clock.currentTimeMillis
    runners.set(runner, (yield* now) + lease)
    yield* Effect.addFinalizer(() => Effect.sync(() => runners.delete(runner)))

    const isOwned = (owner: RunnerId | null, at: number) => owner !== null && (runners.get(owner) ?? 0) > at

    /** A session has one active run at most. */
    const conflict = ({ run }: Append, { state }: Entry): RunConflict | undefined =>
      (active.get(sessionKey(state)) ?? run) === run ? undefined : new RunConflict({
        run,
        problem: `the session "${state.session}" already has an unfinished run; send it a message, cancel it, or use another session.`
      })

    const put = (append: Append, entry: Entry): void => {
      const { steps } = append
      for (const { logged } of steps) {
        const { event } = logged
        entry.events.push(logged)
        if (event._tag === "TurnCompleted") entry.turns++
        if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed" && event._tag !== "ContextCompacted") continue
        const { bill } = event
        entry.cost = Money.add(entry.cost, bill.cost)
        entry.priced &&= bill.source !== "unpriced"
        entry.inputTokens += promptTokens(bill.usage)
        entry.outputTokens += bill.usage.output
      }
      const { after, logged } = lastOf(append)
      const was = entry.state.status
      entry.state = after
      entry.seq = logged.seq
      entry.owner = after.status === "running" ? entry.owner : null
      entry.endedAt = isOver(after.status) ? logged.at : null
      const isNew = steps[0].before === undefined
      if (isNew) runs.set(append.run, entry)
      if (!isNew && after.status === was) return
      const session = sessionKey(after)
      if (isNew) sessions.set(session, append.run)
      if (!isOver(after.status)) active.set(session, append.run)
      else if (active.get(session) === append.run) active.delete(session)
    }

    const write = (append: Append): Outcome => {
      const known = runs.get(append.run)
      const entry = known ?? begin(append, runner)
      // Only a run that begins, or that goes on after it was over, can be in the way of another.
      const taken = entry !== undefined && (known === undefined || isOver(known.state.status)) ? conflict(append, entry) : undefined
      if (taken !== undefined) return { _tag: "Refused", error: taken }
      if (entry === undefined || entry.epoch !== append.epoch || entry.seq !== append.steps[0].logged.seq - 1) {
        return { _tag: "Refused", error: new Fenced({ run: append.run, epoch: append.epoch }) }
      }
      let outcome: Outcome = { _tag: "Appended", append }
      const batch = [append]
      for (const gate of gates) {
        const verdicts = gate.judge(batch, nobody, tables, clock.currentTimeMillisUnsafe())
        if (verdicts.length > 0) [outcome = outcome] = outcomesOf(gates, batch, [], verdicts)
        if (outcome._tag === "Refused") return outcome
      }
      put(outcome.append, entry)
      for (const projection of ordered) projection.keep(outcome.append, tables)
      return outcome
    }

    const rows = Effect.sync(() => [...runs.values()].map(rowOf))

    const list = (filter: RunFilter) =>
      Effect.map(rows, (all) =>
        all.filter((row) =>
          (filter.org === undefined || row.org === filter.org) &&
          (filter.session === undefined || row.session === filter.session) &&
          (filter.status === undefined || row.status === filter.status) &&
          (filter.agent === undefined || row.agent === filter.agent) &&
          (filter.before === undefined || row.run < filter.before)
        ).toSorted((a, b) => a.run < b.run ? 1 : -1).slice(0, filter.limit))

    const orphaned = Effect.gen(function*() {
      const at = yield* now
      return (yield* rows).filter((row) =>
        (row.status === "running" || row.parked === "shutdown") && (row.owner === runner || !isOwned(row.owner, at))
      )
    })

    const readsOf = (org?: OrgId): Reads => {
      const own = (run: RunId) => {
        const entry = runs.get(run)
        return org === undefined || entry?.state.org === org ? entry : undefined
      }
      return {
        read: (run, after, size) => Effect.sync(() => pageOf(own(run)?.events ?? [], after, size)),
        find: (run) => Effect.sync(() => Option.map(Option.fromUndefinedOr(own(run)), rowOf)),
        list: (filter) => list(org === undefined ? filter : { ...filter, org })
      }
    }

    const flush = (batch: ReadonlyArray<Append>) => Effect.sync(() => batch.map(write))
    const between = yield* BetweenStore
    const store = between({
      runner,
      lanes: 1,
      joins: false,
      transaction: undefined,
      flush,
      ...readsOf(),
      as: readsOf,
      heads: (asked) =>
        Effect.sync(() => {
          const heads = new Map<RunId, number>()
          for (const run of asked) {
            const entry = runs.get(run)
            if (entry !== undefined) heads.set(run, entry.seq)
          }
          return heads
        }),
      latest: (org, session) =>
        Effect.sync(() => Option.map(Option.fromUndefinedOr(runs.get(sessions.get(`${org}/${session}`) ?? "" as RunId)), rowOf)),
      define: (hash, _, definition) => Effect.sync(() => void definitions.set(hash, definition)),
      definition: (hash) => Effect.sync(() => Option.fromUndefinedOr(definitions.get(hash))),
      renew: Effect.map(now, (at) => {
        const kept = (runners.get(runner) ?? 0) > at
        runners.set(runner, at + lease)
        return kept
      }),
      claim: (run, options) =>
        Effect.map(now, (at) => {
          const entry = runs.get(run)
          const claimable = entry !== undefined &&
            (options?.over === true ? entry.state.status === "failed" : !isOver(entry.state.status)) &&
            (entry.owner === runner || !isOwned(entry.owner, at))
          if (!claimable) return Option.none()
          entry.owner = runner
          return Option.some(++entry.epoch)
        }),
      orphans: (agents, except, limit) =>
        Effect.map(orphaned, (all) =>
          all.filter((row) => agents.includes(row.agent) && !except.includes(row.run)).map((row) => row.run).toSorted().slice(0, limit)),
      unclaimed: Effect.map(orphaned, (all) => {
        const counts = new Map<AgentName, number>()
        for (const row of all) counts.set(row.agent, (counts.get(row.agent) ?? 0) + 1)
        return [...counts].map(([agent, runs]) => ({ agent, runs }))
      })
    })
    // Whatever stands between and has to do with flushes is not gone around.
    return store.flush === flush ? { ...store, write } : store
  }))
