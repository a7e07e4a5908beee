import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { AuditLog } from "./AuditLog.ts"
import { MemoryInvalid } from "./Memory/Error.ts"
import { type Fact, type Filter, type Forgetting, type Forgotten, type Found, MemoryId, type NewFact, type Question, Scope } from "./Memory/Fact.ts"
import * as InProcess from "./Memory/InProcess.ts"
import type { Erasure, Shelf, Traces } from "./Memory/Shelf.ts"
import { makeSql } from "./Memory/Sql.ts"
import { takeOut } from "./Memory/TakeOut.ts"
import { makeTraces } from "./Memory/Traces.ts"
import { CurrentOrg, CurrentPrincipal } from "./Org.ts"
import { clean, type RunId, type StorageFailed } from "./Run.ts"

export * from "./Memory/Error.ts"
export * from "./Memory/Fact.ts"
export { forgotten } from "./Memory/TakeOut.ts"

/** The shortest and the longest text that is remembered or forgotten, in characters: a shorter one stands in too many others. */
const [shortest, longest] = [4, 8_000]

/** A text as it can be stored and looked for. */
const checked = (text: string): Effect.Effect<string, MemoryInvalid> => {
  const whole = clean(text).trim()
  const problem = `a text of ${shortest} to ${longest} characters is wanted, and this one has ${whole.length}; say it in a few sentences.`
  return whole.length >= shortest && whole.length <= longest ? Effect.succeed(whole) : Effect.fail(new MemoryInvalid({ problem }))
}

const nobody = (scope: string) => new MemoryInvalid({ problem: `"${scope}" is nobody's; say org, agent:NAME or user:ID.` })

const isScope = Schema.is(Scope)

/** Scopes as they are kept; what is none then names nobody. */
const within = (scopes: ReadonlyArray<Scope> | undefined): { readonly scopes?: ReadonlyArray<Scope> } =>
  scopes === undefined ? {} : { scopes: scopes.map(clean).filter(isScope) }

/** What is to be forgotten, as it is kept. */
const meant = (what: Forgetting): Effect.Effect<Forgetting, MemoryInvalid> => {
  if ("text" in what) return Effect.map(checked(what.text), (text) => ({ text }))
  if ("id" in what) return Effect.succeed({ id: MemoryId.make(clean(what.id)), ...within(what.scopes) })
  const scope = clean(what.scope)
  return isScope(scope) ? Effect.succeed({ scope }) : Effect.fail(nobody(scope))
}

/** How often it is looked whether runs that are waited for are over, and memories past their time are thrown away. */
const interval = Duration.minutes(1)

/**
 * What an organisation's agents were told or chose to remember, until it expires or is forgotten. Everything here is done for
 * the current organisation, by the current principal.
 */
export class Memory extends Context.Service<Memory, {
  /** Remembers a text; the memory as it is kept, which is the first of its `dedupe` key. */
  readonly remember: (fact: NewFact) => Effect.Effect<Fact, MemoryInvalid | StorageFailed>
  /** What is remembered about something: memories that share words with the question, those with the most of them first. */
  readonly recall: (question: Question) => Effect.Effect<ReadonlyArray<Found>, StorageFailed>
  /** What is remembered, newest first. */
  readonly list: (filter?: Filter) => Effect.Effect<ReadonlyArray<Fact>, StorageFailed>
  /**
   * Forgets memories, and takes what they said, word for word, out of everything that the organisation has kept: its other
   * memories, the logs of its runs, commands, comments on approvals, and the audit trail, whose chain still verifies. What was
   * said in other words, in another spelling, or to the tables of a plugin is not known here, nor are the names of sessions, keys
   * and persons content. The log of a run that is under way is left alone until the run is over; until then the text waits in
   * `memory_erasures`. Copies of the database are for their keeper to delete.
   */
  readonly forget: (what: Forgetting) => Effect.Effect<Forgotten, MemoryInvalid | StorageFailed>
  /** Does what forgetting has left to do, for every organisation: also done each minute. The runs that are still waited for. */
  readonly settle: Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
}>()("conductor-ai/Memory") {
  /** Memories in Postgres, found by its full-text search. */
  static readonly layer = Layer.effect(Memory, Effect.flatMap(Effect.all([makeSql, makeTraces]), ([shelf, traces]) => make(shelf, traces)))

  /** Memories in process memory, beside `RunLog.layerMemory`. */
  static readonly layerMemory = Layer.effect(
    Memory,
    Effect.flatMap(Effect.all([InProcess.makeShelf, InProcess.makeTraces]), ([shelf, traces]) => make(shelf, traces))
  )
}

const make = Effect.fnUntraced(function*(shelf: Shelf, traces: Traces) {
  const audit = yield* AuditLog
  const random = yield* SecureRandom.SecureRandom

  const remember = Effect.fn("Memory.remember")(function*(fact: NewFact) {
    const text = yield* checked(fact.text)
    const scope = clean(fact.scope ?? "org")
    if (!isScope(scope)) return yield* nobody(scope)
    const [org, createdBy, now] = [yield* CurrentOrg, yield* CurrentPrincipal, yield* Clock.currentTimeMillis]
    const id = MemoryId.make(yield* random.uuidV7())
    const made: Fact = {
      id,
      org,
      scope,
      text,
      sourceRun: fact.source?.run ?? null,
      sourceCall: fact.source === undefined ? null : clean(fact.source.call),
      createdBy: clean(createdBy),
      createdAt: now,
      expiresAt: fact.expires === undefined ? null : now + Duration.toMillis(fact.expires)
    }
    return yield* shelf.atomic(Effect.gen(function*() {
      const kept = yield* shelf.put(made, fact.dedupe === undefined ? id : clean(fact.dedupe))
      if (kept.id === id) yield* audit.append({ org, principal: createdBy, action: "memory", name: "memory.remember", target: `memory:${id}` })
      return kept
    }))
  })

  const recall = Effect.fn("Memory.recall")(function*({ limit = 10, scopes, text }: Question) {
    const question = { text: clean(text).trim().slice(0, longest), limit, ...within(scopes) }
    return question.text === "" ? [] : yield* shelf.find(yield* CurrentOrg, question, yield* Clock.currentTimeMillis)
  })

  const list = Effect.fn("Memory.list")(function*({ before, scopes, ...filter }: Filter = {}) {
    const cleaned = { ...filter, ...within(scopes), ...(before === undefined ? {} : { before: MemoryId.make(clean(before)) }) }
    return yield* shelf.list(yield* CurrentOrg, cleaned, yield* Clock.currentTimeMillis)
  })

  /** Goes through all runs that are over; those that are under way meanwhile are for later. */
  const sweep = Effect.fnUntraced(function*(erasure: Erasure) {
    const take = takeOut(erasure.texts)
    const waiting = new Set(yield* traces.underWay(erasure))
    for (let runs = yield* traces.over(erasure.org, ""); runs.length > 0; runs = yield* traces.over(erasure.org, runs.at(-1) ?? "")) {
      for (const run of yield* traces.clear(erasure, take, runs)) waiting.add(run)
    }
    for (const run of yield* traces.underWay(erasure)) waiting.add(run)
    return [...waiting]
  })

  /** Goes on with an erasure; the runs that are still waited for. */
  const proceed = Effect.fnUntraced(function*(erasure: Erasure) {
    const take = takeOut(erasure.texts)
    const runs = erasure.runs ?? (yield* sweep(erasure))
    const unfinished = new Set(yield* traces.unfinished(erasure.org, runs))
    const over = runs.filter((run) => !unfinished.has(run))
    const missed = yield* traces.clear(erasure, take, over)
    yield* traces.clearTrail(erasure, take)
    // What they were told before it was to be forgotten they may have remembered since.
    if (over.length > 0) yield* shelf.takeOut(erasure.org, erasure.texts, over)
    const left = [...unfinished, ...missed]
    yield* left.length === 0 ? shelf.end(erasure.id) : shelf.wait(erasure.id, left)
    return left
  })

  const forget = Effect.fn("Memory.forget")(function*(wanted: Forgetting): Effect.fn.Return<Forgotten, MemoryInvalid | StorageFailed> {
    const what = yield* meant(wanted)
    const given = "text" in what ? [what.text] : []
    const [org, by, at] = [yield* CurrentOrg, yield* CurrentPrincipal, yield* Clock.currentTimeMillis]
    const id = yield* random.uuidV7()
    const target = "id" in what ? `memory:${what.id}` : undefined
    const [memories, texts] = yield* shelf.atomic(Effect.gen(function*() {
      const gone = yield* shelf.remove(org, what)
      const texts = [...new Set([...given, ...gone])]
      const copies = texts.length === 0 ? 0 : yield* shelf.takeOut(org, texts)
      const memories = gone.length + copies
      if (texts.length > 0) yield* shelf.begin({ id, org, texts, by, at, runs: null })
      yield* audit.append({
        org,
        principal: by,
        action: "memory",
        name: "memory.forget",
        input: { memories },
        ...(target === undefined ? {} : { target })
      })
      return [memories, texts] as const
    }))
    // What is left to do is found again by `settle`, where this process ends in the middle.
    const waiting = texts.length === 0 ? [] : yield* proceed({ id, org, texts, by, at, runs: null })
    return { memories, waiting }
  })

  const settle = Effect.gen(function*() {
    yield* shelf.removeExpired(yield* Clock.currentTimeMillis)
    const left = yield* Effect.forEach(yield* shelf.erasures, proceed)
    return [...new Set(left.flat())]
  }).pipe(Effect.withSpan("Memory.settle"))

  yield* settle.pipe(
    Effect.catchCause((cause) => Effect.logDebug("Forgetting goes on later", cause)),
    Effect.repeat(Schedule.spaced(interval)),
    Effect.delay(interval),
    Effect.forkScoped
  )
  return Memory.of({ remember, recall, list, forget, settle })
})
