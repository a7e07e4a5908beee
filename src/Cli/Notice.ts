import * as Money from "../Money.ts"
import { type BudgetWarning, type RunEvent, Transcript } from "../Run.ts"
import { duration, parameters, shorten, time } from "./Format.ts"
import { type Paint, plain } from "./Output.ts"

/** A call as the agent asked for it. */
export interface Asked {
  readonly name: string
  /** JSON text. */
  readonly arguments: string
}

/** The calls of a run, as their results are about them: a person may have changed what the agent asked for. */
export const makeCalls = () => {
  const calls = new Map<string, Asked>()
  return {
    of: (call: string): Asked | undefined => calls.get(call),
    /** Takes an event into account; after it is told, because a decision is about the call as it was. */
    learn: (event: RunEvent) => {
      if (event._tag === "TurnCompleted") for (const call of Transcript.toolCallsOf(event.parts)) calls.set(call.id, call)
      if (event._tag === "ApprovalDecided" && event.parameters !== null) {
        const name = calls.get(event.call)?.name ?? ""
        calls.set(event.call, { name, arguments: event.parameters })
      }
    }
  }
}

const because = (comment: string | null): string => comment === null ? "" : `: ${shorten(plain(comment), 300)}`

const modes = { queue: " (when it has nothing more to do)", interrupt: " (at once)", steer: "" } as const

const decided = (event: Extract<RunEvent, { _tag: "ApprovalDecided" }>, name: string, paint: Paint): string => {
  if (event.decision === "expired") return paint.red(`✗ ${name} was not approved in time, which counts as denied`)
  const by = `by ${plain(event.by)}${because(event.comment)}`
  if (event.decision === "denied") return paint.red(`✗ ${name} denied ${by}`)
  const edited = event.parameters === null ? "" : `\n  with other parameters: ${plain(parameters(event.parameters, 200))}`
  return `${paint.green(`✓ ${name} approved`)} ${by}${edited}`
}

const resolved = (event: Extract<RunEvent, { _tag: "ToolResolved" }>, name: string): string => {
  const what = { "happened": "says that it happened", "did-not-happen": "says that it did not happen", "run-again": "lets it be made again" }
  return `! ${name}: ${plain(event.by)} ${what[event.resolution]}${because(event.comment)}`
}

const nearlyUsed = ({ limit, period, scope, spent, until }: BudgetWarning, paint: Paint): string => {
  const share = Math.floor(Number(spent * 100n / limit))
  const time = until === undefined ? "" : `, until ${until.slice(0, 16).replace("T", " ")} UTC`
  return paint.yellow(`! ${share} % of the budget of ${plain(scope)} is spent: ${Money.display(spent)} of ${Money.display(limit)}${period === undefined ? "" : ` for this ${period}`}${time}`)
}

const waitsFor = {
  approval: "until somebody decides about a call",
  "unknown-tool-outcome": "until somebody says whether a call happened",
  shutdown: "because its process ended"
} as const

/**
 * What happens in a run beside answers and results, as text for people: approvals, doubts, messages, commands, changes of the agent.
 * Nothing for an event of another kind.
 */
export const noticeOf = (event: RunEvent, asked: (call: string) => Asked | undefined, paint: Paint): string | undefined => {
  const nameOf = (call: string) => plain(asked(call)?.name ?? call)
  switch (event._tag) {
    case "TurnStarted":
      return event.warnings?.map((warning) => nearlyUsed(warning, paint)).join("\n  ")
    case "ContextCompacted":
      return paint.dim("… the beginning of the conversation was summarised")
    case "ContextShortened": {
      const what = event.summary === undefined ? "long results of tools were shortened" : "the beginning of the conversation was left out, without a summary by a model"
      return paint.dim(`… ${what}${event.because === undefined ? "" : ` (${event.because})`}`)
    }
    case "ApprovalRequested": {
      const about = asked(event.call)
      const what = about === undefined ? "" : `  ${paint.dim(plain(parameters(about.arguments, 200)))}`
      return `${paint.yellow(`‖ ${plain(event.name)} needs approval`)}${what}\n  ${event.approval}, good until ${time(event.expiresAt)} UTC`
    }
    case "ApprovalDecided":
      return decided(event, nameOf(event.call), paint)
    case "ToolUnknown":
      return paint.yellow(`? ${plain(event.name)} (${plain(event.call)}) may or may not have happened: ${plain(event.reason)}`)
    case "ToolResolved":
      return paint.yellow(resolved(event, nameOf(event.call)))
    case "CommandRefused":
      return paint.red(`✗ a ${event.kind === "decision" ? "decision" : "resolution"} of ${plain(event.by)} was refused: ${plain(event.problem)}`)
    case "DefinitionKept":
      return paint.yellow(`! the agent has changed; the run goes on with its definition of before (${event.definition.slice(0, 12)}, now ${event.registered.slice(0, 12)})`)
    case "DefinitionMigrated":
      return paint.yellow(`! the agent has changed; the run goes on with the new definition (${event.to.slice(0, 12)}, before ${event.from.slice(0, 12)})${because(event.note ?? null)}`)
    case "MessageReceived":
      return paint.dim(`› ${plain(event.by)}${modes[event.mode ?? "steer"]}: ${shorten(plain(event.text), 200)}`)
    case "CancelRequested":
      return paint.yellow(`■ cancelled by ${plain(event.by)}${event.reason === null ? "" : `: ${plain(event.reason)}`}`)
    case "RunParked":
      return paint.yellow(`‖ parked ${waitsFor[event.reason]}`)
    default:
      return undefined
  }
}

/** How long a request is still good for. */
export const leftOf = (expiresAt: number, now: number): string =>
  expiresAt > now ? `good for ${duration(expiresAt - now)}` : "its time is over, which counts as denied"
