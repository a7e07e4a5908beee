import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import { type ForbiddenModel, isRetryable, mayAnotherDoBetter, pauseAfter, type UnknownModel } from "../Run.ts"
import { Catalog } from "./Catalog.ts"
import { chainOf, type Choice, choiceOf } from "./Choice.ts"
import { describe } from "./Failure.ts"
import { toLanguageModel } from "./LanguageModel.ts"
import { Models } from "./Models.ts"
import type { Provider, Resolved } from "./Provider.ts"
import type { NoModelFits } from "./Select.ts"

/** How a plan asks its models. */
export interface PlanOptions {
  /** Requests to one model, the first included; 3 by default. */
  readonly attempts?: number
  /** Output tokens of one answer; 8,192 by default. */
  readonly maxOutput?: number
}

/** The models of a choice as steps, each with its attempts and pauses. */
export type Plan = ExecutionPlan.ExecutionPlan<{
  provides: LanguageModel.LanguageModel
  input: unknown
  error: never
  requirements: never
}>

/** Where a failure is from: the step whose model failed, and whether somebody had heard a part of its answer. */
interface Origin {
  readonly step: number
  readonly isPartial: boolean
}

/** The model of one step, whose own failures are told from everything else that may fail where it is used. */
const stepModel = Effect.fnUntraced(function*(resolved: Resolved, step: number, origins: WeakMap<object, Origin>, options: PlanOptions) {
  const marked = (isStreamed: boolean): Provider => (request) =>
    Stream.suspend(() => {
      let isPartial = false
      return resolved.stream(request).pipe(
        Stream.tap(() => Effect.sync(() => isPartial = isStreamed)),
        Stream.mapError(({ method, module, reason }) => {
          // Adapters may share one value for all failures of a kind.
          const error = AiError.make({ module, method, reason })
          origins.set(error, { step, isPartial })
          return error
        })
      )
    })
  const whole = yield* toLanguageModel({ ...resolved, stream: marked(false) }, options)
  const streamed = yield* toLanguageModel({ ...resolved, stream: marked(true) }, options)
  return { ...whole, streamText: streamed.streamText }
})

/**
 * An `ExecutionPlan` over the models of a choice, by the same rules as a run's chain: a model is asked again where that makes
 * sense, after what its provider asked for or an increasing pause; the next one is asked at once where it may do better. An
 * answer of which a part was already heard is not asked for again. For `Effect.withExecutionPlan` and
 * `Stream.withExecutionPlan` around whatever uses the `LanguageModel` service, outside of runs.
 */
export const plan = Effect.fn("Model.plan")(function*(
  choice: string | Choice,
  options: PlanOptions = {}
): Effect.fn.Return<Plan, ForbiddenModel | UnknownModel | NoModelFits, Models | Catalog> {
  const { providers, resolve } = yield* Models
  const { entries } = yield* Catalog
  const origins = new WeakMap<object, Origin>()
  const attempts = Math.max(1, options.attempts ?? 3)
  const refs = yield* Effect.fromResult(chainOf(choiceOf(choice), entries, providers))
  const stepOf = Effect.fnUntraced(function*(ref: (typeof refs)[number], step: number) {
    const model = yield* stepModel(yield* resolve(ref), step, origins, options)
    const originOf = (error: unknown) => typeof error === "object" && error !== null ? origins.get(error) : undefined
    // A step after the first is shown the failure of the one before it, and asks its model only where that may do better.
    const shown = step === 0 ? 0 : 1
    return {
      provide: Context.make(LanguageModel.LanguageModel, model),
      attempts,
      while: (error: unknown): boolean => {
        const origin = originOf(error)
        if (origin === undefined || origin.isPartial || !AiError.isAiError(error)) return false
        return origin.step === step ? isRetryable(describe(error)) : mayAnotherDoBetter(error.reason._tag)
      },
      schedule: Schedule.forever.pipe(
        Schedule.setInputType<unknown>(),
        Schedule.modifyDelay(({ attempt, input }) => {
          if (originOf(input)?.step !== step || !AiError.isAiError(input)) return Effect.succeed(Duration.zero)
          return Effect.succeed(Duration.millis(pauseAfter(attempt - shown, describe(input).retryAfterMs)))
        })
      )
    }
  })
  const [first, ...more] = refs
  const steps = [yield* stepOf(first, 0)] as const
  const others = yield* Effect.forEach(more, (ref, index) => stepOf(ref, index + 1))
  return ExecutionPlan.make(...steps, ...others)
})

/**
 * The `LanguageModel` service over the models of a choice, asked by the rules of {@link plan}; for programs and libraries of
 * `effect/ai` outside of runs.
 */
export const languageModel = (
  choice: string | Choice,
  options?: PlanOptions
): Layer.Layer<LanguageModel.LanguageModel, ForbiddenModel | UnknownModel | NoModelFits, Models | Catalog> =>
  Layer.effect(LanguageModel.LanguageModel, Effect.map(plan(choice, options), (plan) => {
    const planned = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.withExecutionPlan(effect, plan)
    const methods = {
      generateText: (asked: never) => planned(Effect.flatMap(LanguageModel.LanguageModel, (model) => model.generateText(asked))),
      generateObject: (asked: never) => planned(Effect.flatMap(LanguageModel.LanguageModel, (model) => model.generateObject(asked))),
      streamText: (asked: never) =>
        Stream.withExecutionPlan(Stream.unwrap(Effect.map(LanguageModel.LanguageModel, (model) => model.streamText(asked))), plan)
    }
    // Each method takes and gives what that of a step's model does, whose overloads keep its type from being inferred.
    return { [LanguageModel.TypeId]: LanguageModel.TypeId, ...methods } as unknown as LanguageModel.LanguageModel
  }))
