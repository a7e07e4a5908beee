import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as AiTool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import type * as Tool from "./Tool.ts"

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

/**
 * Makes a plugin of tools and their handlers. A handler takes decoded parameters and returns an effect of the tool's
 * success; handlers that need services are built by an effect, which runs once, when the runtime starts.
 */
export const make = <
  const Tools extends ReadonlyArray<Tool.Any>,
  Handlers extends Toolkit.HandlersFrom<Toolkit.ToolsByName<Tools>>,
  E = never,
  R = never
>(name: string, options: {
  readonly tools: Tools
  readonly handlers: Handlers | Effect.Effect<Handlers, E, R>
}): Plugin<Tools, E, Exclude<R, Scope.Scope>> => ({
  name,
  tools: options.tools,
  layer: Toolkit.make(...options.tools).toLayer(options.handlers)
})

/** Makes a plugin of tools whose handlers are a layer already, such as a `Toolkit.toLayer` of `effect/ai`. */
export const fromLayer = <const Tools extends ReadonlyArray<Tool.Any>, E, R>(name: string, options: {
  readonly tools: Tools
  readonly layer: Layer.Layer<AiTool.HandlersFor<Toolkit.ToolsByName<Tools>>, E, R>
}): Plugin<Tools, E, R> => ({ name, ...options })
