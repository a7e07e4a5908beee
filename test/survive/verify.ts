/** What must hold when everything is over, however often the workers were killed; a sentence for each thing that does not. */
import { Effect } from "effect"
import * as SqlClient from "effect/sql/SqlClient"
import { AuditLog, Budget, Conductor, Money, Run } from "../../src/index.ts"
import * as testing from "../../src/testing.ts"
import { isForsaken } from "./person.ts"
import { cancelledAfter, messagesFor, needsApproval, numberOf, planned, type Planned, steps } from "./subject.ts"
import { callName, type Seen, type World } from "./world.ts"

/** What the parent knows from its own side. */
export interface Witnessed {
  readonly seed: string
  readonly world: World
  /** Runs whose start was acknowledged, by number. */
  readonly acknowledged: ReadonlyMap<number, string>
  /** Runs of which the command to cancel was accepted. */
  readonly cancelled: ReadonlySet<number>
  /** Messages that were accepted, in their order, by run. */
  readonly messages: ReadonlyMap<number, ReadonlyArray<string>>
  /** Requests to the model by `run turn`. */
  readonly requests: ReadonlyMap<string, number>
  /** When workers were killed, in milliseconds since 1970. */
  readonly kills: ReadonlyArray<number>
}

/** What was found. */
export interface Report {
  readonly broken: ReadonlyArray<string>
  /** How many there were of what. */
  readonly counts: Readonly<Record<string, number>>
}

type Events = ReadonlyArray<Run.Logged>
type Event<Tag extends Run.RunEvent["_tag"]> = Extract<Run.RunEvent, { readonly _tag: Tag }>

const of = <const Tag extends Run.RunEvent["_tag"]>(events: Events, tag: Tag): ReadonlyArray<Event<Tag>> =>
  events.flatMap(({ event }) => event._tag === tag ? [event as Event<Tag>] : []) // its tag says so

const nothing: Seen = { requests: 0, effects: 0, keys: new Set() }

/** The counts of a campaign. */
class Tally {
  readonly broken: Array<string> = []
  readonly counts: Record<string, number> = {}

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by
  }

  holds(condition: boolean, otherwise: () => string): void {
    if (!condition) this.broken.push(otherwise())
  }
}

/** Every turn was bought once; each further request was lost with its process, and the log says so. */
const turns = (tally: Tally, witnessed: Witnessed, n: number, events: Events): void => {
  const started = of(events, "TurnStarted")
  const completed = of(events, "TurnCompleted")
  const failed = of(events, "AttemptFailed")
  for (const { error, turn } of failed) {
    tally.count(`attempts ${error.reason}`)
    tally.holds(error.reason === "Lost" || (error.reason === "Cancelled" && of(events, "CancelRequested").length > 0), () => `run ${n}: an attempt of turn ${turn} failed with ${error.reason} (${error.message}), though the model never fails`)
  }
  for (let turn = 1; turn <= (started.at(-1)?.turn ?? 0); turn++) {
    const asked = witnessed.requests.get(`${n} ${turn}`) ?? 0
    const [begun, done, lost] = [started, completed, failed].map((list) => list.filter((event) => event.turn === turn).length)
    tally.count("model requests", asked)
    tally.holds((done ?? 0) <= 1, () => `run ${n}: turn ${turn} was completed ${done} times`)
    tally.holds(begun === (done ?? 0) + (lost ?? 0), () => `run ${n}: turn ${turn} was begun ${begun} times, but ended ${done} + ${lost} times`)
    tally.holds(asked >= (done ?? 0), () => `run ${n}: turn ${turn} was completed without a request`)
    tally.holds(asked <= (begun ?? 0), () => `run ${n}: turn ${turn} was asked for ${asked} times, but the log knows of ${begun} attempts`)
  }
}

/** What happened of a call, in its log and on the other side. */
interface Facts {
  readonly call: Planned
  readonly events: Events
  readonly seen: Seen
  /** Whether somebody cancelled its run. */
  readonly cancelled: boolean
  /** The note of each row that it left. */
  readonly rows: ReadonlyArray<string | null>
}

const judge = (tally: Tally, { call, cancelled, events, rows, seen }: Facts): void => {
  const name = `the ${call.tool} call ${callName(call)}`
  const started = of(events, "ToolStarted")
  const completed = of(events, "ToolCompleted")
  const unknown = of(events, "ToolUnknown")
  const resolved = of(events, "ToolResolved")
  const decided = of(events, "ApprovalDecided")
  const again = resolved.filter((event) => event.resolution === "run-again").length
  const happened = resolved.some((event) => event.resolution === "happened")
  const succeeded = completed.some((event) => event.outcome === "success")
  tally.count(`calls ${call.tool}`)
  if (started.length > 1) tally.count(`begun again ${call.tool}`)
  if (unknown.length > 0) tally.count(`unknown ${call.tool}`)
  for (const event of resolved) tally.count(`resolved ${event.resolution}`)
  for (const event of decided) tally.count(`decided ${event.decision}`)
  tally.holds(completed.length + resolved.length - again <= 1, () => `${name} has ${completed.length} + ${resolved.length - again} results`)
  for (const { outcome, result } of completed) {
    const denied = decided.some((event) => event.decision === "denied")
    tally.holds(outcome === "success" || (outcome === "denied" && denied) || (outcome === "cancelled" && cancelled), () => `${name} ended with ${outcome} (${result}), though its handler never fails`)
  }
  tally.holds(new Set(started.map((event) => event.key)).size <= 1, () => `${name} was begun with different keys`)
  const asked = of(events, "ApprovalRequested").length
  const needed = call.tool === "transactional" && needsApproval(call)
  tally.holds(asked <= (needed ? 1 : 0), () => `${name} asked for approval ${asked} times`)
  tally.holds(decided.length <= asked, () => `${name} was decided about ${decided.length} times`)
  tally.holds(started.length === 0 || !needed || decided.some((event) => event.decision === "approved"), () => `${name} was begun without approval`)
  const edited = decided.some((event) => event.parameters !== null)
  tally.holds(!succeeded || (rows[0] === "edited") === edited, () => `${name} was ${edited ? "" : "not "}edited, and its row says ${rows[0]}`)
  switch (call.tool) {
    case "idempotent":
    case "reconcilable":
      tally.holds(seen.keys.size <= 1, () => `${name} reached the other side with ${seen.keys.size} keys`)
      tally.holds(seen.effects <= 1, () => `${name} had its effect ${seen.effects} times`)
      break
    case "transactional":
      tally.holds(rows.length === (succeeded ? 1 : 0), () => `${name} is ${succeeded ? "" : "not "}done, and has ${rows.length} rows`)
      break
    case "unsafe":
      tally.holds(seen.effects <= 1, () => `${name} had its effect ${seen.effects} times`)
      tally.holds(started.length <= 1 + again, () => `${name} was begun ${started.length} times, though nobody said that it should run again`)
      tally.holds(started.length === 0 || succeeded || unknown.length > 0, () => `${name} began, did not end, and is not unknown`)
  }
  if (call.tool === "pure" || call.tool === "transactional") {
    tally.holds(unknown.length === 0, () => `${name} is unknown, though it may be repeated`)
  } else {
    const done = succeeded || happened
    tally.holds(!done || seen.effects === 1, () => `${name} is done, but had its effect ${seen.effects} times`)
    const not = resolved.some((event) => event.resolution === "did-not-happen")
    tally.holds(!not || seen.effects === 0, () => `a person was told that ${name} did not happen, but it had its effect ${seen.effects} times`)
  }
}

/** One run: its sequence, its conversation, its row, its turns and its calls. */
const run = (tally: Tally, witnessed: Witnessed, rows: ReadonlyMap<string, ReadonlyArray<string | null>>, row: Run.RunState, events: Events): void => {
  const n = numberOf(row.session)
  tally.count(`runs ${row.status}`)
  tally.count("events", events.length)
  tally.count("claims after the first", of(events, "RunClaimed").length - 1)
  const gap = events.findIndex((logged, index) => logged.seq !== index + 1)
  tally.holds(gap === -1, () => `run ${n}: its sequence has a gap before event ${gap + 1}`)
  const problem = Run.Transcript.problem(row.messages)
  tally.holds(problem === undefined, () => `run ${n}: its conversation is not valid: ${problem}`)
  tally.holds(row.status !== "running", () => `run ${n} is neither over nor parked`)
  tally.holds(row.status !== "failed", () => `run ${n} failed with ${JSON.stringify(row.failure)}`)
  tally.holds(row.status !== "cancelled" || cancelledAfter(witnessed.seed, n) !== undefined, () => `run ${n} was cancelled by nobody`)
  tally.holds(row.status === "cancelled" || !witnessed.cancelled.has(n), () => `run ${n} is ${row.status}, though the command to cancel it was accepted`)
  const heard = of(events, "MessageReceived").map(({ text }) => text)
  tally.count("messages", heard.length)
  const sent = messagesFor(witnessed.seed, n).map(({ text }) => text).slice(0, heard.length)
  tally.holds(heard.join() === sent.join(), () => `run ${n} heard [${heard.join()}], and was sent [${sent.join()}]`)
  const accepted = witnessed.messages.get(n) ?? []
  tally.holds(accepted.every((text) => heard.includes(text)), () => `run ${n} heard [${heard.join()}], though [${accepted.join()}] were accepted`)
  if (row.status === "parked") {
    const doubtful = row.open?.calls.filter((call) => call.status === "unknown") ?? []
    const open = row.open?.calls.map((call) => `${call.part.id} ${call.status}`).join(", ")
    const forsaken = doubtful.some((call) => isForsaken(witnessed.seed, `${n}.${row.turns}.${call.part.id.split("-")[1]}`))
    tally.holds(row.parked === "unknown-tool-outcome" && forsaken, () => `run ${n} is parked for ${row.parked}, though nobody is to do anything (${open})`)
  }
  if (row.status === "completed") {
    tally.holds(row.turns > steps && row.turns <= steps + 1 + heard.length, () => `run ${n} is completed after ${row.turns} turns`)
  }
  for (const { kind, problem } of of(events, "CommandRefused")) {
    tally.count(`refused ${kind}`)
    tally.holds(/decided before|not in doubt|nothing waits/.test(problem), () => `run ${n}: a ${kind} was refused: ${problem}`)
  }
  turns(tally, witnessed, n, events)
  for (const { turn } of of(events, "TurnCompleted")) {
    for (const call of planned(witnessed.seed, n, turn)) {
      const id = `c${turn}-${call.index}`
      const own = events.filter(({ event }) => "call" in event && event.call === id)
      const name = callName(call)
      judge(tally, { call, cancelled: row.cancel !== null, events: own, seen: witnessed.world.calls.get(name) ?? nothing, rows: rows.get(name) ?? [] })
      tally.holds(
        row.status !== "completed" || of(own, "ToolCompleted").length + of(own, "ToolResolved").length > 0,
        () => `run ${n} is completed, but the call ${name} has no result`
      )
    }
  }
}

/** Money: nothing reserved, and in each scope spent what the runs in it cost. */
const money = Effect.fnUntraced(function*(tally: Tally, states: ReadonlyArray<Run.RunState>) {
  const org = Run.OrgId.make("local")
  const balances = yield* (yield* Budget).list(org)
  const costs = new Map<string, Money.Money>()
  for (const state of states) {
    for (const scope of [`org:${org}`, `session:${state.session}`, `run:${state.run}`]) {
      costs.set(scope, Money.add(costs.get(scope) ?? Money.zero, state.cost))
    }
  }
  for (const scope of costs.keys()) tally.holds(balances.some((balance) => balance.scope === scope), () => `${scope} has no budget`)
  for (const { reserved, scope, spent } of balances) {
    const cost = costs.get(scope) ?? Money.zero
    tally.holds(reserved === 0n, () => `${Money.format(reserved)} USD stay reserved in ${scope}`)
    tally.holds(spent === cost, () => `${scope} says ${Money.format(spent)} USD, but its runs cost ${Money.format(cost)}`)
  }
  tally.count("budgets", balances.length)
})

/** Checks everything; each thing that does not hold is a sentence. */
export const verify = Effect.fnUntraced(function*(witnessed: Witnessed) {
  const tally = new Tally()
  const conductor = yield* Conductor
  const sql = yield* SqlClient.SqlClient
  const org = Run.OrgId.make("local")
  const rows = yield* conductor.list({ org, limit: 100_000 })
  const effects = yield* sql<{ readonly call: string; readonly note: string | null }>`SELECT call, note FROM survive_effects`
  const written = new Map<string, Array<string | null>>()
  for (const { call, note } of effects) written.set(call, [...(written.get(call) ?? []), note])
  const states: Array<Run.RunState> = []
  for (const row of rows) {
    const events = yield* testing.events(row.run)
    const state = yield* conductor.state(row.run)
    tally.holds(row.seq === state.seq && row.status === state.status && row.cost === state.cost, () =>
      `run ${numberOf(row.session)}: its row (${row.status}, ${row.seq}) does not agree with its log (${state.status}, ${state.seq})`)
    states.push(state)
    run(tally, witnessed, written, state, events)
  }
  tally.count("runs", rows.length)
  tally.holds(new Set(rows.map((row) => row.session)).size === rows.length, () => "a session has more than one run")
  for (const [n, id] of witnessed.acknowledged) {
    tally.holds(rows.some((row) => row.run === id), () => `the start of run ${n} was acknowledged, but it is lost`)
  }
  const idle = witnessed.kills.filter((at) => !rows.some((row) => row.createdAt < at && (row.endedAt === null || row.endedAt > at)))
  tally.holds(idle.length === 0, () => `${idle.length} kills came when no run was unfinished`)
  yield* money(tally, states)
  const chain = yield* (yield* AuditLog).verify({ org })
  tally.count("audit rows", chain.rows)
  tally.holds(chain.broken === undefined && chain.rows > 0, () => `the audit chain breaks: ${chain.broken?.message ?? "it is empty"}`)
  return { broken: tally.broken, counts: tally.counts } satisfies Report
})
