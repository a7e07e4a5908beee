import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Registered, withTools } from "../Agent.ts"
import { Inbox } from "../Inbox.ts"
import type { Models, Router } from "../Model.ts"
import { CurrentOrg, CurrentPrincipal } from "../Org.ts"
import {
  AgentNotRegistered, type DefinitionHash, Fenced, fold, isOver, type OrgId, type RunConflict, type RunEvent, type RunId, type RunState, ShuttingDown, StorageFailed
} from "../Run.ts"
import { type AppendError, RunLog, Store } from "../RunLog.ts"
import * as Telemetry from "../Telemetry.ts"
import { wholeOf } from "./Conversation.ts"
import { continued } from "./Definition.ts"
import { type Journal, makeJournal } from "./Journal.ts"
import { failRun, performRun } from "./Loop.ts"
import { Registry } from "./Registry.ts"
import { type Before, measuredAt, nothingBefore, roomOf } from "./Room.ts"
import { agentSpan } from "./Spans.ts"

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

/** What became of the runs of a process that ends. */
export interface Drained {
  /** Ended, or parked of themselves, in time. */
  readonly finished: ReadonlyArray<RunId>
  /** Left to the next process, which takes them over at once. */
  readonly parked: ReadonlyArray<RunId>
}

/** Milliseconds for which a run that cannot be performed is left alone at most. */
const longestRest = 30_000

/** How long runs have to be parked when their process ends. */
const parkTime = Duration.seconds(2)

/** The runs that this process performs: begun here, or taken over; each by one fiber at most. */
export const makeClaims = Effect.gen(function*() {
  const log = yield* RunLog
  const store = yield* Store
  const inbox = yield* Inbox
  const registry = yield* Registry
  // Runs are parked before their fibers are interrupted, so these have a scope of their own.
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) =>
    // A handler that cannot be interrupted must not keep the process.
    Effect.flatMap(Effect.forkDetach(Scope.close(scope, exit)), (fiber) =>
      Effect.interruptible(Effect.timeoutOption(Fiber.await(fiber), parkTime))))
  const services = yield* Effect.context<RunLog | Models | Router | Inbox>()
  const handles = new Map<RunId, Handle>()
  const claiming = new Map<RunId, Latch.Latch>()
  let isDraining = false
  /** Runs that could not be performed, how often in a row, and until when they are left alone. */
  const troubles = new Map<RunId, { readonly times: number; readonly until: number }>()
  const clock = yield* Clock.Clock
  const trouble = (run: RunId) => {
    const times = (troubles.get(run)?.times ?? 0) + 1
    troubles.set(run, { times, until: clock.currentTimeMillisUnsafe() + Math.min(longestRest, 500 * 2 ** times) })
  }
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

  /**
   * The conversation of a session up to a place in one of its runs, as it goes on under a definition; at least its last `wanted`
   * messages. Runs whose part of it was summarised since are not read again.
   */
  const historyOf = (after: After, definition: DefinitionHash, wanted = Infinity): Effect.Effect<Before, StorageFailed> =>
    after === null ? Effect.succeed(nothingBefore) : log.read(after.run).pipe(
      Stream.takeWhile((logged) => logged.seq <= after.seq),
      Stream.runFold((): RunState | undefined => undefined, fold),
      Effect.flatMap((state) => {
        if (state === undefined) return Effect.succeed(nothingBefore)
        const left = Math.min(state.earlier.kept ?? Infinity, wanted - state.messages.length)
        const earlier = left <= 0 ? Effect.succeed(nothingBefore) : historyOf(state.started.after, definition, left)
        return Effect.map(earlier, ({ messages }): Before => ({ messages: wholeOf(messages, state, definition), measured: measuredAt(state) }))
      })
    )

  const readMail = (journal: Journal) => Effect.map(inbox.waiting(journal.run), journal.deliver)

  type Opening = Pick<Extract<RunEvent, { _tag: "RunStarted" }>, "after" | "tools">

  const open = (run: RunId, epoch: number, agent: Registered, { after, tools }: Opening, state: RunState | undefined) =>
    Effect.flatMap(historyOf(after, agent.definition.hash), (before) => {
      const registered = withTools(agent, tools)
      return Effect.map(
        Effect.provideContext(makeJournal({ run, epoch, registered, history: before.messages, state, services }), services),
        (journal) => ({ journal, before })
      )
    })

  /** What a handler asks of the runtime it asks for the organisation of its run. A context that need not grow is copied faster. */
  const ownOf = ({ org, principal }: RunState["started"]) => {
    const ours = Context.get(services, CurrentOrg) === org ? services : Context.add(services, CurrentOrg, org)
    return Context.get(services, CurrentPrincipal) === principal ? ours : Context.add(ours, CurrentPrincipal, principal)
  }

  const launch = Effect.fnUntraced(function*(journal: Journal) {
    const stopped: Stopped = Deferred.makeUnsafe()
    const own = ownOf(journal.state().started)
    const handle: Handle = { journal, stopped }
    handles.set(journal.run, handle)
    const parent = yield* Effect.withFiber((fiber) => Effect.succeed(fiber.cache.tracer === undefined ? undefined : fiber.cache.span))
    handle.fiber = yield* Telemetry.within(agentSpan(journal, parent), performRun(journal)).pipe(
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
      Effect.tapCause((cause) => {
        if (Cause.hasInterrupts(cause)) return Effect.void
        trouble(journal.run)
        return Effect.logWarning(`Run ${journal.run} stopped`, Cause.squash(cause))
      }),
      Effect.tap(Effect.sync(() => troubles.delete(journal.run))),
      Effect.exit,
      // What its starter has around it, such as a transaction, is not the run's.
      Effect.updateContext((_starter: Context.Context<never>) => own),
      Effect.forkIn(scope)
    )
  })

  /** Begins a run: durable and under way when this returns, whatever happens to the caller. */
  const begin = (
    run: RunId,
    registered: Registered,
    given: Omit<Extract<RunEvent, { _tag: "RunStarted" }>, "context">
  ): Effect.Effect<void, RunConflict | StorageFailed | Fenced | ShuttingDown> =>
    isDraining ? Effect.fail(new ShuttingDown({})) : Effect.gen(function*() {
      const { before, journal } = yield* open(run, 1, registered, given, undefined)
      const room = roomOf(journal.registered, [given.model, ...given.fallback ?? []], given.limits, before)
      const started: RunEvent = { ...given, context: yield* Effect.provideContext(room, services) }
      yield* journal.commit([started, { _tag: "RunClaimed", v: 1, runner: store.runner }]).pipe(
        Effect.mapError((error) => error._tag === "RunConflict" ? error : storage(error)),
        Effect.andThen(launch(journal)),
        Effect.uninterruptible,
        (effect) => alone(run, undefined, effect)
      )
    })

  const takeOverAlone = Effect.fnUntraced(function*(run: RunId, retry?: RunEvent) {
    const epoch = yield* store.claim(run, { over: retry !== undefined })
    if (Option.isNone(epoch)) return false
    const state = yield* log.state(run)
    const now = yield* find(state.agent)
    const change = yield* Effect.result(continued(store, state, now))
    if (Result.isFailure(change) && change.failure._tag === "StorageFailed") return yield* change.failure
    const { event, registered } = Result.getOrElse(change, () => ({ registered: now, event: undefined }))
    const { journal } = yield* open(run, epoch.value, registered, state.started, state)
    const claimed: RunEvent = { _tag: "RunClaimed", v: 1, runner: store.runner }
    const events = [claimed, ...(event === undefined ? [] : [event])] as const
    yield* journal.commit(retry === undefined ? events : [retry, ...events])
    yield* readMail(journal)
    // A cancelled run needs nothing of its agent any more.
    if (Result.isFailure(change) && change.failure._tag === "DefinitionChanged" && !journal.isCancelled()) {
      yield* Effect.provideContext(failRun(journal, change.failure), services)
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
    if (isDraining || Option.isNone(row) || isOver(row.value.status) || !registry.has(row.value.agent)) return false
    yield* takeOver(run).pipe(
      Effect.tapCause((cause) => Effect.sync(() => Cause.hasInterrupts(cause) ? undefined : trouble(run))),
      Effect.catchTag(["RunNotFound", "AgentNotRegistered"], () => Effect.void),
      Effect.catchTag(["CommandsWaiting", "BudgetExceeded", "UnpricedModel", "RunConflict", "Fenced"], (error) =>
        Effect.logDebug(`Run ${run} was not taken over: ${error.message}`))
    )
    return true
  })

  /** Takes no new runs, waits for those under way, and parks what is not done in time. Which runs became what. */
  const drain = Effect.fnUntraced(function*(within: Duration.Duration): Effect.fn.Return<Drained> {
    isDraining = true
    const wait = (all: ReadonlyArray<Handle>) =>
      Effect.forEach(all, ({ stopped }) => Effect.exit(Deferred.await(stopped)), { concurrency: "unbounded" })
    const first = [...handles.values()]
    yield* Effect.timeoutOption(wait(first), within)
    const left = [...handles.values()]
    for (const { journal } of left) journal.halt("shutdown")
    yield* Effect.timeoutOption(wait(left), parkTime)
    const all = [...new Set([...first, ...left])]
    const isFinished = ({ journal }: Handle) => {
      const { parked, status } = journal.state()
      return handles.get(journal.run)?.journal !== journal && (isOver(status) || (status === "parked" && parked !== "shutdown"))
    }
    const runsOf = (some: ReadonlyArray<Handle>) => some.map(({ journal }) => journal.run)
    return { finished: runsOf(all.filter(isFinished)), parked: runsOf(all.filter((handle) => !isFinished(handle))) }
  })

  return {
    agents,
    find,
    begin,
    claimed,
    takeOver,
    attend,
    /** The runs that could not be performed and are left alone for now, so that they do not keep this process busy. */
    resting: (): ReadonlyArray<RunId> => {
      const now = clock.currentTimeMillisUnsafe()
      return [...troubles].flatMap(([run, { until }]) => until > now ? [run] : [])
    },
    drain,
    /** The runs that this process performs. */
    performed: (): ReadonlyArray<RunId> => [...handles.keys()],
    stopped: (run: RunId): Stopped | undefined => handles.get(run)?.stopped,
    /** Whose a run is that this process performs. */
    orgOf: (run: RunId): OrgId | undefined => handles.get(run)?.journal.state().started.org,
    /** Interrupts every run without waiting for any. */
    drop: Effect.sync(() => {
      for (const { fiber } of handles.values()) fiber?.interruptUnsafe()
    })
  }
})

/** The runs that this process performs. */
export type Claims = Effect.Success<typeof makeClaims>
