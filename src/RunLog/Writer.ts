import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { type RunId, StorageFailed } from "../Run.ts"
import type { Append } from "./Append.ts"
import { apart, type Group, group, inRounds, type Item, type Pending, writtenOf } from "./Group.ts"
import type { Hub } from "./Hub.ts"
import type { BadBatch, Outcome, Store } from "./Store.ts"

/** A flush that has so many appends takes no further run; more wait for the next. */
const batchSize = 500

/** So many runs go on after a flush before whatever else waits for the process has its turn. */
const slice = 25

/** So many runs have to wait before a second flush begins beside the first: fewer cost more than they gain. */
const secondLane = 50

const broken = (defect: unknown): StorageFailed =>
  new StorageFailed({ operation: "append", problem: defect instanceof Error ? defect.message : String(defect), cause: defect })

/**
 * The group commit: while a transaction is under way the appends of all runs gather, and the next takes them all.
 * An append that the database refuses for its data fails alone: its batch is split until it stands by itself.
 * A store that need not be waited for is written to at once.
 */
export const makeWriter = Effect.fnUntraced(function*(store: Store["Service"], hub: Hub, observe: (append: Append) => void) {
  const waiting = new Map<RunId, Array<Item>>()
  const ready = yield* Latch.make(false)

  const settle = (one: Group, outcome: Outcome) => {
    for (const item of one.items) {
      if (outcome._tag === "Refused") {
        Deferred.doneUnsafe(item.pending, Effect.fail(outcome.error))
        continue
      }
      const append = writtenOf(item, one, outcome.append)
      observe(append)
      if (hub.isHeard(append.run)) {
        hub.publish(append.run, { _tag: "Events", events: append.steps.map((step) => step.logged) })
      }
      Deferred.doneUnsafe(item.pending, Effect.succeed(append))
    }
  }

  const once = store.write
  if (once !== undefined) {
    return (append: Append): Pending => {
      const pending: Pending = Deferred.makeUnsafe()
      let outcome: Outcome
      try {
        outcome = once(append)
      } catch (defect) {
        outcome = { _tag: "Refused", error: broken(defect) }
      }
      settle({ append, items: [{ append, pending }] }, outcome)
      return pending
    }
  }

  const writeAll = (groups: ReadonlyArray<Group>): Effect.Effect<void> => Effect.forEach(inRounds(groups), write, { discard: true })

  const write = (groups: ReadonlyArray<Group>): Effect.Effect<void> =>
    store.flush(groups.map((one) => one.append)).pipe(
      // A defect, as of an event that cannot be encoded, is of one append and must not leave the others waiting.
      Effect.catchDefect((defect) => Effect.fail<BadBatch>({ _tag: "BadBatch", error: broken(defect) })),
      Effect.matchEffect({
        onSuccess: Effect.fnUntraced(function*(outcomes) {
          const again: Array<Group> = []
          for (const [index, outcome] of outcomes.entries()) {
            const one = groups[index]
            if (one === undefined) continue
            if (index > 0 && index % slice === 0) yield* Effect.yieldNow
            const parts = apart(one, outcome)
            // Whoever waits for it goes on within this.
            if (parts.length === 0) settle(one, outcome)
            else again.push(...parts)
          }
          yield* writeAll(again)
        }),
        onFailure: (failure) => {
          if (failure._tag === "BadBatch" && groups.length > 1) {
            const [first, second] = Arr.splitAt(groups, groups.length >> 1)
            return Effect.andThen(write(first), write(second))
          }
          const [only] = groups
          if (failure._tag === "BadBatch" && only !== undefined && only.items.length > 1) {
            // One after the other, so that those before the guilty one are kept.
            return Effect.forEach(only.items, (item) => write([{ append: item.append, items: [item] }]), { discard: true })
          }
          const error = failure._tag === "BadBatch" ? failure.error : failure
          return Effect.sync(() => {
            for (const one of groups) settle(one, { _tag: "Refused", error })
          })
        }
      })
    )

  // A run that is being written waits for its next flush, so that its appends keep their order.
  const busy = new Set<RunId>()
  let flushes = 0

  /**
   * The appends of the runs that have waited longest, all of each, because what a run waits for is the last of them; half of the
   * runs where another lane can take the rest, so that one works on the answers while the other one commits.
   */
  const take = (): ReadonlyArray<Item> => {
    ready.closeUnsafe()
    if (flushes > 0 && waiting.size < secondLane) return []
    const isShared = flushes === 0 && store.lanes > 1 && waiting.size > secondLane
    let left = isShared ? Math.ceil(waiting.size / 2) : waiting.size
    const items: Array<Item> = []
    for (const [run, own] of waiting) {
      if (busy.has(run)) continue
      if (left === 0 || items.length >= batchSize) {
        ready.openUnsafe()
        break
      }
      items.push(...own)
      waiting.delete(run)
      busy.add(run)
      left--
    }
    return items
  }

  const lane = Effect.forever(Effect.gen(function*() {
    yield* ready.await
    const items = take()
    if (items.length === 0) return
    flushes++
    yield* writeAll(group(items, store.joins))
    flushes--
    for (const { append } of items) busy.delete(append.run)
    if (waiting.size > 0) ready.openUnsafe()
  }))
  for (let number = 0; number < store.lanes; number++) yield* Effect.forkScoped(lane)

  return (append: Append): Pending => {
    const pending: Pending = Deferred.makeUnsafe()
    const own = waiting.get(append.run)
    if (own === undefined) waiting.set(append.run, [{ append, pending }])
    else own.push({ append, pending })
    ready.openUnsafe()
    return pending
  }
})
