import * as Model from "../Model.ts"
import { Compact, type DefinitionHash, type RunState, type Transcript } from "../Run.ts"

type Messages = ReadonlyArray<Transcript.Message>

/**
 * The conversation of a run as it goes to a model under a definition. What was written under other instructions or with
 * other tools, or after messages that were compacted since, goes without the reasoning that is bound to them.
 */
export const conversationOf = (state: RunState, definition: DefinitionHash): Messages => {
  const { messages } = state
  const moved = state.definition === definition ? state.moved : messages.length
  return moved === 0 ? messages : [...Model.Opaque.afterCompaction(messages.slice(0, moved)), ...messages.slice(moved)]
}

/** What is left, and sent, of the session's conversation before a run; `history` is all of it, or at least its last messages that are kept. */
export const earlierOf = (history: Messages, { earlier: { kept, results, summary } }: RunState): Messages => {
  if (kept === null && results === null) return history
  const left = kept === null ? history : kept === 0 ? [] : history.slice(-kept)
  const cut = results === null ? 0 : left.length - results.after
  const short = left.map((message, index) => index < cut && results !== null ? Compact.withShortResults(message, results.characters) : message)
  const after = Model.Opaque.afterCompaction(short)
  return summary === null ? after : [{ role: "user", text: summary }, ...after]
}

/** The whole conversation of a session as a run sends it. */
export const wholeOf = (history: Messages, state: RunState, definition: DefinitionHash): Messages => {
  const messages = conversationOf(state, definition)
  const earlier = earlierOf(history, state)
  return earlier.length === 0 ? messages : [...earlier, ...messages]
}
