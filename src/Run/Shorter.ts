import { unasked } from "./Chain.ts"
import { withShortResults } from "./Compact.ts"
import type { RunEvent } from "./Event.ts"
import type { RunState } from "./State.ts"
import type { Message } from "./Transcript.ts"

/** What somebody said, as a message. */
export const said = (text: string): Message => ({ role: "user", text })

/** How many messages there are once the answer that is being worked on has its place among them. */
export const written = ({ messages, open }: RunState): number => messages.length + (open === null ? 0 : 1)

/** What a change of the conversation's beginning leaves of what was asked before. */
const anew = { attempts: 0, lost: 0, asked: unasked, compacting: null, error: null, measured: null } as const

type Place = Pick<Extract<RunEvent, { _tag: "ContextShortened" }>, "through" | "history" | "tokens">

/** With a summary in the place of the beginning of the conversation. */
export const summarised = (state: RunState, { history, through, tokens = state.earlier.tokens }: Place, summary: string): RunState => {
  const { earlier } = state
  // Where the cut is within the earlier conversation, what is kept of that stands between the summary and the run's own messages.
  if (history !== undefined && history > 0) {
    return { ...state, ...anew, moved: written(state), earlier: { ...earlier, kept: history, summary, tokens } }
  }
  return {
    ...state,
    ...anew,
    messages: [said(summary), ...state.messages.slice(through)],
    moved: written(state) - through + 1,
    // Logs of before know nothing of an earlier conversation, which stayed as it was.
    earlier: history === undefined ? { ...earlier, tokens } : { ...earlier, kept: history, summary: null, tokens }
  }
}

/** With the tool results of the beginning of the conversation shortened. */
export const withShorterResults = (
  state: RunState,
  { characters = Infinity, history, through, tokens = state.earlier.tokens }: Extract<RunEvent, { _tag: "ContextShortened" }>
): RunState => ({
  ...state,
  ...anew,
  messages: state.messages.map((message, index) => index < through ? withShortResults(message, characters) : message),
  moved: written(state),
  earlier: { ...state.earlier, tokens, results: history === undefined ? state.earlier.results : { after: history, characters } }
})
