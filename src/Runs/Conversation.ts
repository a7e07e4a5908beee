import * as Model from "../Model.ts"
import type { DefinitionHash, RunState, Transcript } from "../Run.ts"

/**
 * The conversation of a run as it goes to a model under a definition. What was written under other instructions or with
 * other tools, or after messages that were compacted since, goes without the reasoning that is bound to them.
 */
export const conversationOf = (state: RunState, definition: DefinitionHash): ReadonlyArray<Transcript.Message> => {
  const { messages } = state
  const moved = state.definition === definition ? state.moved : messages.length
  return moved === 0 ? messages : [...Model.Opaque.afterCompaction(messages.slice(0, moved)), ...messages.slice(moved)]
}
