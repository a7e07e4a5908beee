import { RunWaiting } from "./Error.ts"
import type { RunState } from "./State.ts"

/** What a parked run waits for. */
export const waitingOf = ({ open, parked, run }: RunState): RunWaiting => {
  const calls = open?.calls ?? []
  return new RunWaiting({
    run,
    reason: parked ?? "it is not over",
    approvals: calls.flatMap(({ approval, part, status }) =>
      status === "waiting" && approval !== null ? [{ approval: approval.id, tool: part.name }] : []),
    unknown: calls.flatMap(({ part, status }) => status === "unknown" ? [{ call: part.id, tool: part.name }] : [])
  })
}
