/** Kills workers again and again, lets the last ones finish, and looks what is left. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Conductor } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { between, chance } from "../support/chance.ts"
import { hit, type Phase, phases } from "./phases.ts"
import { Reporter } from "./processes.ts"
import { type Report, verify } from "./verify.ts"
import type { Orders, Place } from "./worker.ts"
import { startWorld } from "./world.ts"

/** How often, where, and over what is killed. */
export interface Campaign {
  readonly seed: string
  readonly kills: number
  /** Runs at least. */
  readonly runs: number
  readonly at: Place
  /** Workers at the same time: one on an embedded database. */
  readonly workers: number
  /** Hears how far it is. */
  readonly progress?: (kills: number) => void
}

/** What came of a campaign. */
export interface Outcome extends Report {
  /** How many kills hit each phase; one kill may hit several. */
  readonly phases: ReadonlyMap<Phase, number>
}

/** Phases that every worker comes to, and which are aimed at first: ten kills hit all of them. */
export const sure: ReadonlyArray<Phase> = ["before a commit", "in a flush", "after a commit", "in a model call", "in an unsafe handler"]

/** The phases that are aimed at, in turns. */
const aims: ReadonlyArray<Phase> = [
  ...sure, "in a claim", "in an idempotent handler", "starting up", "in a transactional handler", "in a reconcilable handler",
  "in a reconciliation", "in a transaction", "in a pure handler", "in a start"
]

/** Runs that each worker has under way. */
const active = 6

/** Milliseconds of a worker's lease, which a worker alone waits for every time. */
const leaseOf = (workers: number): number => workers === 1 ? 800 : 1_200

/** Milliseconds that a worker may take for anything that it must do. */
const patience = 60_000

/** The runtime of the parent, which performs nothing, on the database of a campaign. */
export const onlooker = (at: Place) => {
  const options = { agents: [], models: testing.models(testing.script([])) } as const
  return "url" in at
    ? Conductor.layerPostgres({ ...options, url: Redacted.make(at.url), connections: 2 })
    : Conductor.layerEmbedded({ ...options, dir: at.dir })
}

const setUp = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  // No key: a row that was written twice is to be seen.
  yield* sql`CREATE TABLE IF NOT EXISTS survive_effects (call text NOT NULL, key text NOT NULL, note text)`
})

/** Cuts every connection to the database, as a restart of it does. */
const cut = (url: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
  ).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url) })), Effect.runPromise)

/** A worker did not do what it must. */
class Failed extends Error {}

/** Carries a campaign out. */
export const carryOut = async (campaign: Campaign): Promise<Outcome> => {
  const { at, seed } = campaign
  const world = await startWorld(seed)
  const acknowledged = new Map<number, string>()
  const requests = new Map<string, number>()
  const cancelled = new Set<number>()
  const messages = new Map<number, ReadonlyArray<string>>()
  const killed: Array<number> = []
  const troubles: Array<string> = []
  let cuts = 0
  const found = new Map<Phase, number>(phases.map((phase) => [phase, 0]))
  const crew: Array<Reporter> = []
  // Always one process ahead, which has everything but its orders.
  let spare = new Reporter("worker.ts")

  const learn = ({ reports }: Reporter) => {
    for (const report of reports) {
      const [mark, first = "", second = ""] = report.split(" ")
      if (mark === "!") acknowledged.set(Number(first), second)
      if (mark === "c") cancelled.add(Number(first))
      if (mark === "m") messages.set(Number(first), [...(messages.get(Number(first)) ?? []), report.slice(`m ${first} `.length)])
      if (mark === "x") troubles.push(report.slice(2))
      if (mark === "?") requests.set(`${first} ${second}`, (requests.get(`${first} ${second}`) ?? 0) + 1)
    }
  }

  const launch = (begin: Orders["begin"]): Reporter => {
    const worker = spare
    spare = new Reporter("worker.ts")
    worker.tell({ seed, world: world.url, at, active, begin, lease: leaseOf(campaign.workers) } satisfies Orders)
    return worker
  }

  const ready = async (worker: Reporter) => {
    if (await worker.until((report) => report === "ready", patience)) return
    throw new Failed(`a worker did not start: ${worker.output.trim()}`)
  }

  /** Kills one worker at a moment, or a place, of chance. */
  const kill = async (number: number): Promise<void> => {
    const aim = number % 2 === 0 ? aims[(number / 2) % aims.length] : undefined
    const slot = aim === "starting up" || aim === "in a claim" || aim === "in a reconciliation" ? launched : between(0, crew.length - 1, seed, "worker", number)
    const worker = crew[slot]
    if (worker === undefined) return
    if (aim !== "starting up") await ready(worker)
    if (aim === "starting up") {
      await worker.until(() => false, between(0, 150, seed, "moment", number))
    } else if (aim === undefined) {
      // Most moments are of a worker that is busy; one that waits for a lease to end is killed sometimes.
      if (chance(seed, "busy", number) < 0.85) await worker.until((report) => report.startsWith("+ in a model"), 5_000)
      await worker.until(() => false, between(0, 600, seed, "moment", number))
    } else {
      worker.tell({ phase: aim, nth: aim === "in a claim" || aim === "in a reconciliation" ? 1 : between(1, 15, seed, "nth", number) })
      // A worker need not come to the others.
      await worker.until((report) => report === "@", sure.includes(aim) ? patience : 4_000)
    }
    if ("url" in at && chance(seed, "cut", number) < 0.15) {
      cuts++
      await cut(at.url)
      await worker.until(() => false, between(0, 300, seed, "after the cut", number))
    }
    killed.push(Date.now())
    await worker.kill()
    learn(worker)
    const code = await worker.ended
    if (code !== "SIGKILL") throw new Failed(`a worker ended by itself with ${code}: ${worker.output.trim()}`)
    for (const phase of hit(worker.reports)) found.set(phase, (found.get(phase) ?? 0) + 1)
    launched = slot
    crew[slot] = launch(beginning(slot))
  }

  const beginning = (slot: number): Orders["begin"] => ({ first: slot + 1, every: campaign.workers, until: 1_000_000 })
  let launched = 0

  const finish = async () => {
    for (const worker of crew.splice(0)) {
      await worker.kill()
      learn(worker)
    }
    const last = launch({ first: 1, every: 1, until: campaign.runs + 1 })
    crew.push(last)
    if (!(await last.until((report) => report === "done", 2 * patience))) {
      throw new Failed(`the last worker did not finish (${last.reports.slice(-5).join(" | ")}): ${last.output.trim()}`)
    }
    await last.ended
    learn(last)
  }

  try {
    await Effect.runPromise(Effect.provide(setUp, onlooker(at)))
    for (let slot = 0; slot < campaign.workers; slot++) crew.push(launch(beginning(slot)))
    // Every kill is to find runs that are not finished.
    for (const worker of crew) await worker.until((report) => report.startsWith("!"), patience)
    for (let number = 0; number < campaign.kills; number++) {
      await kill(number)
      campaign.progress?.(number + 1)
    }
    await finish()
    const report = await Effect.runPromise(
      verify({ seed, world, acknowledged, cancelled, messages, requests, kills: killed }).pipe(Effect.provide(onlooker(at)))
    )
    return { ...report, broken: [...troubles, ...report.broken], counts: { kills: killed.length, "connections cut": cuts, ...report.counts }, phases: found }
  } catch (cause) {
    if (!(cause instanceof Failed)) throw cause
    return { broken: [cause.message], counts: { kills: killed.length }, phases: found }
  } finally {
    for (const worker of [spare, ...crew]) await worker.kill()
    await world.stop()
  }
}

/** What came of a campaign, for people. */
export const describe = ({ counts, phases }: Outcome): string => {
  const hits = [...phases].map(([phase, hits]) => `  ${phase.padEnd(28)} ${String(hits).padStart(4)}  ${"#".repeat(hits)}`)
  return [
    Object.entries(counts).map(([what, count]) => `${what}: ${count}`).join(", "),
    "Phases that the kills hit (one kill may hit several):",
    ...hits
  ].join("\n")
}
