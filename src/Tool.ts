import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as AiTool from "effect/ai/Tool"
import * as SqlClient from "effect/sql/SqlClient"
import type { AgentName, EffectClass, OrgId, RunId } from "./Run.ts"

/** The tool call that a handler is working on. Every handler may use it. */
export class Call extends Context.Service<Call, {
  /** The id that the model gave the call. */
  readonly id: string
  readonly run: RunId
  readonly org: OrgId
  readonly agent: AgentName
  /** On whose behalf the run is. */
  readonly principal: string
  /** The same for every execution of this call, also after a crash: for the other side to deduplicate by. */
  readonly key: string
  /** Tells watchers how far the tool is; best effort, not kept. */
  readonly progress: (message: string) => Effect.Effect<void>
}>()("conductor-ai/Tool/Call") {}

/** The effect class of a tool; see {@link make}. */
export const Class = Context.Reference<EffectClass>("conductor-ai/Tool/Class", { defaultValue: () => "unsafe" })

/** What a tool is about, for lists: `web`, `data`, `sales` and the like. */
export const Category = Context.Reference<string>("conductor-ai/Tool/Category", { defaultValue: () => "general" })

/** A mark in the type of a `reconcilable` tool: its plugin has to bring a check. Nobody provides or needs it. */
export class Reconciled extends Context.Service<Reconciled, never>()("conductor-ai/Tool/Reconciled") {}

/** What the other side says about a call that may or may not have happened. */
export type Reconciliation<Success> =
  | { readonly _tag: "Done"; readonly result: Success }
  | { readonly _tag: "NotDone" }
  | { readonly _tag: "Unknown" }

/** The call happened, and this is its result. */
export const done = <Success>(result: Success): Reconciliation<Success> => ({ _tag: "Done", result })

/** The call did not happen and will not: it may be made again. */
export const notDone: Reconciliation<never> = { _tag: "NotDone" }

/** The other side cannot say: a person has to. */
export const unknown: Reconciliation<never> = { _tag: "Unknown" }

/** How long one execution may take. */
export const Timeout = Context.Reference<Duration.Duration>("conductor-ai/Tool/Timeout", {
  defaultValue: () => Duration.seconds(60)
})

/** When a failed or timed-out execution is made again; never where it is absent. */
export const Retry = Context.Reference<Schedule.Schedule<unknown, unknown> | undefined>("conductor-ai/Tool/Retry", {
  defaultValue: () => undefined
})

/** How long a request for approval is good for. */
export const ApprovalTime = Context.Reference<Duration.Duration>("conductor-ai/Tool/ApprovalTime", {
  defaultValue: () => Duration.hours(24)
})

/** Names the rule by which a tool needs approval; a request that was made under another rule is not good any more. */
export const ApprovalPolicy = Context.Reference<string>("conductor-ai/Tool/ApprovalPolicy", { defaultValue: () => "1" })

/** When a tool needs a person's approval, and for how long a request for it is good. */
export interface Approval<Parameters extends Schema.Constraint> {
  /** Whether this call needs it; every call by default. A check that breaks counts as yes. */
  readonly when?: (parameters: Parameters["Type"]) => Effect.Effect<boolean>
  /** A request that nobody decides about in this time counts as denied; 24 hours by default. */
  readonly expires?: Duration.Input
  /** Names the rule, as in `refunds over 100 v2`: requests made under another rule are not good any more. */
  readonly policy?: string
}

/** The target of a call for the audit log, such as `lead:123`, from its decoded parameters, where a tool has such a thing. */
export const Target = Context.Reference<((parameters: unknown) => string | null) | undefined>("conductor-ai/Tool/Target", {
  defaultValue: () => undefined
})

/** Any tool that an agent can have. */
export type Any = AiTool.Any

/** Options of {@link make}. */
export interface Options<
  Parameters extends Schema.Constraint,
  Success extends Schema.Constraint,
  Failure extends Schema.Constraint,
  Mode extends AiTool.FailureMode,
  Effects extends EffectClass
> {
  /** Says to the model what the tool does and when to use it. */
  readonly description: string
  /** What the tool takes; annotate each field with a `description`. */
  readonly parameters?: Parameters
  readonly success: Success
  /** What the tool fails with. */
  readonly failure?: Failure
  /**
   * `return` (the default) gives a failure to the model as the call's result; `error` ends the run with it, and it is in
   * the type of `Conductor.run`.
   */
  readonly failureMode?: Mode
  /**
   * How the tool treats the world. It alone decides what happens to a call that a crash interrupted:
   * `pure` is repeated; `idempotent` is repeated with the same {@link Call} key, by which the other side deduplicates;
   * `transactional` does SQL only, with the `SqlClient` that it gets, which commits together with the call's result, so that
   * it happened once or not at all; `reconcilable` asks the other side, by the check that its plugin brings; `unsafe` is
   * never repeated, and a person says what happened.
   */
  readonly effect: Effects
  readonly category?: string
  /** The limit of one execution; 60 seconds by default, and 5 seconds at most for a `transactional` tool. */
  readonly timeout?: Duration.Input
  /**
   * When an execution that failed or took too long is made again, such as `Schedule.recurs(2)`; not for an `unsafe` tool. A
   * `reconcilable` tool asks the other side first.
   */
  readonly retry?: Effects extends "unsafe" ? never : Schedule.Schedule<unknown, unknown>
  /** Whether a person has to approve a call before it is made: `true` for every call. The run is parked until then. */
  readonly approval?: true | Approval<Parameters>
  /** What a call is about, for the audit log: `lead:123`. */
  readonly target?: (parameters: Parameters["Type"]) => string | null
}

/** The services that a handler gets for its call, by effect class. */
export type Needs<Effects extends EffectClass> =
  | Call
  | (Effects extends "transactional" ? SqlClient.SqlClient : never)
  | (Effects extends "reconcilable" ? Reconciled : never)

/** Defines a tool; its handler comes with {@link Plugin.make}. Tools of `effect/ai` can be used beside it, as `unsafe`. */
export const make = <
  const Name extends string,
  Success extends Schema.Constraint,
  const Effects extends EffectClass,
  Parameters extends Schema.Constraint = typeof AiTool.EmptyParams,
  Failure extends Schema.Constraint = typeof Schema.Never,
  Mode extends AiTool.FailureMode = "return"
>(name: Name, options: Options<Parameters, Success, Failure, Mode, Effects>): AiTool.Tool<
  Name,
  { readonly parameters: Parameters; readonly success: Success; readonly failure: Failure; readonly failureMode: Mode },
  Needs<Effects>
> => {
  const { target } = options
  const approval: Approval<Parameters> | undefined = options.approval === true ? {} : options.approval
  const annotations = Context.empty().pipe(
    Context.add(Class, options.effect),
    Context.add(Category, options.category ?? "general"),
    Context.add(Timeout, Duration.fromInputUnsafe(options.timeout ?? "60 seconds")),
    Context.add(AiTool.Readonly, options.effect === "pure"),
    Context.add(AiTool.Idempotent, options.effect !== "unsafe"),
    Context.add(Retry, options.retry),
    Context.add(ApprovalTime, Duration.fromInputUnsafe(approval?.expires ?? "24 hours")),
    Context.add(ApprovalPolicy, approval?.policy ?? "1"),
    // The handler is called with decoded parameters of this very schema.
    Context.add(Target, target === undefined ? undefined : (parameters) => target(parameters as Parameters["Type"]))
  )
  return AiTool.make(name, {
    description: options.description,
    parameters: options.parameters,
    success: options.success,
    failure: options.failure,
    failureMode: options.failureMode ?? "return",
    needsApproval: approval === undefined ? undefined : approval.when ?? true,
    dependencies: options.effect === "transactional" ? [Call, SqlClient.SqlClient] : [Call]
    // The optional schemas are only absent where their type parameter is its default, which is what `AiTool.make` takes for them.
  }).annotateMerge(annotations) as never
}

declare module "effect/Schema" {
  namespace Annotations {
    interface Annotations {
      /** True for a value that must never be seen in a log: the audit log writes `[REDACTED]` for it. */
      readonly sensitive?: boolean | undefined
    }
  }
}

/** Marks a parameter as secret: the audit log keeps `[REDACTED]` instead of its value. */
export const sensitive = <S extends Schema.Top>(schema: S): S["Rebuild"] => schema.annotate({ sensitive: true })
