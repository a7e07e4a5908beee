import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { type RunId, StorageFailed } from "../Run.ts"
import { type Append, type AppendError, replaceLast, type Step } from "./Append.ts"
import type { Hub } from "./Hub.ts"
import type { BadBatch, Outcome, Store } from "./Store.ts"

/** An append on its way: done with the append as it was written, or with why it was not. */
export type Pending = Deferred.Deferred<Append, AppendError>

interface Item {
  readonly append: Append
  readonly pending: Pending
}

/** Appends of one run that are written as one. */
interface Group {
  readonly append: Append
  readonly items: ReadonlyArray<Item>
}

/** A flush that has so many appends takes no further run; more wait for the next. */
const batchSize = 500

/** So many runs go on after a flush before whatever else waits for the process has its turn. */
const slice = 25

/** So many runs have to wait before a second flush begins beside the first: fewer cost more than they gain. */
const secondLane = 50

/** An append that nothing can refuse for what it is: it neither begins, ends nor parks its run, and reserves nothing. */
const goesOn = ({ reserve, steps: [first, ...rest] }: Append): boolean =>
  reserve === undefined && first.before !== undefined && (rest.at(-1) ?? first).after.status === "running"

/** The appends as one. */
const merged = (first: Append, more: ReadonlyArray<Append>): Append => {
  if (more.length === 0) return first
  const steps: [Step, ...Array<Step>] = [...first.steps]
  const consumes = [...first.consumes]
  let { reserve } = first
  for (const append of more) {
    for (const step of append.steps) steps.push(step)
    for (const command of append.consumes) consumes.push(command)
    reserve = append.reserve
  }
  const append = { run: first.run, epoch: first.epoch, steps, consumes }
  return reserve === undefined ? append : { ...append, reserve }
}

/**
 * Puts appends of one run together, so that they cost as one: those that nothing can refuse, and where the store joins them the one after
 * them that something can.
 */
const group = (items: ReadonlyArray<Item>, joins: boolean): ReadonlyArray<Group> => {
  const groups: Array<[Item, ...Array<Item>]> = []
  const open = new Map<RunId, [Item, ...Array<Item>]>()
  for (const item of items) {
    const { append } = item
    const isLast = !goesOn(append)
    const before = open.get(append.run)
    const own: [Item, ...Array<Item>] = before !== undefined && before[0].append.epoch === append.epoch && (joins || !isLast) ? before : [item]
    if (own === before) own.push(item)
    else groups.push(own)
    if (isLast) open.delete(append.run)
    else open.set(append.run, own)
  }
  return groups.map((own) => ({ append: merged(own[0].append, own.slice(1).map((item) => item.append)), items: own }))
}

/** Groups of different runs at a time: of those of one run each after the one before it. */
const inTurns = (groups: ReadonlyArray<Group>): ReadonlyArray<ReadonlyArray<Group>> => {
  const turns: Array<Array<Group>> = []
  const next = new Map<RunId, number>()
  for (const one of groups) {
    const turn = next.get(one.append.run) ?? 0
    next.set(one.append.run, turn + 1)
    const own = turns[turn]
    if (own === undefined) turns.push([one])
    else own.push(one)
  }
  return turns
}

/** The append of an item as it was written in its group: what is granted changes the last event, which is that of the last item. */
const writtenOf = ({ append }: Item, { items }: Group, written: Append): Append => {
  if (items.length === 1) return written
  return append.reserve === undefined ? append : { ...append, steps: replaceLast(append.steps, written.steps.at(-1) ?? written.steps[0]) }
}

/**
 * What refuses a reservation or the end of a run does not refuse what the run did before it: that goes by itself, a moment later. Until
 * then what its attempt holds is held.
 */
const apart = (one: Group, outcome: Outcome): ReadonlyArray<Group> => {
  const last = one.items.at(-1)
  if (outcome._tag !== "Refused" || one.items.length === 1 || last === undefined || goesOn(last.append)) return []
  return [...group(one.items.slice(0, -1), false), { append: last.append, items: [last] }]
}

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

  const writeAll = (groups: ReadonlyArray<Group>): Effect.Effect<void> => Effect.forEach(inTurns(groups), write, { discard: true })

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
