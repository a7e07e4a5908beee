import * as Schema from "effect/Schema"
import type { Watched } from "../Conductor.ts"
import { fold, type Logged, RunEvent, type RunState, Transcript } from "../Run.ts"
import { counted, cost, duration, parameters, shorten, tokens } from "./Format.ts"
import { makeCalls, noticeOf } from "./Notice.ts"
import { type Paint, plain } from "./Output.ts"

/** Turns what a run does into text, piece by piece. */
export interface View {
  /** What there is to write about the next thing that happens. */
  readonly next: (item: Watched) => string
  /** What there is to write when nothing more happens. */
  readonly end: (state: RunState) => string
}

const encodeEvent = Schema.encodeUnknownSync(RunEvent)

/** An event or a live piece as a line of JSON: what `Conductor.watch` gives, encoded. */
export const jsonLine = (item: Watched): string =>
  `${JSON.stringify("event" in item ? { ...item, event: encodeEvent(item.event) } : item)}\n`

/** A run as lines of JSON. */
export const jsonView: View = { next: jsonLine, end: () => "" }

const marks = { completed: "✓", failed: "✗", cancelled: "■", parked: "‖", running: "…" } as const

/** How a run stands, in one line: status, turns, tokens, cost and id. */
export const summary = (state: RunState, paint: Paint): string => {
  const colour = state.status === "completed" ? paint.green : state.status === "failed" ? paint.red : paint.yellow
  const figures = [counted(state.turns, "turn"), tokens(state.usage), `${state.bounded ? "at most " : ""}${cost(state.cost, state.priced)}`, `run ${state.run}`]
  return `${colour(`${marks[state.status]} ${state.status}`)}${paint.dim(` · ${figures.join(" · ")}`)}`
}

/** How a tool call ended, in one line: mark, name, duration, attempts, what it was asked, and the problem where there was one. */
export const toolLine = (
  event: Extract<RunEvent, { _tag: "ToolCompleted" }>,
  asked: string,
  paint: Paint
): string => {
  const isDone = event.outcome === "success"
  const mark = isDone ? paint.green("✓") : paint.red("✗")
  const attempts = event.attempts === undefined ? "" : ` (${counted(event.attempts, "attempt")})`
  const about = asked === "" ? "" : `  ${paint.dim(plain(parameters(asked, 100)))}`
  const problem = isDone ? "" : `\n  ${paint.red(event.outcome)}: ${plain(parameters(event.result, 160))}`
  return `${mark} ${paint.bold(plain(event.name))} ${duration(event.durationMs)}${attempts}${about}${problem}`
}

/** A run for people: text as it comes, a line for each tool call, and what goes wrong on the way. */
export const humanView = (paint: Paint, options: { readonly after?: number } = {}): View => {
  const after = options.after ?? 0
  const calls = makeCalls()
  /** The text of the turn under way that was written already. */
  let streamed = ""
  /** Whether text was written that does not count. */
  let broken = false
  /** Whether the line under the cursor is unfinished. */
  let isOpen = false

  const close = () => {
    const text = isOpen ? "\n" : ""
    isOpen = false
    return text
  }
  const line = (text: string) => `${close()}${text}\n`
  const stream = (text: string) => {
    const shown = plain(text)
    if (shown !== "") isOpen = !shown.endsWith("\n")
    return shown
  }

  const answered = (event: Extract<RunEvent, { _tag: "TurnCompleted" }>) => {
    const text = Transcript.textOf(event.parts)
    const before = streamed
    streamed = ""
    // Pieces are best effort: what did not arrive is made up for from the event.
    const rest = text.startsWith(before) ? stream(text.slice(before.length)) : `${close()}${stream(text)}`
    return `${rest}${close()}`
  }

  const attempted = ({ error, turn }: Extract<RunEvent, { _tag: "AttemptFailed" }>) => {
    const lost = broken ? ", and what it said does not count" : ""
    streamed = ""
    broken = false
    if (error.reason === "Cancelled") return close()
    return line(paint.yellow(`↻ turn ${turn} failed${lost} (${shorten(plain(error.message), 300)})${error.retryable ? "; trying again" : ""}`))
  }

  const happened = ({ event, seq }: Logged): string => {
    const text = seq <= after ? "" : told(event)
    calls.learn(event)
    return text
  }

  const told = (event: RunEvent): string => {
    switch (event._tag) {
      case "TurnCompleted":
        return answered(event)
      case "AttemptFailed":
        return attempted(event)
      case "ToolCompleted":
        return line(toolLine(event, calls.of(event.call)?.arguments ?? "", paint))
      case "RunParked":
        // How the run stands is said at the end.
        return ""
      default: {
        const notice = noticeOf(event, calls.of, paint)
        return notice === undefined ? "" : line(notice)
      }
    }
  }

  return {
    next: (item) => {
      if ("event" in item) return happened(item)
      switch (item._tag) {
        case "Delta":
          if (item.kind === "reasoning") return ""
          streamed += item.text
          return stream(item.text)
        case "Reset":
          // The failed attempt, which is announced next, says why.
          broken = streamed !== ""
          streamed = ""
          return ""
        case "Progress":
          return line(paint.dim(`… ${plain(item.tool)}: ${shorten(plain(item.message), 160)}`))
      }
    },
    end: (state) => line(`${state.turns > 0 ? "\n" : ""}${summary(state, paint)}`)
  }
}

/** The run with one more thing taken into account. */
export const advance = (state: RunState | undefined, item: Watched): RunState | undefined =>
  "event" in item ? fold(state, item) : state
