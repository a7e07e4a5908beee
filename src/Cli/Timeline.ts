import { type Logged, type RunEvent, type RunState, Transcript } from "../Run.ts"
import { cost, duration, parameters, shorten, time, tokens } from "./Format.ts"
import { type Paint, plain } from "./Output.ts"
import { summary, toolLine } from "./View.ts"

const indent = (text: string): string => plain(text).trimEnd().split("\n").map((line) => `  ${line}`).join("\n")

const billOf = (bill: Extract<RunEvent, { _tag: "TurnCompleted" }>["bill"]): string => {
  const source = bill.source === "priced" ? "" : ` (${bill.source})`
  return [bill.model, duration(bill.latencyMs), tokens(bill.usage), `${cost(bill.cost, bill.source !== "unpriced")}${source}`].join(" · ")
}

/** The log of a run as a timeline for people: when, which turn, what was called with what result, and what it cost. */
export const timeline = (events: ReadonlyArray<Logged>, state: RunState, paint: Paint): ReadonlyArray<string> => {
  const asked = new Map<string, string>()
  const first = events[0]?.at ?? 0
  const lines: Array<string> = []
  const at = (milliseconds: number) => paint.dim(`+${duration(milliseconds - first)}`.padStart(9))
  const entry = (logged: Logged, text: string) => lines.push(`${at(logged.at)}  ${text}`)
  const more = (text: string) => lines.push(...indent(text).split("\n").map((line) => `${" ".repeat(9)}${line}`))

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
          asked.set(call.id, call.arguments)
          more(`→ ${call.name}  ${parameters(call.arguments, 200)}`)
        }
        return
      }
      case "AttemptFailed":
        entry(logged, paint.yellow(`↻ turn ${event.turn} failed: ${shorten(plain(event.error.message), 300)}`))
        return more(paint.dim(billOf(event.bill)))
      case "ToolCompleted":
        entry(logged, toolLine(event, asked.get(event.call) ?? "", paint))
        return event.outcome === "success" ? more(paint.dim(shorten(plain(event.result), 200))) : undefined
      case "ToolUnknown":
        return entry(logged, paint.yellow(`? ${plain(event.name)} may or may not have happened: ${event.reason}`))
      case "MessageReceived":
        entry(logged, paint.bold(`message of ${plain(event.by)}`))
        return more(shorten(event.text, 1_000))
      case "CancelRequested":
        return entry(logged, `cancel asked for by ${plain(event.by)}${event.reason === null ? "" : `: ${plain(event.reason)}`}`)
      case "RunRetried":
        return entry(logged, `retried by ${plain(event.by)}`)
      case "RunParked":
        return entry(logged, `parked: ${event.reason}`)
      case "RunFailed":
        return entry(logged, paint.red(`failed: ${plain(event.error.message)}`))
      case "RunCancelled":
        return entry(logged, paint.yellow(`cancelled by ${plain(event.by)}`))
      case "RunCompleted":
      case "TurnStarted":
      case "ToolStarted":
        return
      default:
        return entry(logged, event._tag)
    }
  }

  for (const logged of events) tell(logged)
  lines.push("", summary(state, paint))
  return lines
}
