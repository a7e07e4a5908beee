import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DefinitionHash, RunState } from "../Run.ts"
import type { Registered } from "./Registered.ts"

/** What becomes of a run whose agent has changed since the run was started. */
export type Upgrade =
  /** It goes on with the stored definition, as far as today's handlers still fit it. */
  | { readonly _tag: "Keep" }
  /** It goes on with today's definition, told so in a message to the model, if there is one. */
  | { readonly _tag: "Adopt"; readonly note?: string }
  /** It fails with `DefinitionChanged`. */
  | { readonly _tag: "Refuse"; readonly problem?: string }

/** The run goes on with the definition that it was started with; refused where the handlers do not fit it any more. */
export const keep: Upgrade = { _tag: "Keep" }

/** The run goes on with today's definition; `note` tells the model what has changed. */
export const adopt = (note?: string): Upgrade => note === undefined ? { _tag: "Adopt" } : { _tag: "Adopt", note }

/** The run fails with `DefinitionChanged`. */
export const refuse = (problem?: string): Upgrade => problem === undefined ? { _tag: "Refuse" } : { _tag: "Refuse", problem }

const StoredTool = Schema.Struct({
  name: Schema.String,
  description: Schema.String,
  parameters: Schema.Record(Schema.String, Schema.Unknown),
  effect: Schema.String
})

/** A definition as it is stored: what the model is told and what its tools promise. */
export const Stored = Schema.Struct({
  instructions: Schema.String,
  tools: Schema.Array(StoredTool),
  output: Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown))
})
export type Stored = typeof Stored.Type

/** A change of an agent, as one of its unfinished runs comes to it. */
export interface Change {
  readonly from: Stored & { readonly hash: DefinitionHash }
  readonly to: Stored & { readonly hash: DefinitionHash }
  /** The run so far. */
  readonly run: RunState
}

/** Decides about the unfinished runs of an agent that has changed: the same for each, or by a function of the change. */
export type Policy = Upgrade | ((change: Change) => Upgrade | Effect.Effect<Upgrade>)

/** A definition from its stored text. */
export const decodeStored = Schema.decodeUnknownEffect(Schema.fromJsonString(Stored))

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Why the handlers of an agent cannot serve a stored definition; nothing where they can. */
export const misfit = (stored: Stored, { definition, tools }: Registered, now: Stored): string | undefined => {
  for (const { effect, name, parameters } of stored.tools) {
    const tool = tools.get(name)
    if (tool === undefined) return `its tool "${name}" is gone`
    if (tool.effect !== effect) return `its tool "${name}" was ${effect} and is ${tool.effect}`
    const spec = now.tools.find((one) => one.name === name)
    if (!same(spec?.parameters, parameters)) return `its tool "${name}" takes other parameters`
  }
  return same(stored.output, now.output) ? undefined : `its answer has another schema (now of definition ${definition.hash.slice(0, 12)})`
}

/** An agent as it was: the stored instructions and tools with today's handlers. */
export const asStored = (registered: Registered, stored: Stored, hash: DefinitionHash, text: string): Registered => ({
  ...registered,
  agent: { ...registered.agent, instructions: stored.instructions },
  definition: { hash, text },
  specs: stored.tools.map(({ description, name, parameters }) => ({ name, description, parameters })),
  tools: new Map([...registered.tools].filter(([name]) => stored.tools.some((tool) => tool.name === name)))
})
