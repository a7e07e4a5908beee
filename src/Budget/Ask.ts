import * as Money from "../Money.ts"
import type { RunState } from "../Run.ts"
import type { Append, Reserve } from "../RunLog.ts"

/** What an append wants of the budgets. */
export interface Ask {
  readonly state: RunState
  /** The new limit of the run itself. */
  readonly limit: Money.Money | undefined
  /** Attempts that have ended: what was set aside for them, where, and what they cost. */
  readonly settle: ReadonlyArray<{
    readonly scopes: ReadonlyArray<string>
    readonly reserved: Money.Money
    readonly cost: Money.Money
  }>
  readonly reserve: Reserve | undefined
}

/** The scopes that a run's money comes from. A request is admitted by all of them or by none. */
export const scopesOf = (state: Pick<RunState, "org" | "session" | "run">): ReadonlyArray<string> => [
  `org:${state.org}`,
  `session:${state.session}`,
  `run:${state.run}`
]

/** What an append wants of the budgets; nothing where it wants nothing. */
export const askOf = ({ reserve, steps }: Append): Ask | undefined => {
  let limit: Money.Money | undefined
  const settle: Array<Ask["settle"][number]> = []
  for (const { before, logged: { event } } of steps) {
    if (event._tag === "RunStarted" || event._tag === "RunRetried") limit = event.limits.cost ?? limit
    if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed") continue
    const attempt = before?.attempt
    settle.push({ scopes: attempt?.scopes ?? [], reserved: attempt?.reserved ?? Money.zero, cost: event.bill.cost })
  }
  return limit === undefined && settle.length === 0 && reserve === undefined
    ? undefined
    : { state: steps[0].after, limit, settle, reserve }
}
