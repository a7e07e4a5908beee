import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import type { Waiting } from "../Inbox.ts"
import * as Money from "../Money.ts"
import { BudgetExceeded, Fenced, fold, InboxId, isOver, type Logged, RunEvent, type RunState } from "../Run.ts"
import { type Append, CommandsWaiting, type Pending } from "../RunLog.ts"
import { difference } from "./Difference.ts"

/** Where a replay went another way than the log, and how. */
export interface Divergence {
  /** The place in the log. */
  readonly seq: number
  readonly what: string
  readonly difference: string
}

/** An event that was submitted before its turn, as calls that run at the same time may. */
interface Early {
  readonly event: RunEvent
  readonly settle: () => void
}

const encode = Schema.encodeUnknownSync(RunEvent)

const text = (event: RunEvent): string => JSON.stringify(encode(event), null, 2)

/**
 * The event with what the world measured and the budgets granted as the log has it: times, costs, the names of processes
 * and price lists. What the agent and its tools did stays.
 */
const measuredAs = (recorded: RunEvent, event: RunEvent): RunEvent => {
  if (event._tag === "RunStarted" && recorded._tag === "RunStarted") {
    return { ...event, definition: recorded.definition, limits: recorded.limits }
  }
  if (event._tag === "TurnStarted" && recorded._tag === "TurnStarted") {
    const { maxOutput, prices, reserved, scopes, warnings } = recorded
    return { ...event, maxOutput, prices, reserved, scopes, ...(warnings === undefined ? {} : { warnings }) }
  }
  if (event._tag === "TurnCompleted" && recorded._tag === "TurnCompleted") return { ...event, bill: recorded.bill }
  if (event._tag === "AttemptFailed" && recorded._tag === "AttemptFailed") return { ...event, bill: recorded.bill }
  if (event._tag === "ContextCompacted" && recorded._tag === "ContextCompacted") return { ...event, bill: recorded.bill }
  if (event._tag === "ToolCompleted" && recorded._tag === "ToolCompleted") return { ...event, durationMs: recorded.durationMs }
  if (event._tag === "ApprovalRequested" && recorded._tag === "ApprovalRequested") return { ...event, expiresAt: recorded.expiresAt }
  if (event._tag === "RunCancelled" && recorded._tag === "RunCancelled") return { ...event, left: recorded.left }
  return event
}

const callOf = (event: RunEvent): string | undefined => "call" in event && event._tag !== "ToolResolved" ? event.call : undefined

/** The command that an event records. */
const letterOf = ({ event, run, seq }: Logged, state: RunState): Waiting | undefined => {
  const calls = state.open?.calls ?? []
  switch (event._tag) {
    case "MessageReceived": {
      const command = { _tag: "Message", text: event.text } as const
      return { id: event.message, run, by: event.by, command: event.mode === undefined ? command : { ...command, mode: event.mode } }
    }
    case "CancelRequested":
      return { id: InboxId.make(`${run}.${seq}`), run, by: event.by, command: { _tag: "Cancel", reason: event.reason } }
    case "ApprovalDecided": {
      if (event.decision === "expired") return undefined
      const { approval, by, comment, decision, parameters } = event
      const digest = calls.find((call) => call.approval?.id === approval)?.approval?.digest ?? ""
      return { id: InboxId.make(`${run}.${seq}`), run, by, command: { _tag: "Decision", approval, digest, decision, parameters, comment } }
    }
    case "ToolResolved": {
      const { by, call, comment, resolution, result } = event
      return { id: InboxId.make(`${run}.${seq}`), run, by, command: { _tag: "Resolve", call, resolution, result, comment } }
    }
    case "CommandRefused": {
      const { by, command: id, kind, problem } = event
      if (kind === "resolve") {
        return { id, run, by, command: { _tag: "Resolve", call: "", resolution: "happened", result: null, comment: null } }
      }
      const known = calls.find(({ approval, status }) => approval !== null && (status === "waiting") === problem.includes("another request"))
      const approval = problem.startsWith("nothing waits") ? undefined : known?.approval?.id
      const decision = { digest: "", decision: "denied", parameters: null, comment: null } as const
      return { id, run, by, command: { _tag: "Decision", approval: (approval ?? "") as never, ...decision } } // the id of no request
    }
    default:
      return undefined
  }
}

/** True for a command that interrupts what the run is doing. */
const isHalting = ({ event }: Logged): boolean =>
  event._tag === "CancelRequested" || (event._tag === "MessageReceived" && event.mode === "interrupt")

/** True for an event that says that what was under way was broken off. */
const isConsequence = ({ event }: Logged): boolean =>
  event._tag === "ToolUnknown" ||
  (event._tag === "ToolCompleted" && event.outcome === "cancelled") ||
  (event._tag === "AttemptFailed" && ["Cancelled", "Interrupted", "Shutdown"].includes(event.error.reason))

/** True where a process takes the run over. */
const isEntry = ({ event, seq }: Logged): boolean => seq > 1 && (event._tag === "RunRetried" || event._tag === "RunClaimed")

/** The log that is played again: it knows what comes next, and compares it with what is submitted. */
export const makeScore = (log: ReadonlyArray<Logged>, options: { readonly onTime: (at: number) => void }) => {
  let cursor = 0
  let state: RunState | undefined
  let divergence: Divergence | undefined
  let epoch = 0
  let isEntering = false
  let deliver: (letters: ReadonlyArray<Waiting>) => void = () => {}
  const played: Array<Logged> = []
  const early: Array<Early> = []
  const waiters = new Set<Latch.Latch>()

  const next = (): Logged | undefined => log[cursor]

  /** The end of what the process that performs the run does: where the next one takes over, or the log ends. */
  const end = (): number => {
    const index = log.findIndex((logged, index) => index > cursor && isEntry(logged) && (logged.event._tag === "RunRetried" || log[index - 1]?.event._tag !== "RunRetried"))
    return index === -1 ? log.length : index
  }

  /** Lets everybody look again whether it is their turn. */
  const call = () => {
    const all = [...waiters]
    waiters.clear()
    for (const waiter of all) waiter.openUnsafe()
  }

  /** The commands of which the log tells next, as far as a test says. */
  const waiting = (is: (logged: Logged) => boolean): ReadonlyArray<Waiting> => {
    const letters: Array<Waiting> = []
    let after = state
    for (const logged of log.slice(cursor)) {
      const letter = after === undefined || !is(logged) ? undefined : letterOf(logged, after)
      if (letter === undefined) break
      letters.push(letter)
      after = fold(after, logged)
    }
    return letters
  }

  const diverge = (what: string, then: string, now: string) => {
    divergence ??= { seq: next()?.seq ?? log.length, what, difference: difference(then, now) }
    call()
  }

  const isOut = (): boolean => {
    const logged = next()
    return divergence !== undefined || logged === undefined || (isEntry(logged) && !isEntering)
  }

  const accept = (event: RunEvent): boolean => {
    const recorded = next()
    if (recorded === undefined) return false
    const measured = measuredAs(recorded.event, event)
    const [then, now] = [text(recorded.event), text(measured)]
    if (then !== now) {
      diverge(`event ${recorded.seq} is another one`, then, now)
      return false
    }
    played.push({ ...recorded, event: measured })
    state = fold(state, recorded)
    cursor++
    options.onTime(recorded.at)
    return true
  }

  /** Takes in what came before its turn and has its turn now, delivers commands, and lets those go on who wait for their place. */
  const advance = () => {
    for (let moved = true; moved;) {
      moved = false
      const recorded = next()
      const id = recorded === undefined ? undefined : callOf(recorded.event)
      const index = id === undefined || isOut() ? -1 : early.findIndex((one) => callOf(one.event) === id)
      const [one] = index === -1 ? [] : early.splice(index, 1)
      if (one !== undefined && accept(one.event)) {
        one.settle()
        moved = true
      }
    }
    if (!isOut()) deliver(waiting((logged) => !isHalting(logged)))
    call()
  }

  const fenced = (run: Append["run"], epoch: number): Pending => {
    const pending: Pending = Deferred.makeUnsafe()
    Deferred.doneUnsafe(pending, Effect.fail(new Fenced({ run, epoch })))
    return pending
  }

  const rests = ({ steps }: Append): boolean => {
    const { status } = (steps.at(-1) ?? steps[0]).after
    return status === "parked" || isOver(status)
  }

  /** The append as the log has it: with the state that follows from what is recorded. */
  const recordedAs = (append: Append): Append => {
    const [first, ...rest] = append.steps
    const last = rest.at(-1) ?? first
    const logged = played.at(-1) ?? last.logged
    // What calls submitted before its turn is not in the state yet.
    return state === undefined || callOf(last.logged.event) !== undefined ? append : { ...append, steps: [{ ...last, logged: { ...logged, seq: last.logged.seq }, after: { ...state, seq: last.logged.seq } }] }
  }

  const submit = (append: Append): Pending => {
    const pending: Pending = Deferred.makeUnsafe()
    if (append.epoch !== epoch || isOut()) return fenced(append.run, append.epoch)
    const recorded = next()
    const [first] = append.steps
    if (recorded !== undefined && rests(append) && state !== undefined && letterOf(recorded, state) !== undefined) {
      Deferred.doneUnsafe(pending, Effect.fail(new CommandsWaiting({ run: append.run })))
      return pending
    }
    // A budget that did not cover the attempt refused it, and so the log has the failure in its place.
    if (append.reserve !== undefined && recorded?.event._tag === "RunFailed") {
      const { error } = recorded.event
      if (error._tag === "BudgetExceeded" || error._tag === "UnpricedModel") {
        Deferred.doneUnsafe(pending, Effect.fail(error))
        return pending
      }
    }
    // Of a summary it only tells that it was refused.
    if (append.reserve !== undefined && recorded?.event._tag === "ContextShortened" && recorded.event.because === "BudgetExceeded") {
      const refused = { limit: Money.zero, spent: Money.zero, reserved: Money.zero, asked: Money.zero }
      Deferred.doneUnsafe(pending, Effect.fail(new BudgetExceeded({ scope: `run:${append.run}`, ...refused })))
      return pending
    }
    const id = callOf(first.logged.event)
    if (id !== undefined && append.steps.length === 1 && recorded !== undefined && callOf(recorded.event) !== id) {
      if (log.slice(cursor, end()).some((logged) => callOf(logged.event) === id)) {
        early.push({ event: first.logged.event, settle: () => Deferred.doneUnsafe(pending, Effect.succeed(append)) })
        return pending
      }
    }
    for (const { logged } of append.steps) if (!accept(logged.event)) return fenced(append.run, append.epoch)
    Deferred.doneUnsafe(pending, Effect.succeed(recordedAs(append)))
    advance()
    return pending
  }

  /** The events of a call that this process has still to write. */
  const ahead = (call: string): ReadonlyArray<RunEvent> =>
    log.slice(cursor, end()).flatMap(({ event }) => callOf(event) === call ? [event] : [])

  /** Waits until the next event is the first of those that a test says yes to; for ever where none is. */
  const turnOf = (is: (event: RunEvent) => boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      const recorded = next()
      if (!isOut() && recorded !== undefined && is(recorded.event)) return Effect.void
      if (isOut() || !log.slice(cursor, end()).some(({ event }) => is(event))) return Effect.never
      const latch = Latch.makeUnsafe(false)
      waiters.add(latch)
      return latch.await.pipe(Effect.ensuring(Effect.sync(() => waiters.delete(latch))), Effect.andThen(turnOf(is)))
    })

  return {
    submit,
    next,
    ahead,
    turnOf,
    diverge,
    isOut,
    state: () => state,
    divergence: () => divergence,
    played,
    /** The commands of which the log tells next. */
    waiting: () => waiting(() => true),
    /** What breaks off what is under way, where the log says so next: a command, or the end of the process. */
    halt: (): Waiting | "shutdown" | undefined => {
      for (const logged of log.slice(cursor, end())) {
        if (logged.event._tag === "RunParked" && logged.event.reason === "shutdown") return "shutdown"
        if (state !== undefined && isHalting(logged)) return letterOf(logged, state)
        if (!isConsequence(logged)) return undefined
      }
      return undefined
    },
    /** Lets a process take the run over, which gets its commands by `deliver` from then on. */
    enter: (as: number, to: (letters: ReadonlyArray<Waiting>) => void) => {
      epoch = as
      early.length = 0
      deliver = () => {}
      isEntering = true
      return () => {
        isEntering = false
        deliver = to
      }
    }
  }
}

/** The log that is played again. */
export type Score = ReturnType<typeof makeScore>
