import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Waiting } from "../Inbox.ts"
import type { RunEvent, RunState } from "../Run.ts"
import type { Journal } from "./Journal.ts"

/** What keeps a run from following a command that it has come to; nothing where it can. */
const problemOf = (state: RunState, { command }: Waiting): string | undefined => {
  const calls = state.open?.calls ?? []
  if (command._tag === "Decision") {
    const call = calls.find(({ approval }) => approval?.id === command.approval)
    if (call?.approval === undefined || call.approval === null) return "nothing waits for that approval"
    if (call.status !== "waiting") return "it was decided before"
    return call.approval.digest === command.digest ? undefined : "the decision was made about another request"
  }
  if (command._tag === "Resolve") {
    const call = calls.find(({ part }) => part.id === command.call)
    return call?.status === "unknown" ? undefined : "the outcome of that call is not in doubt"
  }
  return undefined
}

/** The event that records a command. */
const eventOf = (state: RunState, letter: Waiting): RunEvent => {
  const { by, command, id } = letter
  switch (command._tag) {
    case "Message": {
      const event = { _tag: "MessageReceived", v: 1, message: id, text: command.text, by } as const
      return command.mode === undefined || command.mode === "steer" ? event : { ...event, mode: command.mode }
    }
    case "Cancel":
      return { _tag: "CancelRequested", v: 1, by, reason: command.reason }
    case "Decision":
    case "Resolve": {
      const problem = problemOf(state, letter)
      if (problem !== undefined) {
        return { _tag: "CommandRefused", v: 1, command: id, kind: command._tag === "Decision" ? "decision" : "resolve", problem, by }
      }
      if (command._tag === "Resolve") {
        const { call, comment, resolution, result } = command
        return { _tag: "ToolResolved", v: 1, call, resolution, result, by, comment }
      }
      const { approval, comment, decision, parameters } = command
      const call = state.open?.calls.find((one) => one.approval?.id === approval)?.part.id ?? ""
      return { _tag: "ApprovalDecided", v: 1, approval, call, decision, parameters, by, comment }
    }
  }
}

/** Writes down the commands that have arrived; none is lost between the mail and the log. */
export const consume = (journal: Journal): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.suspend(() => {
    const mail = journal.collect()
    return mail.length === 0 ? Effect.void : Effect.forEach(
      mail,
      (letter) => Effect.suspend(() => journal.emit([eventOf(journal.state(), letter)], { consumes: [letter] })),
      { discard: true }
    )
  }))

/** Writes down which requests for approval nobody decided about in time. */
export const expire = (journal: Journal): Effect.Effect<void> => {
  const waiting = journal.state().open?.calls.filter((call) => call.status === "waiting") ?? []
  if (waiting.length === 0) return Effect.void
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.forEach(waiting, ({ approval, part }) =>
      approval === null || approval.expiresAt > now ? Effect.void : journal.emit([{
        _tag: "ApprovalDecided",
        v: 1,
        approval: approval.id,
        call: part.id,
        decision: "expired",
        parameters: null,
        by: "conductor",
        comment: null
      }]), { discard: true }))
}
