import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Agent from "./Agent.ts"
import { Inbox } from "./Inbox.ts"
import type { Models } from "./Model.ts"
import {
  AgentNotRegistered, clean, DefinitionChanged, type Fenced, InvalidInput, isOver, type Limits, type ModelRef, type OrgId, RunConflict,
  type RunEvent, RunId, type RunNotFound, type RunState, SessionId, StorageFailed, type Transcript
} from "./Run.ts"
import { type AppendError, LeaseRenewal, LeaseTime, RunLog, Store } from "./RunLog.ts"
import { type Journal, makeJournal } from "./Runs/Journal.ts"
import { failRun, performRun } from "./Runs/Loop.ts"

/** The longest input of a run, in characters of its JSON: longer material belongs where a tool can read it. */
export const maxInput = 2_000_000

/**
 * Whether this process looks for runs that nobody performs and takes them over; true by default. A program that is there
 * for one run says false: it performs what it starts and what it is told to attend to.
 */
export const TakesOver = Context.Reference<boolean>("conductor-ai/Runs/TakesOver", { defaultValue: () => true })

/** What a run is started with. */
export interface Start {
  readonly agent: string
  /** The decoded input. */
  readonly input: unknown
  readonly org: OrgId
  readonly principal: string
  /** The conversation that the run goes on with; a new one by default. */
  readonly session?: string
  /** Another model than the agent's. */
  readonly model?: ModelRef
  /** Limits that replace the agent's. */
  readonly limits?: Partial<Limits>
  /** The project that audit rows are filed under. */
  readonly sourceProject?: string
}

/** Why a run could not be started. */
export type StartError = AgentNotRegistered | InvalidInput | RunConflict | StorageFailed | Fenced

/** How a run of this process stopped being performed: its state, or what kept it from going on. */
type Stopped = Deferred.Deferred<RunState, StorageFailed | Fenced>

interface Handle {
  readonly journal: Journal
  readonly stopped: Stopped
  fiber?: Fiber.Fiber<unknown>
}

/** The agents of this process, by name. */
export class Registry extends Context.Service<Registry, ReadonlyMap<string, Agent.Registered>>()("conductor-ai/Runs/Registry") {}

const storage = (error: AppendError): StorageFailed | Fenced =>
  error._tag === "StorageFailed" || error._tag === "Fenced"
    ? error
    : new StorageFailed({ operation: "append", problem: error.message })

/** Starts runs, performs those that this process owns, and takes over those that nobody performs. */
export class Runs extends Context.Service<Runs, {
  /** Starts a run; when this returns, it is durable and under way. */
  readonly start: (start: Start) => Effect.Effect<RunId, StartError>
  /** Waits until a run is over or parked. */
  readonly settled: (run: RunId) => Effect.Effect<RunState, RunNotFound | StorageFailed | Fenced>
  /** Lets a failed run go on from its log, under its limits counted anew. */
  readonly retry: (run: RunId, options: { readonly principal: string; readonly limits?: Partial<Limits> }) => Effect.Effect<
    void,
    RunNotFound | RunConflict | AgentNotRegistered | StorageFailed | Fenced
  >
  /** Takes a run over if it needs somebody and its agent is registered here. */
  readonly attend: (run: RunId) => Effect.Effect<void, StorageFailed>
}>()("conductor-ai/Runs") {
  static readonly layer = Layer.effect(Runs, Effect.gen(function*() {
    const log = yield* RunLog
    const store = yield* Store
    const inbox = yield* Inbox
    const registry = yield* Registry
    const random = yield* SecureRandom.SecureRandom
    const clock = yield* Clock.Clock
    const lease = Duration.toMillis(yield* LeaseTime)
    const renewal = yield* LeaseRenewal
    const takesOver = yield* TakesOver
    const scope = yield* Effect.scope
    const services = yield* Effect.context<RunLog | Models | Inbox>()
    const handles = new Map<RunId, Handle>()
    const told = new Set<RunId>()
    const agents = [...registry.values()].map((registered) => registered.agent.name)

    for (const { agent, definition } of registry.values()) {
      yield* store.define(definition.hash, agent.name, definition.text)
    }

    const find = (agent: string) =>
      Effect.suspend(() => {
        const registered = registry.get(agent)
        return registered === undefined
          ? Effect.fail(new AgentNotRegistered({ agent, registered: agents }))
          : Effect.succeed(registered)
      })

    /** The conversation of the session up to and with a run. */
    const historyOf = (run: RunId | null): Effect.Effect<ReadonlyArray<Transcript.Message>, StorageFailed> =>
      run === null ? Effect.succeed([]) : log.state(run).pipe(
        Effect.flatMap((state) =>
          Effect.map(historyOf(state.started.after), (earlier) => [...earlier, ...state.messages])
        ),
        Effect.catchTag("RunNotFound", () => Effect.succeed([]))
      )

    const readMail = (journal: Journal) => Effect.map(inbox.waiting(journal.run), journal.deliver)

    const launch = Effect.fnUntraced(function*(journal: Journal) {
      const stopped: Stopped = Deferred.makeUnsafe()
      const handle: Handle = { journal, stopped }
      handles.set(journal.run, handle)
      const fiber = yield* performRun(journal).pipe(
        Effect.andThen(journal.flushed),
        Effect.mapError(storage),
        Effect.andThen(Effect.sync(journal.state)),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            handles.delete(journal.run)
            told.delete(journal.run)
            Deferred.doneUnsafe(stopped, exit)
          })
        ),
        Effect.tapCause((cause) =>
          Cause.hasInterrupts(cause) ? Effect.void : Effect.logWarning(`Run ${journal.run} stopped`, Cause.squash(cause))
        ),
        Effect.exit,
        Effect.provideContext(services),
        Effect.forkIn(scope)
      )
      handle.fiber = fiber
      return handle
    })

    const start = Effect.fn("Runs.start")(function*(options: Start) {
      const registered = yield* find(options.agent)
      const { agent, definition } = registered
      const { input, prompt } = yield* encodeInput(agent, options.input)
      const run = RunId.make(yield* random.uuidV7())
      const session = SessionId.make(options.session ?? (yield* random.uuidV7()))
      const before = options.session === undefined ? Option.none() : yield* store.latest(options.org, session)
      const after = Option.isSome(before) ? before.value.run : null
      const history = yield* historyOf(after)
      const journal = yield* Effect.provideContext(
        makeJournal({ run, epoch: 1, registered, history, state: undefined }),
        services
      )
      const started = {
        _tag: "RunStarted",
        v: 1,
        org: options.org,
        session,
        agent: agent.name,
        definition: definition.hash,
        model: options.model ?? registered.model,
        input,
        limits: { ...agent.limits, ...options.limits },
        principal: options.principal,
        after,
        sourceProject: options.sourceProject ?? null
      } as const
      yield* journal.commit([
        prompt === undefined ? started : { ...started, prompt },
        { _tag: "RunClaimed", v: 1, runner: store.runner }
      ]).pipe(Effect.mapError((error) => error._tag === "RunConflict" ? error : storage(error)))
      yield* launch(journal)
      return run
    })

    /** Claims a run and goes on with it from its log; `more` are the first events under the new claim. */
    const takeOver = Effect.fnUntraced(function*(run: RunId, more?: { readonly retry: RunEvent }) {
      if (handles.has(run)) return false
      const epoch = yield* store.claim(run, { over: more !== undefined })
      if (Option.isNone(epoch)) return false
      const state = yield* log.state(run)
      const registered = yield* find(state.agent)
      const history = yield* historyOf(state.started.after)
      const journal = yield* Effect.provideContext(
        makeJournal({ run, epoch: epoch.value, registered, history, state }),
        services
      )
      const claimed: RunEvent = { _tag: "RunClaimed", v: 1, runner: store.runner }
      yield* journal.commit(more === undefined ? [claimed] : [more.retry, claimed])
      yield* readMail(journal)
      // A cancelled run needs nothing of its agent any more.
      if (state.definition !== registered.definition.hash && !(yield* Deferred.isDone(journal.cancelled))) {
        const changed = { agent: state.agent, started: state.definition, registered: registered.definition.hash }
        yield* Effect.provideContext(failRun(journal, new DefinitionChanged(changed)), services)
        return true
      }
      yield* launch(journal)
      return true
    })

    const attend = Effect.fnUntraced(function*(run: RunId) {
      const handle = handles.get(run)
      if (handle !== undefined) return yield* readMail(handle.journal)
      const row = yield* store.find(run)
      if (Option.isNone(row) || isOver(row.value.status) || !registry.has(row.value.agent)) return
      yield* takeOver(run).pipe(
        Effect.catchTag(["RunNotFound", "AgentNotRegistered"], () => Effect.void),
        Effect.catchTag(["CommandsWaiting", "BudgetExceeded", "UnpricedModel", "RunConflict", "Fenced"], (error) =>
          Effect.logDebug(`Run ${run} was not taken over: ${error.message}`))
      )
    })

    const settled = Effect.fn("Runs.settled")(function*(run: RunId) {
      const handle = handles.get(run)
      if (handle !== undefined) return yield* Deferred.await(handle.stopped)
      yield* Stream.takeUntil(log.watch(run), (item) => "event" in item && item.event._tag === "RunParked").pipe(Stream.runDrain)
      return yield* log.state(run)
    })

    const retry = Effect.fn("Runs.retry")(function*(run: RunId, options: { readonly principal: string; readonly limits?: Partial<Limits> }) {
      const state = yield* log.state(run)
      const { agent } = yield* find(state.agent)
      if (state.status !== "failed") {
        return yield* new RunConflict({ run, problem: `it is ${state.status}, and only a failed run can be retried.` })
      }
      const limits = { ...agent.limits, cost: state.limits.cost, ...options.limits }
      const taken = yield* takeOver(run, { retry: { _tag: "RunRetried", v: 1, limits, by: options.principal } }).pipe(
        Effect.mapError((error) =>
          error._tag === "RunConflict" || error._tag === "RunNotFound" || error._tag === "AgentNotRegistered" ? error : storage(error)
        )
      )
      if (!taken) return yield* new RunConflict({ run, problem: "another process is working on it." })
    })

    // What this process does all the time: renew its lease, read commands, and take over runs that nobody performs.

    const quietly = <A, R>(effect: Effect.Effect<A, { readonly message: string }, R>) =>
      Effect.catch(effect, (error) => Effect.logDebug(error.message))

    const dropAll = Effect.suspend(() =>
      Effect.forEach([...handles.values()], ({ fiber }) => fiber === undefined ? Effect.void : Fiber.interrupt(fiber), { discard: true })
    )

    let renewedAt = clock.currentTimeMillisUnsafe()
    const renew = Effect.gen(function*() {
      const at = clock.currentTimeMillisUnsafe()
      const kept = yield* Effect.orElseSucceed(store.renew, () => undefined)
      if (kept !== undefined) renewedAt = at
      // Within the last tenth of the lease it is too late to be sure that nobody else has begun.
      if (kept === false || at - renewedAt > lease * 0.9) yield* dropAll
    })
    yield* renew.pipe(Effect.repeat(Schedule.spaced(renewal)), Effect.forkScoped)

    const arrivals = yield* inbox.arrivals
    yield* PubSub.take(arrivals).pipe(
      Effect.flatMap((run) => quietly(attend(run))),
      Effect.forever,
      Effect.forkScoped
    )

    const sweep = Effect.gen(function*() {
      const addressed = yield* inbox.addressed
      const orphans = takesOver || told.size > 0 ? yield* store.orphans(agents, 100) : []
      const needy = [...addressed, ...orphans.filter((run) => !handles.has(run))]
      const ours = takesOver ? needy : needy.filter((run) => handles.has(run) || told.has(run))
      for (const run of new Set(ours)) yield* quietly(attend(run))
    })
    yield* quietly(sweep).pipe(Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)

    return Runs.of({
      start,
      settled,
      retry,
      // Its owner may still have a lease, so it is looked at again until it is over.
      attend: (run) => Effect.andThen(Effect.sync(() => told.add(run)), attend(run))
    })
  }))
}

/** The input as JSON text, and the message that the model is asked with where that is another text. */
const encodeInput = (agent: Agent.Any, input: unknown): Effect.Effect<
  { readonly input: string; readonly prompt: string | undefined },
  InvalidInput
> =>
  Effect.gen(function*() {
    const invalid = (problem: string) => new InvalidInput({ agent: agent.name, problem })
    const encoded = yield* Schema.encodeUnknownEffect(Schema.toCodecJson(agent.input))(input).pipe(
      Effect.mapError((error) => invalid(`it does not fit its input schema: ${error.message}`))
    )
    const text = clean(typeof encoded === "string" ? encoded : JSON.stringify(encoded))
    const prompt = agent.prompt === undefined ? text : clean(agent.prompt(input))
    if (prompt.trim() === "") return yield* invalid("it is empty; say what the agent is to do.")
    if (text.length > maxInput || prompt.length > maxInput) {
      const size = `${(Math.max(text.length, prompt.length) / 1e6).toFixed(1)} million characters`
      return yield* invalid(
        `it has ${size}, and ${maxInput / 1e6} million is the most; put long material where a tool of the agent can read it.`
      )
    }
    const same = typeof encoded === "string" && agent.prompt === undefined
    return { input: same ? JSON.stringify(text) : JSON.stringify(encoded), prompt: same ? undefined : prompt }
  })
