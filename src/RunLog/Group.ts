import type * as Deferred from "effect/Deferred"
import type { RunId } from "../Run.ts"
import { type Append, type AppendError, replaceLast, type Step } from "./Append.ts"
import type { Outcome } from "./Store.ts"

/** An append on its way: done with the append as it was written, or with why it was not. */
export type Pending = Deferred.Deferred<Append, AppendError>

/** An append and whoever waits for it. */
export interface Item {
  readonly append: Append
  readonly pending: Pending
}

/** Appends of one run that are written as one. */
export interface Group {
  readonly append: Append
  readonly items: ReadonlyArray<Item>
}

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
export const group = (items: ReadonlyArray<Item>, joins: boolean): ReadonlyArray<Group> => {
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
export const inRounds = (groups: ReadonlyArray<Group>): ReadonlyArray<ReadonlyArray<Group>> => {
  const rounds: Array<Array<Group>> = []
  const next = new Map<RunId, number>()
  for (const one of groups) {
    const number = next.get(one.append.run) ?? 0
    next.set(one.append.run, number + 1)
    const round = rounds[number]
    if (round === undefined) rounds.push([one])
    else round.push(one)
  }
  return rounds
}

/** The append of an item as it was written in its group: what is granted changes the last event, which is that of the last item. */
export const writtenOf = ({ append }: Item, { items }: Group, written: Append): Append => {
  if (items.length === 1) return written
  return append.reserve === undefined ? append : { ...append, steps: replaceLast(append.steps, written.steps.at(-1) ?? written.steps[0]) }
}

/**
 * What refuses a reservation or the end of a run does not refuse what the run did before it: that goes by itself, a moment later. Until
 * then what its attempt holds is held.
 */
export const apart = (one: Group, outcome: Outcome): ReadonlyArray<Group> => {
  const last = one.items.at(-1)
  if (outcome._tag !== "Refused" || outcome.error._tag === "Fenced" || one.items.length === 1 || last === undefined || goesOn(last.append)) return []
  return [...group(one.items.slice(0, -1), false), { append: last.append, items: [last] }]
}
