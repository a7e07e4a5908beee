import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Money from "../Money.ts"
import { type AgentName, isOver, type Logged, promptTokens, RunConflict, type RunId, RunnerId } from "../Run.ts"
import { outcomesOf } from "./Answer.ts"
import type { Append, Gate, Projection, Row, Verdict } from "./Append.ts"
import { LeaseTime } from "./Lease.ts"
import { type BadBatch, BetweenStore, type RunFilter, type RunRow, Store } from "./Store.ts"
import { Tables } from "./Tables.ts"

interface Entry {
  row: RunRow
  readonly events: Array<Logged>
}

const begin = (append: Append, runner: RunnerId): Entry | undefined => {
  const { after, logged } = append.steps[0]
  if (logged.event._tag !== "RunStarted") return undefined
  return {
    events: [],
    row: {
      run: append.run,
      org: after.org,
      session: after.session,
      agent: after.agent,
      definition: after.definition,
      model: after.model,
      status: "running",
      owner: runner,
      epoch: append.epoch,
      seq: 0,
      turns: 0,
      cost: Money.zero,
      priced: true,
      inputTokens: 0,
      outputTokens: 0,
      error: null,
      createdAt: logged.at,
      endedAt: null
    }
  }
}

/** Keeps logs in the memory of this process, under the rules of the SQL store: same fences, gates and projections. */
export const layerMemory = (gates: ReadonlyArray<Gate>, projections: ReadonlyArray<Projection>) =>
  Layer.effect(Store, Effect.gen(function*() {
    const tables = yield* Tables
    const random = yield* SecureRandom.SecureRandom
    const runner = RunnerId.make(yield* random.uuidV7())
    const lease = Duration.toMillis(yield* LeaseTime)
    const ordered = projections.toSorted((a, b) => a.order - b.order)
    const runs = tables.get("runs", () => new Map<RunId, Entry>())
    /** The run of each session that was started last, and the one that is not over. */
    const sessions = tables.get("sessions", () => new Map<string, RunId>())
    const active = tables.get("active", () => new Map<string, RunId>())
    const definitions = tables.get("definitions", () => new Map<string, string>())
    const runners = tables.get("runners", () => new Map<RunnerId, number>())
    const now = Clock.currentTimeMillis
    runners.set(runner, (yield* now) + lease)
    yield* Effect.addFinalizer(() => Effect.sync(() => runners.delete(runner)))

    const isOwned = (row: RunRow, at: number) => row.owner !== null && (runners.get(row.owner) ?? 0) > at
    const sessionKey = (row: RunRow) => `${row.org}/${row.session}`

    const conflict = (batch: ReadonlyArray<Append>): BadBatch | undefined => {
      for (const append of batch) {
        const known = runs.get(append.run)?.row
        const row = known === undefined ? begin(append, runner)?.row : isOver(known.status) ? known : undefined
        if (row === undefined || (active.get(sessionKey(row)) ?? append.run) === append.run) continue
        return {
          _tag: "BadBatch",
          error: new RunConflict({
            run: append.run,
            problem: `the session "${row.session}" already has an unfinished run; send it a message, cancel it, or use another session.`
          })
        }
      }
      return undefined
    }

    const write = (append: Append, entry: Entry) => {
      let { cost, inputTokens, outputTokens, priced, turns } = entry.row
      for (const { logged } of append.steps) {
        entry.events.push(logged)
        if (logged.event._tag === "TurnCompleted") turns++
        if (logged.event._tag !== "TurnCompleted" && logged.event._tag !== "AttemptFailed") continue
        const { bill } = logged.event
        cost = Money.add(cost, bill.cost)
        priced &&= bill.source !== "unpriced"
        inputTokens += promptTokens(bill.usage)
        outputTokens += bill.usage.output
      }
      const last = append.steps.at(-1) ?? append.steps[0]
      const { failure, status } = last.after
      entry.row = {
        ...entry.row,
        seq: last.logged.seq,
        status,
        owner: status === "running" ? entry.row.owner : null,
        cost,
        inputTokens,
        outputTokens,
        priced,
        turns,
        error: failure?._tag ?? null,
        endedAt: isOver(status) ? last.logged.at : null
      }
      runs.set(append.run, entry)
      const session = sessionKey(entry.row)
      if (append.steps[0].before === undefined) sessions.set(session, append.run)
      if (!isOver(status)) active.set(session, append.run)
      else if (active.get(session) === append.run) active.delete(session)
    }

    const flush = (batch: ReadonlyArray<Append>) =>
      Effect.suspend(() => {
        const bad = conflict(batch)
        if (bad !== undefined) return Effect.fail(bad)
        const fenced: Array<number> = []
        const entries = new Map<RunId, { readonly entry: Entry; seq: number }>()
        batch.forEach((append, i) => {
          const known = entries.get(append.run)
          const entry = known?.entry ?? runs.get(append.run) ?? begin(append, runner)
          const seq = known?.seq ?? entry?.row.seq
          if (entry === undefined || entry.row.epoch !== append.epoch || seq !== append.steps[0].logged.seq - 1) {
            fenced.push(i)
          } else {
            entries.set(append.run, { entry, seq: seq + append.steps.length })
          }
        })
        const out = new Set(fenced)
        const verdicts: Array<Verdict> = []
        for (const gate of gates) {
          for (const verdict of gate.judge(batch, (i) => out.has(i), tables)) {
            verdicts.push(verdict)
            if ("refuse" in verdict) out.add(verdict.append)
          }
        }
        const outcomes = outcomesOf(gates, batch, fenced, verdicts)
        const written = outcomes.flatMap((outcome, i) => outcome._tag === "Appended" ? [[i, outcome.append] as const] : [])
        for (const [, append] of written) {
          const entry = entries.get(append.run)?.entry
          if (entry !== undefined) write(append, entry)
        }
        for (const projection of ordered) {
          const rows = written.flatMap(([i, append]): ReadonlyArray<Row> => projection.rows(append, i))
          if (rows.length > 0) projection.write(rows, tables)
        }
        return Effect.succeed(outcomes)
      })

    const rows = Effect.sync(() => [...runs.values()].map((entry) => entry.row))

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
      return (yield* rows).filter((row) => !isOver(row.status) && row.status === "running" && (row.owner === runner || !isOwned(row, at)))
    })

    const between = yield* BetweenStore
    return between({
      runner,
      lanes: 1,
      transaction: undefined,
      flush,
      list,
      read: (run, after, limit) => Effect.sync(() => runs.get(run)?.events.slice(after, after + limit) ?? []),
      find: (run) => Effect.sync(() => Option.fromUndefinedOr(runs.get(run)?.row)),
      latest: (org, session) =>
        Effect.sync(() => Option.fromUndefinedOr(runs.get(sessions.get(`${org}/${session}`) ?? "" as RunId)?.row)),
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
            (options?.over === true ? entry.row.status === "failed" : !isOver(entry.row.status)) &&
            (entry.row.owner === runner || !isOwned(entry.row, at))
          if (!claimable) return Option.none()
          entry.row = { ...entry.row, owner: runner, epoch: entry.row.epoch + 1 }
          return Option.some(entry.row.epoch)
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
  }))
