import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Inbox } from "../Inbox.ts"
import type { Models, Router } from "../Model.ts"
import {
  answerOf, type ContextTooLong, decide, InternalError, InvalidOutput, isOver, type Next, type RunEvent, type RunFailure, type RunState, RunTimedOut,
  type StorageFailed
} from "../Run.ts"
import type { AppendError, RunLog } from "../RunLog.ts"
import type { Journal } from "./Journal.ts"
import { callModel, type NotAsked } from "./Ask.ts"
import { consume, expire } from "./Commands.ts"
import { compact, compactByRule } from "./Compaction.ts"
import { cancelTools, doubtTools, runTools } from "./ToolCalls.ts"
import { settleLost } from "./Turn.ts"

/** How long tools have to stop when their run ends before its time. */
const grace = "200 millis"

type Needs = RunLog | Models | Router | Inbox

const fail = (journal: Journal, error: RunFailure) => finish(journal, { _tag: "RunFailed", v: 1, error })

/** Ends the run with a failure, after what is open is settled and the commands that wait for it are written down. */
export const failRun = Effect.fnUntraced(function*(journal: Journal, error: RunFailure) {
  const { attempt } = journal.state()
  if (attempt !== null) yield* settleLost(journal, attempt)
  while (!(yield* fail(journal, error))) yield* consume(journal)
})

/** An answer that does not fit the agent's output schema is a failure of the run. */
const checked = Effect.fnUntraced(function*(journal: Journal, event: Extract<Next, { _tag: "Finish" }>["event"]) {
  const state = journal.state()
  const output = journal.registered.output?.(state.model)
  if (event._tag !== "RunCompleted" || output === undefined) return event
  return yield* output.decode(answerOf(state)).pipe(
    Effect.match({
      onSuccess: () => event,
      onFailure: (error) =>
        ({ _tag: "RunFailed", v: 1, error: new InvalidOutput({ agent: state.agent, problem: error.message }) }) as const
    })
  )
})

/** Ends or parks the run, unless commands wait for it: then they are read, and it goes on. True once it is done. */
const finish = Effect.fnUntraced(function*(
  journal: Journal,
  event: Extract<RunEvent, { _tag: "RunCompleted" | "RunFailed" | "RunCancelled" | "RunParked" }>
) {
  const inbox = yield* Inbox
  return yield* journal.commit([event]).pipe(
    Effect.as(true),
    Effect.catchTag("CommandsWaiting", () =>
      Effect.map(inbox.waiting(journal.run), (waiting) => {
        journal.deliver(waiting)
        return false
      }))
  )
})

/** A pause, cut where the turn's time is over. */
const withinTurn = (journal: Journal, delayMs: number): number => {
  const { limits: { turnMs }, turnSince } = journal.state()
  return turnMs === undefined ? delayMs : Math.max(0, Math.min(delayMs, turnSince + turnMs - journal.clock.currentTimeMillisUnsafe()))
}

/** Asks a model, after a pause; what keeps it from being asked ends the run. True once that has happened. */
const asked = (
  journal: Journal,
  delayMs: number,
  asking: Effect.Effect<void, AppendError | NotAsked | ContextTooLong, Needs>
): Effect.Effect<boolean, AppendError, Needs> =>
  asking.pipe(
    delayMs === 0 ? (call) => call : Effect.delay(withinTurn(journal, delayMs)),
    Effect.as(false),
    Effect.catchTag(
      ["BudgetExceeded", "UnpricedModel", "UnknownModel", "ForbiddenModel", "TurnTimedOut", "ModelFailed", "ContextTooLong"],
      (error) => fail(journal, error)
    )
  )

/** Does what comes next. True once the run has ended or is parked. */
const perform = (journal: Journal, next: Next): Effect.Effect<boolean, AppendError, Needs> => {
  switch (next._tag) {
    case "Ended":
      return Effect.succeed(true)
    case "CallModel":
      return asked(journal, next.delayMs, callModel(journal, next))
    case "Compact":
      return asked(journal, next.delayMs, compact(journal, next))
    case "CompactByRule":
      return asked(journal, 0, compactByRule(journal, next.because))
    case "SettleAttempt":
      return Effect.as(settleLost(journal, next.attempt), false)
    case "RunTools":
      return Effect.as(runTools(journal, next.calls), false)
    case "DoubtTools":
      return Effect.as(doubtTools(journal, next.calls), false)
    case "CancelTools":
      return Effect.as(cancelTools(journal, next.calls, "The run was cancelled."), false)
    case "Park":
      return finish(journal, { _tag: "RunParked", v: 1, reason: next.reason })
    case "Finish": {
      const left = [...journal.running.values()].map((one) => one.name)
      return Effect.flatMap(checked(journal, next.event), (event) =>
        finish(journal, event._tag === "RunCancelled" ? { ...event, left } : event))
    }
  }
}

/** Folds, decides and performs until the run has ended or is parked. */
const steps = Effect.fnUntraced(function*(journal: Journal) {
  let over = false
  while (!over) {
    if (journal.hasMail()) yield* consume(journal)
    yield* expire(journal)
    over = yield* perform(journal, decide(journal.state()))
  }
})

/** Stops what the run is doing and writes down how that leaves it; handlers that do not stop are left behind. */
const stop = Effect.fnUntraced(function*(journal: Journal, body: Fiber.Fiber<void, AppendError>, reason: string) {
  yield* Effect.timeoutOption(Fiber.interrupt(body), grace)
  // What a commit under way is granted has to be known before it can be settled.
  yield* journal.idle
  const sealed = journal.seal()
  if (journal.broken !== undefined) {
    yield* journal.broken(sealed, { reason, message: "the request was broken off", retryable: false, retryAfterMs: null })
  }
  return sealed
})

const openCalls = (journal: Journal) => journal.state().open?.calls.filter((call) => call.status !== "done") ?? []

/** True where the run came to its end, or to a rest, while it was being stopped. */
const isDone = ({ status }: RunState): boolean => isOver(status) || status === "parked"

const timeOut = Effect.fnUntraced(function*(journal: Journal) {
  if (isDone(journal.state())) return
  yield* cancelTools(journal, openCalls(journal), "The run reached its time limit.")
  yield* failRun(journal, new RunTimedOut({ limitMs: journal.state().limits.timeMs }))
})

/** Leaves the run to the next process; one that has commands waiting is left as if this process had died. */
const park = Effect.fnUntraced(function*(journal: Journal) {
  if (isDone(journal.state())) return
  const doubtful = decide(journal.state())
  if (doubtful._tag === "DoubtTools") yield* doubtTools(journal, doubtful.calls)
  const next = decide(journal.state())
  yield* finish(journal, { _tag: "RunParked", v: 1, reason: next._tag === "Park" ? next.reason : "shutdown" })
})

/** Performs a run until it has ended or is parked; `took` is told each journal that goes on with it. */
const performed = Effect.fnUntraced(function*(
  journal: Journal,
  took: (journal: Journal) => Journal
): Effect.fn.Return<void, AppendError, Needs> {
  const { clock } = journal
  for (let current = journal;;) {
    const { limits, since } = current.state()
    const body = yield* Effect.forkChild(steps(current))
    const stopped = (reason: string) => Effect.map(stop(current, body, reason), took)
    const first = yield* Effect.raceFirst(
      Effect.as(Fiber.join(body), "done" as const),
      Effect.timeoutOrElse(current.halted, {
        duration: Math.max(0, since + limits.timeMs - clock.currentTimeMillisUnsafe()),
        orElse: () => Effect.succeed("time" as const)
      })
    )
    switch (first) {
      case "done":
        return
      case "cancelled":
        return yield* steps(yield* stopped("Cancelled"))
      case "time":
        return yield* timeOut(yield* stopped("TimedOut"))
      case "shutdown":
        return yield* park(yield* stopped("Shutdown"))
      case "interrupted":
        current = yield* stopped("Interrupted")
        yield* cancelTools(current, openCalls(current), "A message interrupted this call.")
    }
  }
})

/**
 * Ends a run of which the database refused something for what it is. Whoever went on with it would have the same refused: a model
 * would be asked, or a tool run, again and again for what cannot be written down.
 */
const endRefused = Effect.fnUntraced(function*(journal: Journal, error: StorageFailed) {
  yield* journal.idle
  const sealed = journal.seal()
  const state = yield* Effect.catchTag(journal.log.state(journal.run), "RunNotFound", () => Effect.fail(error))
  sealed.rewind(state)
  if (!isDone(state)) yield* failRun(sealed, new InternalError({ problem: `the database refused an event of the run (${error.problem})` }))
})

/**
 * Performs a run until it has ended or is parked. A command to cancel, a message that interrupts, the end of the process and
 * the time limit interrupt whatever it is doing; what was under way is then settled. A defect fails the run, as does what the
 * database refuses.
 */
export const performRun = (journal: Journal): Effect.Effect<void, AppendError, Needs> =>
  Effect.suspend(() => {
    let current = journal
    return performed(journal, (next) => current = next).pipe(
      Effect.catchCause((cause) => {
        if (Cause.hasInterrupts(cause) || !Cause.hasDies(cause)) return Effect.failCause(cause)
        const problem = Cause.pretty(cause).split("\n")[0] ?? "a defect"
        return failRun(current, new InternalError({ problem }))
      }),
      Effect.catchTag("StorageFailed", (error) => error.refused === true ? endRefused(current, error) : Effect.fail(error))
    )
  })
