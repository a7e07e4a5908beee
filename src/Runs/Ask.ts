import * as Effect from "effect/Effect"
import * as Model from "../Model.ts"
import {
  type ForbiddenModel, type ModelFailed, type ModelRef, modelsAfter, modelsFailed, type Next, TurnTimedOut, type UnknownModel
} from "../Run.ts"
import type { AppendError } from "../RunLog.ts"
import type { Journal } from "./Journal.ts"
import { attemptAt, type Task } from "./Turn.ts"

/** What is to be asked, a model and those that come after it, and for what else than the run's next answer. */
type Due = Extract<Next, { _tag: "CallModel" }> & { readonly taskOf?: (resolved: Model.Resolved) => Task }

/** Why no model was asked. */
export type NotAsked = UnknownModel | ForbiddenModel | TurnTimedOut | ModelFailed

type Needs = Model.Models | Model.Router

const resolvedOf = (journal: Journal, model: ModelRef) => {
  const { resolved } = journal
  if (resolved?.ref === model) return Effect.succeed(resolved)
  return Effect.map(Effect.flatMap(Model.Models, ({ resolve }) => resolve(model)), (found) => journal.resolved = found)
}

/** When the turn's time is over. */
const turnEnd = (journal: Journal, { attempt }: Due): number => {
  const { limits: { turnMs }, turnSince } = journal.state()
  return turnMs === undefined ? Infinity : (attempt > 1 ? turnSince : journal.clock.currentTimeMillisUnsafe()) + turnMs
}

/**
 * Fails once the turn's time is over, as long as the attempt has not begun, which limits itself. Both look at the same mark,
 * so that only one of them can come first.
 */
const withinTurn = <E, R>(
  journal: Journal,
  model: ModelRef,
  end: number,
  attempt: Model.Attempt<E, R>,
  lead: (attempt: Model.Attempt<E, R>) => Effect.Effect<void, E | Model.Unavailable, R>
): Effect.Effect<void, E | Model.Unavailable | TurnTimedOut, R> => {
  const { turnMs } = journal.state().limits
  if (turnMs === undefined) return lead(attempt)
  let first: "attempt" | "end" | undefined
  const begin: Model.Attempt<E, R> = (waitedMs) =>
    Effect.suspend(() => {
      if (first === "end") return Effect.never
      first = "attempt"
      return attempt(waitedMs)
    })
  const overdue = Effect.gen(function*() {
    yield* Effect.sleep(Math.max(0, end - journal.clock.currentTimeMillisUnsafe()))
    if (first === "attempt") return yield* Effect.never
    first = "end"
    return yield* new TurnTimedOut({ model, limitMs: turnMs })
  })
  return Effect.raceFirst(lead(begin), overdue)
}

/** Leaves a place that became free because everything is being stopped, one after the other. */
const unlessHalting = <A, E>(journal: Journal, attempt: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.andThen(Effect.yieldNow, Effect.suspend(() => journal.isHalting() ? Effect.never : attempt))

/** Asks one model, as soon as it may be asked. */
const ask = (journal: Journal, { attempt, taskOf }: Due, model: ModelRef, end: number, hasOther: boolean) =>
  Effect.flatMap(Model.Router, (router) =>
    Effect.flatMap(resolvedOf(journal, model), (resolved) => {
      const { limits, org, since } = journal.state()
      const wanted: Model.Wanted = { model: resolved.ref, org, hasOther, until: Math.min(since + limits.timeMs, end) }
      return withinTurn(
        journal,
        model,
        end,
        (waitedMs) => {
          const asked = attemptAt(journal, resolved, attempt, waitedMs, taskOf)
          return waitedMs === 0 ? asked : unlessHalting(journal, asked)
        },
        (attempt) => router.lead(wanted, attempt)
      )
    }))

/** Asks a model to whose place no other one can step. */
const askOnly = (journal: Journal, due: Due, model: ModelRef, end: number) =>
  Effect.catchTag(ask(journal, due, model, end, false), "Unavailable", ({ problem }) =>
    Effect.fail(modelsFailed(journal.state(), { model, problem })))

/** Asks the first model of several that may be asked now; where there is none, the one that may be asked first. */
const askFirst = Effect.fnUntraced(function*(
  journal: Journal,
  due: Due,
  chain: ReadonlyArray<ModelRef>,
  end: number
): Effect.fn.Return<void, AppendError | NotAsked, Needs> {
  let soonest: Model.Unavailable | undefined
  let unknown: UnknownModel | undefined
  for (const model of chain) {
    const passed = yield* ask(journal, due, model, end, true).pipe(
      Effect.as(undefined),
      Effect.catchTag(["Unavailable", "UnknownModel"], (error) => Effect.succeed(error))
    )
    if (passed === undefined) return
    if (passed._tag === "UnknownModel") unknown ??= passed
    else if (soonest === undefined || passed.waitMs < soonest.waitMs) soonest = passed
  }
  if (soonest === undefined && unknown !== undefined) return yield* unknown
  return yield* askOnly(journal, due, soonest?.model ?? due.model, end)
})

/**
 * Asks the model whose turn it is, or the first after it that may be asked now, for one answer. Waits until that is possible
 * before anything is written down or set aside.
 */
export const callModel = (journal: Journal, due: Due): Effect.Effect<void, AppendError | NotAsked, Needs> =>
  Effect.suspend(() => {
    const end = turnEnd(journal, due)
    if (end <= journal.clock.currentTimeMillisUnsafe()) {
      return Effect.fail(new TurnTimedOut({ model: due.model, limitMs: journal.state().limits.turnMs ?? 0 }))
    }
    const more = modelsAfter(journal.state().models, due.model)
    return more.length === 0 ? askOnly(journal, due, due.model, end) : askFirst(journal, due, [due.model, ...more], end)
  })
