import * as Money from "../Money.ts"
import type { RunState } from "../Run.ts"
import type { Append, Grant, Reserve, Row } from "../RunLog.ts"

/** What an attempt that begins wants, and what its event says that it was granted. */
export interface Wanted {
  readonly wanted: Reserve
  readonly said: Grant
}

/** What an append wants of the budgets. */
export interface Ask {
  readonly state: RunState
  /** The scopes that the run's money comes from, its own last. */
  readonly scopes: ReadonlyArray<string>
  /** The new limit of the run itself. */
  readonly limit: Money.Money | undefined
  /** What the attempts cost that have ended, and what was reserved for them in each of the scopes. */
  readonly settle: { readonly cost: Money.Money; readonly back: ReadonlyArray<Money.Money> } | undefined
  readonly wants: Wanted | undefined
}

/** What is reserved for an attempt of so much output. */
export const amountOf = ({ input, rate }: Reserve, output: number): Money.Money =>
  Money.add(input, Money.charge([{ units: output, perMillion: rate }]))

/** The scopes that a run's money comes from. A request is admitted by all of them or by none. */
export const scopesOf = (state: Pick<RunState, "org" | "session" | "run">): ReadonlyArray<string> => [
  `org:${state.org}`,
  `session:${state.session}`,
  `run:${state.run}`
]

/** The scopes of each run, by what it was started with: made once, for every append asks for them. */
const known = new WeakMap<RunState["started"], ReadonlyArray<string>>()

const scopesOnce = (state: RunState): ReadonlyArray<string> => {
  const found = known.get(state.started)
  if (found !== undefined) return found
  const scopes = scopesOf(state)
  known.set(state.started, scopes)
  return scopes
}

/** What an append wants of the budgets; nothing where it wants nothing. */
export const askOf = ({ reserve, steps }: Append): Ask | undefined => {
  const state = steps[0].after
  let limit: Money.Money | undefined
  let cost: Money.Money | undefined
  let back: Array<Money.Money> = []
  for (const { before, logged: { event } } of steps) {
    if (event._tag === "RunStarted" || event._tag === "RunRetried") limit = event.limits.cost ?? limit
    if (event._tag !== "TurnCompleted" && event._tag !== "AttemptFailed" && event._tag !== "ContextCompacted") continue
    const attempt = before?.attempt
    cost = Money.add(cost ?? Money.zero, event.bill.cost)
    back = scopesOnce(state).map((scope, index) =>
      Money.add(back[index] ?? Money.zero, attempt?.scopes.includes(scope) === true ? attempt.reserved : Money.zero))
  }
  const last = (steps.at(-1) ?? steps[0]).logged.event
  const wants = reserve === undefined || last._tag !== "TurnStarted" ? undefined : { wanted: reserve, said: last }
  return limit === undefined && cost === undefined && wants === undefined
    ? undefined
    : { state, scopes: scopesOnce(state), limit, settle: cost === undefined ? undefined : { cost, back }, wants }
}

const nothing = [null, null, null, null] as const

/** The ask as `conductor_gate_budgets` takes it: a row for each scope, the first with what is the same for all. */
export const cellsOf = ({ limit, scopes, settle, state, wants }: Ask, append: number): ReadonlyArray<Row> => {
  const wanted = wants?.wanted
  const price = wanted?.priced === true ? [Money.format(wanted.input), Money.format(wanted.rate)] : [null, null]
  const begins = wanted === undefined ? nothing : [...price, String(wanted.max), String(wanted.min)]
  const reserved = wants === undefined ? null : Money.format(wants.said.reserved)
  return scopes.map((scope, place) => [
    String(append), place === 0 ? String(scopes.length) : null, state.org, scope,
    limit !== undefined && place === scopes.length - 1 ? Money.format(limit) : null,
    settle !== undefined && place === 0 ? Money.format(settle.cost) : null,
    settle === undefined ? null : Money.format(settle.back[place] ?? Money.zero),
    wants?.said.scopes.includes(scope) === true ? reserved : null,
    ...(place === 0 ? begins : nothing)
  ])
}
