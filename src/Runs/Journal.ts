import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import type { SqlError } from "effect/sql/SqlError"
import type { Registered } from "../Agent.ts"
import type { Waiting } from "../Inbox.ts"
import type { Resolved } from "../Model.ts"
import type { AttemptError, InboxId, Transcript } from "../Run.ts"
import { fold, type RunEvent, type RunId, type RunState } from "../Run.ts"
import { type Append, type AppendError, type Pending, type Reserve, RunLog, type Step, type Transaction } from "../RunLog.ts"
import { type Halt, makeHalts } from "./Halt.ts"

/** Events that are appended together. */
export type Events = readonly [RunEvent, ...ReadonlyArray<RunEvent>]

/** What goes with the events of an append. */
export interface With {
  readonly consumes?: ReadonlyArray<Waiting>
  readonly reserve?: Reserve
}

/** One run while this process performs it: its state, ahead of the log by what is on its way there. */
export interface Journal {
  readonly run: RunId
  readonly epoch: number
  readonly registered: Registered
  /** What runs of this process are performed with. */
  readonly services: Context.Context<never>
  readonly clock: Clock.Clock
  readonly log: RunLog["Service"]
  /** The conversation of the session before this run. */
  readonly history: ReadonlyArray<Transcript.Message>
  readonly state: () => RunState
  /** Takes events into account and puts them on their way, without waiting. */
  readonly emit: (events: Events, more?: With) => Effect.Effect<void>
  /** The same, and waits until they and everything before them is durable. */
  readonly commit: (events: Events, more?: With) => Effect.Effect<void, AppendError>
  /** Does SQL that commits together with the events that follow from it; nothing else of the run is written meanwhile. */
  readonly transact: <A, E, R>(
    transaction: Transaction,
    effect: Effect.Effect<A, E, R>,
    eventsOf: (result: A) => Events
  ) => Effect.Effect<void, E | SqlError | AppendError, R>
  /** Waits until everything emitted is durable. */
  readonly flushed: Effect.Effect<void, AppendError>
  /** Goes back to what the log says, where that refused something on its way there. */
  readonly rewind: (state: RunState) => void
  /** Keeps from now on what handlers that did not stop still want to write; what this returns may write. */
  readonly seal: () => Journal
  /** Takes in commands that have arrived; one that it has seen already is not taken in again. */
  readonly deliver: (letters: ReadonlyArray<Waiting>) => void
  /** True where commands were delivered since the last time that they were collected. */
  readonly hasMail: () => boolean
  /** The commands that were delivered since the last time. */
  readonly collect: () => ReadonlyArray<Waiting>
  /** Waits for a reason to stop what is under way, and says which. */
  readonly halted: Effect.Effect<Halt>
  /** Gives a reason to stop what is under way. */
  readonly halt: (reason: Halt) => void
  /** True once a command to cancel was delivered. */
  readonly isCancelled: () => boolean
  /** True where what is under way is about to be stopped. */
  readonly isHalting: () => boolean
  /** The budgets that paid for the last attempt, where one was made here. */
  scopes: ReadonlyArray<string> | undefined
  /** The model that was asked last, once it was looked up. */
  resolved: Resolved | undefined
  /** Ends the attempt under way, after its request was interrupted, with what it can have cost. */
  broken: ((on: Journal, error: AttemptError) => Effect.Effect<void>) | undefined
  /** Waits until no commit is under way. */
  readonly idle: Effect.Effect<void>
  /** Tools whose handlers run, by call, and since when. */
  readonly running: Map<string, { readonly name: string; readonly since: number }>
}

const none: ReadonlyArray<Waiting> = []

/** What became of an append, where that is known without waiting, as in memory. */
const outcomeOf = ({ effect }: Pending): Exit.Exit<Append, AppendError> | undefined =>
  effect !== undefined && Exit.isExit(effect) ? effect as Exit.Exit<Append, AppendError> : undefined // an effect of these types that is an exit

/** Opens the journal of a run that this process owns in that epoch; with no state, for its first events. */
export const makeJournal = Effect.fnUntraced(function*(options: {
  readonly run: RunId
  readonly epoch: number
  readonly registered: Registered
  readonly history: ReadonlyArray<Transcript.Message>
  readonly state: RunState | undefined
  readonly services: Context.Context<never>
}) {
  const log = yield* RunLog
  const clock = yield* Clock.Clock
  const idle = Latch.makeUnsafe(true)
  let committing = 0
  let current = options.state
  let outstanding: Array<Pending> = []

  const state = (): RunState => {
    if (current === undefined) throw new Error(`The journal of run ${options.run} has no RunStarted yet`)
    return current
  }

  const build = (events: Events, more?: With): Append => {
    const at = clock.currentTimeMillisUnsafe()
    const step = (event: RunEvent): Step => {
      const before = current
      const logged = { run: options.run, seq: (before?.seq ?? 0) + 1, epoch: options.epoch, at, event }
      const after = fold(before, logged)
      current = after
      return { logged, before, after }
    }
    const steps: [Step, ...Array<Step>] = [step(events[0])]
    for (const event of events.slice(1)) steps.push(step(event))
    const consumes = (more?.consumes ?? none).map(({ id }) => ({ id, seq: steps[0].logged.seq }))
    const append: Append = { run: options.run, epoch: options.epoch, steps, consumes }
    return more?.reserve === undefined ? append : { ...append, reserve: more.reserve }
  }

  /** The flush may have changed the last event, as the budget does with what it grants. */
  const learn = (append: Append) => {
    const last = append.steps.at(-1)
    if (last !== undefined && last.logged.seq === current?.seq) current = last.after
  }

  /** Waits for appends, without waiting for those that are written. */
  const settled = (pending: ReadonlyArray<Pending>): Effect.Effect<void, AppendError> =>
    Effect.suspend(() => {
      const open = pending.findIndex((one) => outcomeOf(one)?._tag !== "Success")
      return open < 0 ? Effect.void : Effect.forEach(pending.slice(open), Deferred.await, { discard: true })
    })

  /** What was emitted and nobody has waited for, from now on waited for by whoever takes it. */
  const takeOutstanding = (): ReadonlyArray<Pending> => {
    const taken = outstanding
    outstanding = []
    return taken
  }

  const flushed = Effect.suspend(() => settled(takeOutstanding()))

  const commit: Journal["commit"] = (events, more) =>
    Effect.suspend(() => {
      const before = current
      const pending = log.submit(build(events, more))
      const done = outstanding.length === 0 ? outcomeOf(pending) : undefined
      if (done !== undefined) {
        if (Exit.isSuccess(done)) learn(done.value)
        else current = before
        return Effect.asVoid(done)
      }
      committing++
      idle.closeUnsafe()
      // What was emitted before it is settled before it, so that this waits once.
      const sooner = takeOutstanding()
      return Effect.exit(Deferred.await(pending)).pipe(
        Effect.flatMap((exit) => Effect.andThen(settled(sooner), exit)),
        Effect.map(learn),
        Effect.tapError(() => Effect.sync(() => current = before)),
        Effect.ensuring(Effect.sync(() => {
          committing--
          if (committing === 0) idle.openUnsafe()
        })),
        // What the flush grants must be known before anything else is decided.
        Effect.uninterruptible
      )
    })

  const emit: Journal["emit"] = (events, more) =>
    Effect.sync(() => {
      const pending = log.submit(build(events, more))
      const done = outcomeOf(pending)
      if (done === undefined || Exit.isFailure(done)) outstanding.push(pending)
    })

  const transact = <A, E, R>(
    transaction: Transaction,
    effect: Effect.Effect<A, E, R>,
    eventsOf: (result: A) => Events,
    isSealed: () => boolean
  ) =>
    Effect.andThen(Effect.andThen(flushed, idle.await), Effect.suspend(() => {
      const before = current
      // A transaction that outlives its part of the run must not be written, nor change what goes on without it.
      const appendOf = (result: A): Append | undefined => {
        if (isSealed()) return undefined
        current = before
        return build(eventsOf(result))
      }
      return Effect.onError(transaction.perform(effect, appendOf, learn), () =>
        Effect.sync(() => {
          if (!isSealed()) current = before
        }))
    }))

  const mail: Array<Waiting> = []
  const seen = new Set<InboxId>()
  const { halt, halted, isAsked, isHalting } = makeHalts()
  const running: Journal["running"] = new Map()

  /** The journal as one that may write until it is sealed. */
  const view = (): Journal => {
    let sealed = false
    let held: Latch.Latch | undefined
    /** Writes when nothing keeps it: a transaction of the run for its time, a seal for good. */
    const free = <A, E, R>(write: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => sealed ? Effect.never : held === undefined ? write : Effect.andThen(held.await, free(write)))
    return {
      run: options.run,
      epoch: options.epoch,
      registered: options.registered,
      services: options.services,
      clock,
      log,
      history: options.history,
      state,
      flushed,
      commit: (events, more) => free(commit(events, more)),
      emit: (events, more) => free(emit(events, more)),
      transact: (transaction, effect, eventsOf) =>
        free(Effect.suspend(() => {
          const hold = Latch.makeUnsafe(false)
          held = hold
          return Effect.ensuring(transact(transaction, effect, eventsOf, () => sealed), Effect.sync(() => {
            held = undefined
            hold.openUnsafe()
          }))
        })),
      rewind: (state) => {
        current = state
        outstanding = []
      },
      seal: () => {
        sealed = true
        return view()
      },
      deliver: (letters) => {
        for (const letter of letters) {
          if (seen.has(letter.id)) continue
          seen.add(letter.id)
          mail.push(letter)
          if (letter.command._tag === "Cancel") halt("cancelled")
          if (letter.command._tag === "Message" && letter.command.mode === "interrupt") halt("interrupted")
        }
      },
      hasMail: () => mail.length > 0,
      collect: () => mail.splice(0),
      halted,
      halt,
      isCancelled: () => isAsked("cancelled"),
      isHalting,
      idle: idle.await,
      scopes: undefined,
      resolved: undefined,
      broken: undefined,
      running
    }
  }
  return view()
})
