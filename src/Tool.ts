import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as AiTool from "effect/ai/Tool"
import type { EffectClass, OrgId, RunId } from "./Run.ts"

/** The tool call that a handler is working on. Every handler may use it. */
export class Call extends Context.Service<Call, {
  /** The id that the model gave the call. */
  readonly id: string
  readonly run: RunId
  readonly org: OrgId
  /** The same for every execution of this call, also after a crash: for the other side to deduplicate by. */
  readonly key: string
  /** Tells watchers how far the tool is; best effort, not kept. */
  readonly progress: (message: string) => Effect.Effect<void>
}>()("conductor-ai/Tool/Call") {}

/** The effect class of a tool; see {@link make}. */
export const Class = Context.Reference<EffectClass>("conductor-ai/Tool/Class", { defaultValue: () => "unsafe" })

/** What a tool is about, for lists: `web`, `data`, `sales` and the like. */
export const Category = Context.Reference<string>("conductor-ai/Tool/Category", { defaultValue: () => "general" })

/** How long one execution may take. */
export const Timeout = Context.Reference<Duration.Duration>("conductor-ai/Tool/Timeout", {
  defaultValue: () => Duration.seconds(60)
})

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
  Mode extends AiTool.FailureMode
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
   * How the tool treats the world: `pure` may be repeated, `idempotent` may be repeated with the same {@link Call} key,
   * `unsafe` is never repeated. It alone decides what happens to a call that a crash interrupted.
   */
  readonly effect: "pure" | "idempotent" | "unsafe"
  readonly category?: string
  /** The limit of one execution; 60 seconds by default. */
  readonly timeout?: Duration.Input
  /** What a call is about, for the audit log: `lead:123`. */
  readonly target?: (parameters: Parameters["Type"]) => string | null
}

/** Defines a tool; its handler comes with {@link Plugin.make}. Tools of `effect/ai` can be used beside it, as `unsafe`. */
export const make = <
  const Name extends string,
  Success extends Schema.Constraint,
  Parameters extends Schema.Constraint = typeof AiTool.EmptyParams,
  Failure extends Schema.Constraint = typeof Schema.Never,
  Mode extends AiTool.FailureMode = "return"
>(name: Name, options: Options<Parameters, Success, Failure, Mode>): AiTool.Tool<
  Name,
  { readonly parameters: Parameters; readonly success: Success; readonly failure: Failure; readonly failureMode: Mode },
  Call
> => {
  const target = options.target
  const annotations = Context.empty().pipe(
    Context.add(Class, options.effect),
    Context.add(Category, options.category ?? "general"),
    Context.add(Timeout, Duration.fromInputUnsafe(options.timeout ?? "60 seconds")),
    Context.add(AiTool.Readonly, options.effect === "pure"),
    Context.add(AiTool.Idempotent, options.effect !== "unsafe"),
    // The handler is called with decoded parameters of this very schema.
    Context.add(Target, target === undefined ? undefined : (parameters) => target(parameters as Parameters["Type"]))
  )
  return AiTool.make(name, {
    description: options.description,
    parameters: options.parameters,
    success: options.success,
    failure: options.failure,
    failureMode: options.failureMode ?? "return",
    dependencies: [Call]
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
