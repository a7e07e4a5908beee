import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { rewriteComments, rewriteDigests } from "../Approval.ts"
import { AuditLog } from "../AuditLog.ts"
import { rewriteFingerprint } from "../Idempotency.ts"
import { Command, rewriteCommands } from "../Inbox.ts"
import { isOver, type OrgId, RunEvent, type RunId } from "../Run.ts"
import { rewriteRun, Store, Tables } from "../RunLog.ts"
import type { Fact, Filter, Forgetting, MemoryId } from "./Fact.ts"
import type { Erasure, Shelf, Traces } from "./Shelf.ts"
import { forgotten, fromCommand, fromEvent, fromRequest, isEmptied, takeOut } from "./TakeOut.ts"
import { scoreOf } from "./Words.ts"

const isMeant = (what: Forgetting) => (fact: Fact): boolean =>
  "id" in what
    ? fact.id === what.id && (what.scopes?.includes(fact.scope) ?? true)
    : "scope" in what ? fact.scope === what.scope : fact.text.includes(what.text)

/** Memories in process memory, found by their words. */
export const makeShelf = Effect.map(Tables, (tables): Shelf => {
  const facts = tables.get("memories", () => new Map<MemoryId, Fact>())
  const keys = tables.get("memory_keys", () => new Map<string, MemoryId>())
  const erasures = tables.get("memory_erasures", () => new Map<string, Erasure>())
  const living = (org: OrgId, { before, scopes }: Pick<Filter, "before" | "scopes">, at: number) =>
    [...facts.values()].toReversed().filter((fact) =>
      fact.org === org && (fact.expiresAt === null || fact.expiresAt > at) && (scopes?.includes(fact.scope) ?? true) &&
      (before === undefined || fact.id < before))
  const remove = (fact: Fact) => {
    facts.delete(fact.id)
    for (const [key, id] of keys) if (id === fact.id) keys.delete(key)
  }
  return {
    atomic: (effect) => effect,
    put: (fact, dedupe) =>
      Effect.sync(() => {
        const key = `${fact.org}/${dedupe}`
        const known = facts.get(keys.get(key) ?? fact.id)
        if (known !== undefined) return known
        keys.set(key, fact.id)
        facts.set(fact.id, fact)
        return fact
      }),
    find: (org, { limit, scopes, text }, at) =>
      Effect.sync(() =>
        living(org, { scopes }, at).map((fact) => ({ ...fact, score: scoreOf(text, fact.text) })).filter(({ score }) => score > 0)
          .toSorted((a, b) => b.score - a.score).slice(0, limit)),
    list: (org, filter, at) => Effect.sync(() => living(org, filter, at).slice(0, filter.limit ?? 100)),
    remove: (org, what) =>
      Effect.sync(() => {
        const gone = [...facts.values()].filter((fact) => fact.org === org && isMeant(what)(fact))
        gone.forEach(remove)
        return gone.map((fact) => fact.text)
      }),
    takeOut: (org, texts, runs) =>
      Effect.sync(() => {
        const take = takeOut(texts)
        let gone = 0
        for (const fact of facts.values()) {
          const text = take(fact.text)
          if (fact.org !== org || text === fact.text || (runs !== undefined && (fact.sourceRun === null || !runs.includes(fact.sourceRun)))) continue
          if (isEmptied(text)) {
            remove(fact)
            gone++
          } else facts.set(fact.id, { ...fact, text })
        }
        return gone
      }),
    removeExpired: (at) =>
      Effect.sync(() => {
        for (const fact of facts.values()) if (fact.expiresAt !== null && fact.expiresAt <= at) remove(fact)
      }),
    erasures: Effect.sync(() => [...erasures.values()]),
    begin: (erasure) => Effect.sync(() => void erasures.set(erasure.id, erasure)),
    wait: (id, runs) =>
      Effect.sync(() => {
        const erasure = erasures.get(id)
        if (erasure !== undefined) erasures.set(id, { ...erasure, runs })
      }),
    end: (id) => Effect.sync(() => void erasures.delete(id))
  }
})

const encodeEvent = Schema.encodeSync(Schema.fromJsonString(RunEvent))
const decodeEvent = Schema.decodeSync(Schema.fromJsonString(RunEvent))
const encodeCommand = Schema.encodeSync(Schema.fromJsonString(Command))
const decodeCommand = Schema.decodeSync(Schema.fromJsonString(Command))

/** Milliseconds by which a run may have begun before it was asked to forget, and count as one that began since. */
const margin = 60_000

/** What was said in runs, in process memory. */
export const makeTraces = Effect.gen(function*() {
  const tables = yield* Tables
  const store = yield* Store
  const audit = yield* AuditLog
  const runsOf = (org: OrgId) => store.list({ org, limit: Infinity })

  const traces: Traces = {
    underWay: ({ at, org }) =>
      Effect.map(runsOf(org), (rows) =>
        rows.filter((row) => !isOver(row.status) || row.createdAt > at - margin).map((row) => row.run)),
    over: (org, after) =>
      Effect.map(runsOf(org), (rows) => rows.filter((row) => isOver(row.status) && row.run > after).map((row) => row.run).toSorted()),
    unfinished: (org, runs) =>
      Effect.map(runsOf(org), (rows) => rows.filter((row) => !isOver(row.status) && runs.includes(row.run)).map((row) => row.run)),
    clear: Effect.fnUntraced(function*({ by, org }, take, runs) {
      const left: Array<RunId> = []
      for (const run of runs) {
        const calls = new Set<string>()
        let seqs = rewriteRun(tables, run, (event) => {
          const taken = fromEvent(encodeEvent(event), take)
          for (const call of taken?.calls ?? []) calls.add(call)
          return taken === undefined ? event : decodeEvent(taken.payload)
        })
        if (seqs === undefined) {
          left.push(run)
          continue
        }
        rewriteCommands(tables, run, (command) => {
          const changed = fromCommand(encodeCommand(command), take)
          return changed === undefined ? command : decodeCommand(changed)
        })
        rewriteComments(tables, run, take)
        rewriteDigests(tables, run, calls, forgotten)
        const asked = rewriteRun(tables, run, (event) => {
          const left = fromRequest(encodeEvent(event), calls)
          return left === undefined ? event : decodeEvent(left.payload)
        })
        seqs = [...seqs, ...asked ?? []]
        if (seqs.includes(1)) rewriteFingerprint(tables, run, forgotten)
        if (seqs.length === 0) continue
        const rows = yield* audit.list({ org, run, limit: Infinity })
        for (const row of rows.toReversed()) {
          const isAbout = (row.seq !== null && seqs.includes(row.seq)) || (row.call !== null && calls.has(row.call))
          if (isAbout && row.erasedAt === null) yield* audit.erase({ org, where: { n: row.n }, by })
        }
        yield* audit.append({ org, principal: by, action: "erase", name: "run_redact", target: `run:${run}`, input: { events: seqs } })
      }
      return left
    }),
    clearTrail: Effect.fnUntraced(function*({ by, org }, take) {
      for (const row of (yield* audit.list({ org, limit: Infinity })).toReversed()) {
        const content = [row.input === null ? null : JSON.stringify(row.input), row.output, row.target, row.error]
        const holds = content.some((text) => text !== null && take(text) !== text)
        if (holds && row.erasedAt === null) yield* audit.erase({ org, where: { n: row.n }, by })
      }
    })
  }
  return traces
})
