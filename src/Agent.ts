import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type * as AiTool from "effect/ai/Tool"
import { keep, type Policy } from "./Agent/Upgrade.ts"
import * as Model from "./Model.ts"
import * as Money from "./Money.ts"
import type * as Plugin from "./Plugin.ts"
import { AgentName, Limits } from "./Run.ts"

export { adopt, type Change, keep, type Policy, refuse, type Stored, type Upgrade } from "./Agent/Upgrade.ts"
export { asStored, decodeStored, misfit } from "./Agent/Upgrade.ts"
export { type Definition, register, type Registered, type RegisteredApproval, type RegisteredTool, RegistrationFailed, withTools } from "./Agent/Registered.ts"

/** What a run of an agent may use up at most; what is left out has the default. */
export interface LimitOptions {
  /** Answers of the model; 20 by default. */
  readonly turns?: number
  /** Requests to one model for one answer, the first included; 3 by default. */
  readonly attempts?: number
  /** Dollars of a run, such as `"0.50 USD"`; no limit by default. */
  readonly cost?: string
  /** From start to end, without the time in which it was parked or nobody performed it; 10 minutes by default. */
  readonly time?: Duration.Input
  /** One turn of the model, with all its attempts; no limit but `time` by default. */
  readonly turnTime?: Duration.Input
  /** Until an attempt says something; no limit by default. */
  readonly firstToken?: Duration.Input
  /** Between two pieces of an answer; by default only the connection's silence is limited, to 60 seconds. */
  readonly streamIdle?: Duration.Input
  /** One execution of a tool, where the tool's own limit is not shorter. */
  readonly toolTime?: Duration.Input
  /** Tool calls of one turn at the same time; 8 by default. */
  readonly toolConcurrency?: number
  /** Output tokens of one answer; 8,192 by default. */
  readonly outputTokens?: number
}

/** How the conversation of an agent is kept within the context window of its model. */
export interface ContextOptions {
  /** Tokens of input of a request for an answer at most; what fits in the model's window beside the output by default, and never more. */
  readonly tokens?: number
  /** Turns at the end of the conversation that stay whole, as long as they fit in half of that; 10 by default. */
  readonly keepTurns?: number
  /** Characters of a tool result that is no longer recent, 500 at least; 2,000 by default. */
  readonly resultCharacters?: number
  /** Who summarises what is no longer recent: the `model` (by default), or a `rule`, which costs nothing and keeps little. */
  readonly summaries?: "model" | "rule"
}

/** Options of {@link make}. */
export interface Options<
  Plugins extends ReadonlyArray<Plugin.Any>,
  Input extends Schema.ConstraintCodec<unknown, unknown>,
  Output extends Schema.ConstraintCodec<unknown, unknown>
> {
  /** What the model is told before everything else. */
  readonly instructions: string
  /**
   * The model that answers: `Model.of("anthropic:claude-sonnet-5-5")`, that text, what it is to be good at,
   * `Model.select({ task: "agents", budget: "standard" })`, or several in order, `Model.fallback(…)`.
   */
  readonly model: string | Model.Choice
  readonly plugins?: Plugins
  /** What the agent takes; text by default. */
  readonly input?: Input
  /** How the model is asked, from the input; by default text as it is, and anything else as JSON. */
  readonly prompt?: (input: Input["Type"]) => string
  /** What the agent answers; text by default. With a schema the model answers in JSON of it. */
  readonly output?: Output
  readonly limits?: LimitOptions
  /** How much of the conversation is sent; what is older is summarised when the model's window is full. */
  readonly context?: ContextOptions
  /**
   * What becomes of unfinished runs when the agent has changed: {@link keep} (the default) goes on with the stored definition
   * and today's handlers where they still fit it, {@link adopt} with today's, {@link refuse} fails them; or a function of the
   * change that says which.
   */
  readonly upgrade?: Policy
}

/**
 * An agent: what a model is told, which model, which tools, and how far it may go. `In` and `Out` are the types of its
 * input and answer.
 */
export interface Agent<
  In = unknown,
  Out = unknown,
  Plugins extends ReadonlyArray<Plugin.Any> = ReadonlyArray<Plugin.Any>
> {
  readonly name: AgentName
  readonly instructions: string
  /** A forbidden or malformed reference, and a selection that nothing fits, are failures of the layer that registers the agent. */
  readonly model: Model.Choice
  readonly plugins: Plugins
  readonly input: Schema.ConstraintCodec<In, unknown>
  readonly prompt: ((input: In) => string) | undefined
  readonly output: Schema.ConstraintCodec<Out, unknown> | undefined
  readonly limits: Limits
  readonly upgrade: Policy
}

/** Any agent. */
// oxlint-disable-next-line typescript/no-explicit-any -- an agent both takes and gives its input, so no other type holds all
export interface Any extends Agent<any, unknown, ReadonlyArray<Plugin.Any>> {}

/** What an agent's tools can end a run with: the failures of those with `failureMode: "error"`. */
export type Failure<A extends Any> = FailureOf<Plugin.Tools<A["plugins"][number]>>
type FailureOf<T> = T extends AiTool.Tool<string, infer Config, infer _R>
  ? Config["failureMode"] extends "error" ? Config["failure"]["Type"] : never
  : never

/** What the handlers of an agent's tools need. */
export type Services<A extends Any> = Plugin.Services<A["plugins"][number]>

/** What building the handlers of an agent's tools can fail with. */
export type Error<A extends Any> = Plugin.Error<A["plugins"][number]>

const limits = (options: LimitOptions | undefined, context: ContextOptions | undefined): Limits =>
  Limits.make({
    turns: options?.turns ?? 20,
    attempts: options?.attempts ?? 3,
    cost: options?.cost === undefined ? null : Money.usd(options.cost),
    timeMs: Duration.toMillis(options?.time ?? "10 minutes"),
    toolConcurrency: options?.toolConcurrency ?? 8,
    outputTokens: options?.outputTokens ?? 8_192,
    ...(context === undefined ? {} : { context }),
    ...(options?.turnTime === undefined ? {} : { turnMs: Duration.toMillis(options.turnTime) }),
    ...(options?.firstToken === undefined ? {} : { firstTokenMs: Duration.toMillis(options.firstToken) }),
    ...(options?.streamIdle === undefined ? {} : { idleMs: Duration.toMillis(options.streamIdle) }),
    ...(options?.toolTime === undefined ? {} : { toolMs: Duration.toMillis(options.toolTime) })
  })

/** Defines an agent. Throws where the definition itself is malformed (a name with spaces, a negative limit). */
export const make = <
  const Plugins extends ReadonlyArray<Plugin.Any> = readonly [],
  Input extends Schema.ConstraintCodec<unknown, unknown> = typeof Schema.String,
  Output extends Schema.ConstraintCodec<unknown, unknown> = typeof Schema.String
>(name: string, options: Options<Plugins, Input, Output>): Agent<Input["Type"], Output["Type"], Plugins> => ({
  name: AgentName.make(name),
  instructions: options.instructions,
  model: Model.choiceOf(options.model),
  // The optional members are only absent where their type parameter is its default.
  plugins: (options.plugins ?? []) as unknown as Plugins,
  input: (options.input ?? Schema.String) as Schema.ConstraintCodec<Input["Type"], unknown>,
  prompt: options.prompt,
  output: options.output,
  limits: limits(options.limits, options.context),
  upgrade: options.upgrade ?? keep
})
