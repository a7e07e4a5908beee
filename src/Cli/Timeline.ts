import { isOver, type Logged, type RunEvent, type RunState, Transcript, waitingOf } from "../Run.ts"
import { cost, duration, parameters, shorten, time, tokens } from "./Format.ts"
import { leftOf, makeCalls, noticeOf } from "./Notice.ts"
import { type Paint, plain } from "./Output.ts"
import { summary, toolLine } from "./View.ts"

type Style = (text: string) => string

const indent = (text: string, style: Style): ReadonlyArray<string> =>
  plain(text).trimEnd().split("\n").map((line) => `${" ".repeat(11)}${style(line)}`)

const billOf = (bill: Extract<RunEvent, { _tag: "TurnCompleted" }>["bill"]): string => {
  const source = bill.source === "priced" ? "" : ` (${bill.source})`
  const served = [bill.servedModel, bill.host === undefined ? undefined : `at ${bill.host}`].filter((text) => text !== undefined)
  const model = served.length === 0 ? bill.model : `${bill.model} (${plain(served.join(" "))})`
  return [model, duration(bill.latencyMs), tokens(bill.usage), `${cost(bill.cost, bill.source !== "unpriced")}${source}`].join(" · ")
}

/** The price lists by which attempts were charged, as their starts name them. */
const priceLists = (events: ReadonlyArray<Logged>): ReadonlyArray<string> => {
  const started = new Map(events.flatMap(({ event }) => event._tag === "TurnStarted" ? [[event.attemptId, event.prices] as const] : []))
  const used = events.flatMap(({ event }) =>
    (event._tag === "TurnCompleted" || event._tag === "AttemptFailed" || event._tag === "ContextCompacted") && event.bill.cost > 0n &&
      event.bill.source !== "reported"
      ? (event.attemptId === undefined ? undefined : started.get(event.attemptId)) ?? []
      : [])
  return [...new Set(used)]
}

/**
 * The log of a run as a timeline for people: when, which turn, what was called with what result, what it cost, and at the end how a run
 * that waits goes on. `now` is in milliseconds since 1970.
 */
export const timeline = (events: ReadonlyArray<Logged>, state: RunState, paint: Paint, now: number): ReadonlyArray<string> => {
  const calls = makeCalls()
  const waiting = new Set(isOver(state.status) ? [] : waitingOf(state).approvals?.map(({ approval }) => approval))
  const first = events[0]?.at ?? 0
  const lines: Array<string> = []
  const at = (milliseconds: number) => paint.dim(`+${duration(milliseconds - first)}`.padStart(9))
  const entry = (logged: Logged, text: string) => lines.push(`${at(logged.at)}  ${text}`)
  const more = (text: string, style: Style = (line) => line) => lines.push(...indent(text, style))

  const tell = (logged: Logged) => {
    const { event } = logged
    switch (event._tag) {
      case "RunStarted":
        lines.push(`${paint.bold(`run ${logged.run}`)}`)
        lines.push(`  agent ${event.agent} · model ${event.model} · by ${plain(event.principal)} · session ${plain(event.session)}`)
        lines.push(`  started ${time(logged.at)} UTC`, "")
        entry(logged, paint.bold("asked"))
        return more(shorten(event.prompt ?? String(JSON.parse(event.input)), 1_000))
      case "RunClaimed":
        return logged.epoch > 1 ? entry(logged, `taken over by process ${event.runner} (epoch ${logged.epoch})`) : undefined
      case "TurnCompleted": {
        entry(logged, `${paint.bold(`turn ${event.turn}`)}  ${paint.dim(billOf(event.bill))}`)
        const text = Transcript.textOf(event.parts)
        if (text.trim() !== "") more(text)
        for (const call of Transcript.toolCallsOf(event.parts)) {
          more(`→ ${call.name}  ${parameters(call.arguments, 200)}`)
        }
        return
      }
      case "AttemptFailed":
        entry(logged, paint.yellow(`↻ turn ${event.turn} failed: ${shorten(plain(event.error.message), 300)}`))
        return more(billOf(event.bill), paint.dim)
      case "ContextCompacted":
        entry(logged, `${paint.bold("summarised")}  ${paint.dim(billOf(event.bill))}`)
        return more(shorten(event.summary, 1_000), paint.dim)
      case "ToolCompleted":
        entry(logged, toolLine(event, calls.of(event.call)?.arguments ?? "", paint))
        return event.outcome === "success" ? more(shorten(event.result, 200), paint.dim) : undefined
      case "MessageReceived":
        entry(logged, `${paint.bold(`message of ${plain(event.by)}`)}${event.mode === undefined ? "" : ` (${event.mode})`}`)
        return more(shorten(event.text, 1_000))
      case "CancelRequested":
        return entry(logged, `cancel asked for by ${plain(event.by)}${event.reason === null ? "" : `: ${plain(event.reason)}`}`)
      case "RunRetried":
        return entry(logged, `retried by ${plain(event.by)}`)
      case "RunFailed":
        return entry(logged, paint.red(`failed: ${plain(event.error.message)}`))
      case "RunCancelled":
        return entry(logged, paint.yellow(`cancelled by ${plain(event.by)}`))
      case "RunCompleted":
      case "ToolStarted":
        return
      default: {
        if (event._tag === "TurnStarted" && event.warnings === undefined) return
        const [what, ...rest] = noticeOf(event, calls.of, paint)?.split("\n") ?? [event._tag]
        entry(logged, what ?? event._tag)
        for (const line of rest) more(line.trimStart())
        return event._tag === "ApprovalRequested" && waiting.has(event.approval) ? more(leftOf(event.expiresAt, now)) : undefined
      }
    }
  }

  for (const logged of events) {
    tell(logged)
    calls.learn(logged.event)
  }
  lines.push("", summary(state, paint))
  const lists = priceLists(events)
  if (lists.length > 0) lines.push(paint.dim(`  prices of ${plain(lists.join(" and "))}`))
  if (state.status === "parked") lines.push(plain(waitingOf(state).message))
  return lines
}
