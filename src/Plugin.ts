import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as AiTool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Tool from "./Tool.ts"

/**
 * Asks the other side about a call, by its parameters and the `key` of its `Tool.Call`. What it fails with counts as
 * "cannot say", after the tool's own retries.
 */
export type Check<T extends Tool.Any, R = never> = (
  parameters: AiTool.Parameters<T>
) => Effect.Effect<Tool.Reconciliation<AiTool.Success<T>>, unknown, Tool.Call | R>

/** The checks that the `reconcilable` tools among these need, by name. */
export type Checks<Tools extends ReadonlyArray<Tool.Any>> = {
  readonly [T in Tools[number] as Tool.Reconciled extends AiTool.Requirements<T> ? T["name"] : never]: Check<T>
}

/** The key under which the check of a tool is among its plugin's handlers. */
export const checkKey = (tool: Tool.Any): string => `conductor-ai/Plugin/check/${tool.id}`

/** Tools with their handlers; what the handlers need stays in the requirements of the layer. */
export interface Plugin<
  Tools extends ReadonlyArray<Tool.Any> = ReadonlyArray<Tool.Any>,
  E = unknown,
  R = unknown
> {
  readonly name: string
  readonly tools: Tools
  readonly layer: Layer.Layer<AiTool.HandlersFor<Toolkit.ToolsByName<Tools>>, E, R>
}

/** Any plugin. */
export interface Any extends Plugin<ReadonlyArray<Tool.Any>, unknown, unknown> {}

/** What the handlers of a plugin's layer may fail with while they are built. */
export type Error<P> = P extends Plugin<infer _Tools, infer E, infer _R> ? E : never

/** What the handlers of a plugin need. */
export type Services<P> = P extends Plugin<infer _Tools, infer _E, infer R> ? R : never

/** The tools of a plugin. */
export type Tools<P> = P extends Plugin<infer T, infer _E, infer _R> ? T[number] : never

/** The part of the options that only plugins with reconcilable tools have, and have to have. */
type Reconciling<Tools extends ReadonlyArray<Tool.Any>, E, R> = {} extends Checks<Tools> ? { readonly reconcile?: never }
  : { readonly reconcile: Checks<Tools> | Effect.Effect<Checks<Tools>, E, R> }

/** The checks of a plugin's reconcilable tools, with the services that they were built with. */
const checksLayer = <E, R>(
  tools: ReadonlyArray<Tool.Any>,
  checks: Readonly<Record<string, unknown>> | Effect.Effect<Readonly<Record<string, unknown>>, E, R>
): Layer.Layer<never, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(Effect.map(Effect.isEffect(checks) ? checks : Effect.succeed(checks), (checks) =>
    Context.makeUnsafe<never>(new Map(tools.flatMap((tool) => tool.name in checks ? [[checkKey(tool), checks[tool.name]]] : [])))))

/**
 * Makes a plugin of tools and their handlers. A handler takes decoded parameters and returns an effect of the tool's
 * success; handlers that need services are built by an effect, which runs once, when the runtime starts. Tools of the class
 * `reconcilable` need a check each, in `reconcile`.
 */
export const make = <
  const Tools extends ReadonlyArray<Tool.Any>,
  Handlers extends Toolkit.HandlersFrom<Toolkit.ToolsByName<Tools>>,
  E = never,
  R = never,
  E2 = never,
  R2 = never
>(name: string, options: {
  readonly tools: Tools
  readonly handlers: Handlers | Effect.Effect<Handlers, E, R>
} & Reconciling<Tools, E2, R2>): Plugin<Tools, NoInfer<E | E2>, NoInfer<Exclude<R | R2, Scope.Scope>>> => {
  const handlers = Toolkit.make(...options.tools).toLayer(options.handlers)
  const { reconcile } = options
  return {
    name,
    tools: options.tools,
    layer: reconcile === undefined ? handlers : Layer.merge(handlers, checksLayer(options.tools, reconcile))
  }
}

/** Makes a plugin of tools whose handlers are a layer already, such as a `Toolkit.toLayer` of `effect/ai`. */
export const fromLayer = <const Tools extends ReadonlyArray<Tool.Any>, E, R>(name: string, options: {
  readonly tools: Tools
  readonly layer: Layer.Layer<AiTool.HandlersFor<Toolkit.ToolsByName<Tools>>, E, R>
}): Plugin<Tools, E, R> => ({ name, ...options })
