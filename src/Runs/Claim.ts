import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Agent from "../Agent.ts"
import { Inbox } from "../Inbox.ts"
import type { Models } from "../Model.ts"
import {
  AgentNotRegistered, DefinitionChanged, Fenced, fold, isOver, type RunConflict, type RunEvent, type RunId, type RunState, StorageFailed,
  type Transcript
} from "../Run.ts"
import { type AppendError, RunLog, Store } from "../RunLog.ts"
import { type Journal, makeJournal } from "./Journal.ts"
import { failRun, performRun } from "./Loop.ts"
import { Registry } from "./Registry.ts"

/** How a run of this process stopped being performed: its state, or what kept it from going on. */
type Stopped = Deferred.Deferred<RunState, StorageFailed | Fenced>

interface Handle {
  readonly journal: Journal
  readonly stopped: Stopped
  fiber?: Fiber.Fiber<unknown>
}

type After = Extract<RunEvent, { _tag: "RunStarted" }>["after"]

/** An error of the log as a caller who waits for a run sees it. */
export const storage = (error: AppendError): StorageFailed | Fenced =>
  error._tag === "StorageFailed" || error._tag === "Fenced"
    ? error
    : new StorageFailed({ operation: "append", problem: error.message })

/** The runs that this process performs: begun here, or taken over; each by one fiber at most. */
export const makeClaims = Effect.gen(function*() {
  const log = yield* RunLog
  const store = yield* Store
  const inbox = yield* Inbox
  const registry = yield* Registry
  const scope = yield* Effect.scope
  const services = yield* Effect.context<RunLog | Models | Inbox>()
  const handles = new Map<RunId, Handle>()
  const claiming = new Map<RunId, Latch.Latch>()
  const agents = [...registry.values()].map((registered) => registered.agent.name)

  const find = (agent: string) =>
    Effect.suspend(() => {
      const registered = registry.get(agent)
      return registered === undefined
        ? Effect.fail(new AgentNotRegistered({ agent, registered: agents }))
        : Effect.succeed(registered)
    })

  /** Waits until nobody here is about to claim the run. */
  const claimed = (run: RunId): Effect.Effect<void> => Effect.suspend(() => claiming.get(run)?.await ?? Effect.void)

  /** Does something to a run that nobody here performs or is about to; `otherwise`, after that, where somebody does. */
  const alone = <A, E, R>(run: RunId, otherwise: A, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (handles.has(run)) return Effect.succeed(otherwise)
      if (claiming.has(run)) return Effect.as(claimed(run), otherwise)
      const done = Latch.makeUnsafe(false)
      claiming.set(run, done)
      return Effect.ensuring(effect, Effect.sync(() => {
        claiming.delete(run)
        done.openUnsafe()
      }))
    })

  /** The conversation of a session up to a place in one of its runs. */
  const historyOf = (after: After): Effect.Effect<ReadonlyArray<Transcript.Message>, StorageFailed> =>
    after === null ? Effect.succeed([]) : log.read(after.run).pipe(
      Stream.takeWhile((logged) => logged.seq <= after.seq),
      Stream.runFold((): RunState | undefined => undefined, fold),
      Effect.flatMap((state) =>
        state === undefined
          ? Effect.succeed([])
          : Effect.map(historyOf(state.started.after), (earlier) => [...earlier, ...state.messages])
      )
    )

  const readMail = (journal: Journal) => Effect.map(inbox.waiting(journal.run), journal.deliver)

  const open = (run: RunId, epoch: number, registered: Agent.Registered, after: After, state: RunState | undefined) =>
    Effect.flatMap(historyOf(after), (history) =>
      Effect.provideContext(makeJournal({ run, epoch, registered, history, state, services }), services))

  const launch = Effect.fnUntraced(function*(journal: Journal) {
    const stopped: Stopped = Deferred.makeUnsafe()
    const handle: Handle = { journal, stopped }
    handles.set(journal.run, handle)
    handle.fiber = yield* performRun(journal).pipe(
      Effect.andThen(journal.flushed),
      Effect.mapError(storage),
      Effect.andThen(Effect.sync(journal.state)),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (handles.get(journal.run) === handle) handles.delete(journal.run)
          // Who waits here is not interrupted with the run: the log tells how it goes on.
          const lost = Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
          Deferred.doneUnsafe(stopped, lost ? Effect.fail(new Fenced({ run: journal.run, epoch: journal.epoch })) : exit)
        })
      ),
      Effect.tapCause((cause) =>
        Cause.hasInterrupts(cause) ? Effect.void : Effect.logWarning(`Run ${journal.run} stopped`, Cause.squash(cause))
      ),
      Effect.exit,
      Effect.provideContext(services),
      Effect.forkIn(scope)
    )
  })

  /** Begins a run: durable and under way when this returns, whatever happens to the caller. */
  const begin = (
    run: RunId,
    registered: Agent.Registered,
    after: After,
    started: Extract<RunEvent, { _tag: "RunStarted" }>
  ): Effect.Effect<void, RunConflict | StorageFailed | Fenced> =>
    Effect.flatMap(open(run, 1, registered, after, undefined), (journal) =>
      journal.commit([started, { _tag: "RunClaimed", v: 1, runner: store.runner }]).pipe(
        Effect.mapError((error) => error._tag === "RunConflict" ? error : storage(error)),
        Effect.andThen(launch(journal)),
        Effect.uninterruptible,
        (effect) => alone(run, undefined, effect)
      ))

  const takeOverAlone = Effect.fnUntraced(function*(run: RunId, retry?: RunEvent) {
    const epoch = yield* store.claim(run, { over: retry !== undefined })
    if (Option.isNone(epoch)) return false
    const state = yield* log.state(run)
    const registered = yield* find(state.agent)
    const journal = yield* open(run, epoch.value, registered, state.started.after, state)
    const event: RunEvent = { _tag: "RunClaimed", v: 1, runner: store.runner }
    yield* journal.commit(retry === undefined ? [event] : [retry, event])
    yield* readMail(journal)
    // A cancelled run needs nothing of its agent any more.
    if (state.definition !== registered.definition.hash && !(yield* Deferred.isDone(journal.cancelled))) {
      const changed = { agent: state.agent, started: state.definition, registered: registered.definition.hash }
      yield* Effect.provideContext(failRun(journal, new DefinitionChanged(changed)), services)
    } else {
      yield* launch(journal)
      // A command that came before the handle was there to take it.
      yield* readMail(journal)
    }
    return true
  })

  /** Claims a run and goes on with it from its log, after `retry` if it had failed. False where somebody else has it. */
  const takeOver = (run: RunId, retry?: RunEvent) => alone(run, false, takeOverAlone(run, retry))

  /** Gives a run its mail, or takes it over if it needs somebody. False once there is nothing to do for it here. */
  const attend = Effect.fnUntraced(function*(run: RunId) {
    const handle = handles.get(run)
    if (handle !== undefined) {
      yield* readMail(handle.journal)
      return true
    }
    const row = yield* store.find(run)
    if (Option.isNone(row) || isOver(row.value.status) || !registry.has(row.value.agent)) return false
    yield* takeOver(run).pipe(
      Effect.catchTag(["RunNotFound", "AgentNotRegistered"], () => Effect.void),
      Effect.catchTag(["CommandsWaiting", "BudgetExceeded", "UnpricedModel", "RunConflict", "Fenced"], (error) =>
        Effect.logDebug(`Run ${run} was not taken over: ${error.message}`))
    )
    return true
  })

  return {
    agents,
    find,
    begin,
    claimed,
    takeOver,
    attend,
    /** The runs that this process performs. */
    performed: (): ReadonlyArray<RunId> => [...handles.keys()],
    stopped: (run: RunId): Stopped | undefined => handles.get(run)?.stopped,
    /** Interrupts every run without waiting for any. */
    drop: Effect.sync(() => {
      for (const { fiber } of handles.values()) fiber?.interruptUnsafe()
    })
  }
})

/** The runs that this process performs. */
export type Claims = Effect.Success<typeof makeClaims>
