import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Registered } from "../Agent.ts"
import * as Model from "../Model.ts"
import { type Limits, type ModelRef, type RunEvent, type RunState, sizeOf, tokensOfMessages, tokensOfText, type Transcript } from "../Run.ts"

/** The conversation of a session before a run, and how many tokens it has where its last bill tells. */
export interface Before {
  readonly messages: ReadonlyArray<Transcript.Message>
  readonly measured: { readonly model: ModelRef; readonly tokens: number } | undefined
}

/** No conversation. */
export const nothingBefore: Before = { messages: [], measured: undefined }

/** What a run's last bill tells of the session's conversation at its end. */
export const measuredAt = (state: RunState): Before["measured"] =>
  state.measured === null ? undefined : { model: state.model, tokens: sizeOf(state) }

/** What part of a model's window is left empty, for what is not counted exactly. */
const margin = 0.05

/** Tokens of input that fit in a model's window beside the output that a run may have. */
const roomIn = ({ context, maxOutput }: Model.Entry, limits: Limits): number =>
  Math.max(0, Math.floor(context * (1 - margin)) - Math.min(limits.outputTokens, maxOutput))

const tools = new WeakMap<Registered["specs"], number>()

/** Tokens of what goes before every conversation of an agent: its instructions and tools. */
export const baseOf = ({ agent, specs }: Pick<Registered, "agent" | "specs">): number => {
  const known = tools.get(specs)
  const own = known ?? specs.reduce((sum, tool) => sum + tokensOfText(tool.name + tool.description + JSON.stringify(tool.parameters)), 0)
  if (known === undefined) tools.set(specs, own)
  return own + tokensOfText(agent.instructions)
}

/** What is known, when a run starts, of the room for its conversation. */
export const roomOf = (
  registered: Registered,
  refs: readonly [ModelRef, ...ReadonlyArray<ModelRef>],
  limits: Limits,
  before: Before
): Effect.Effect<NonNullable<Extract<RunEvent, { _tag: "RunStarted" }>["context"]>, never, Model.Models> =>
  Effect.flatMap(Model.Models, (models) =>
    Effect.map(
      Effect.forEach(refs, (ref) =>
        // A model that is not known is so when it is asked.
        Effect.match(models.resolve(ref), {
          onFailure: () => null,
          onSuccess: ({ entry }) => Option.match(entry, { onNone: () => null, onSome: (known) => roomIn(known, limits) })
        })),
      (windows) => ({
        tokens: before.measured?.model === refs[0] ? before.measured.tokens : baseOf(registered) + tokensOfMessages(before.messages),
        history: before.messages.length,
        windows
      })
    ))
