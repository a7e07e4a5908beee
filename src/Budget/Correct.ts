import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { noUsage, type OrgId, promptTokens, RunId, SessionId, type Usage } from "../Run.ts"
import { correctRun, type Tables } from "../RunLog.ts"
import { roll, settle } from "./Account.ts"
import { scopesOf } from "./Ask.ts"
import { momentOf, table } from "./Memory.ts"
import { addCorrection, modelCalls } from "./ModelCalls.ts"

/** What a provider reports later of an attempt: what it cost, and what it used where that is told too. */
export interface Report {
  readonly cost: Money.Money
  readonly source: "reported"
  readonly usage?: Usage
  /** The provider's name of the request. */
  readonly requestId?: string
}

/** What became of a report. */
export interface Corrected {
  /** What the attempt was held to have cost before. */
  readonly before: Money.Money
  /** How much more it is; less than nothing where it is less. */
  readonly difference: Money.Money
  /** False where the report says what was known. */
  readonly changed: boolean
}

/** No attempt of that name has ended. */
export class AttemptNotFound extends Schema.TaggedError<AttemptNotFound>()("AttemptNotFound", { attempt: Schema.String }) {
  override get message() {
    return `No attempt "${this.attempt}" has ended here: give the id of a row of model_calls that is an attempt.`
  }
}

type Used = Required<Usage>

const none: Used = { ...noUsage, webSearches: 0 }

const keys = ["uncached", "cacheRead", "cacheWrite", "cacheWriteHour", "output", "reasoning", "webSearches"] as const

const each = (make: (key: keyof Used) => number): Used => keys.reduce((usage, key) => ({ ...usage, [key]: make(key) }), none)

/** The rules of `conductor_correct_call`, on process memory; `at` is in milliseconds since 1970. */
export const correct = (tables: Tables["Service"], org: OrgId, attempt: string, report: Report, at: number): Corrected | undefined => {
  const calls = modelCalls(tables)
  const place = calls.findIndex((call) => call.id === attempt && call.org === org && call.corrects === null)
  const call = calls[place]
  if (call === undefined) return undefined
  const known = [call, ...calls.filter(({ corrects }) => corrects === attempt)]
  const before = known.reduce((sum, { cost }) => Money.add(sum, cost), Money.zero)
  const difference = Money.subtract(report.cost, before)
  const used = each((key) => known.reduce((sum, { usage }) => sum + usage[key], 0))
  const { usage } = report
  const more = usage === undefined ? none : each((key) => (usage[key] ?? used[key]) - used[key])
  if (difference === 0n && keys.every((key) => more[key] === 0) && known.at(-1)?.source === report.source) return { before, difference, changed: false }

  const run = RunId.make(call.run)
  const accounts = table(tables).of(org)
  const now = momentOf(tables, at)
  for (const scope of scopesOf({ org, run, session: SessionId.make(call.session) })) {
    const account = accounts?.get(scope)
    if (account === undefined) continue
    roll(account, now)
    if (account.rows <= place) settle(account, difference, Money.zero)
  }
  addCorrection(tables, call, { id: `${attempt}+${known.length}`, cost: difference, usage: more, at })
  const reported = new Set([attempt, ...calls.map(({ corrects }) => corrects)])
  correctRun(tables, run, {
    cost: difference,
    inputTokens: promptTokens(more),
    outputTokens: more.output,
    priced: calls.every((one) => one.run !== run || one.source !== "unpriced" || reported.has(one.id))
  })
  return { before, difference, changed: true }
}
