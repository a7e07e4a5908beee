/**
 * What is shown of one run: how it stands, and its events as they come.
 *
 * @import * as Api from "../Api.ts"
 * @import { Tree } from "./tree.js"
 *
 * @typedef {(typeof Api.RunLogged.Encoded)["event"]} RunEvent
 */

/**
 * @template {RunEvent["_tag"]} Tag
 * @typedef {Extract<RunEvent, { readonly _tag: Tag }>} Of
 */
import { costOf, standing } from "./show.js"
import { counted, dollars, duration, h, plain, time, tokens } from "./tree.js"

/** The kinds of events that a stream of a run has, in the order of the contract. */
export const kinds = [
  "RunStarted", "RunClaimed", "TurnStarted", "AttemptFailed", "TurnCompleted", "ToolStarted", "ToolCompleted", "ToolUnknown", "ToolResolved",
  "ApprovalRequested", "ApprovalDecided", "MessageReceived", "CommandRefused", "CancelRequested", "ContextCompacted", "ContextShortened",
  "ChildStarted", "ChildEnded", "DefinitionMigrated", "DefinitionKept", "RunParked", "RunRetried", "RunCompleted", "RunFailed", "RunCancelled"
]

/**
 * Whether a run is over with an event of this kind.
 *
 * @param {string} kind
 * @returns {boolean}
 */
export const isEnd = (kind) => kind === "RunCompleted" || kind === "RunFailed" || kind === "RunCancelled"

/**
 * @param {string} name
 * @param {ReadonlyArray<Tree>} value
 * @returns {ReadonlyArray<Tree>}
 */
const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)]

/**
 * A failure as its data tells it: its kind, and what is more.
 *
 * @param {{ readonly _tag: string }} failure
 * @returns {string}
 */
const failureOf = ({ _tag, ...more }) => {
  const facts = Object.entries(more).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`)
  return facts.length === 0 ? _tag : `${_tag} (${facts.join(", ")})`
}

/**
 * How a run stands.
 *
 * @param {typeof Api.RunView.Encoded} run
 * @returns {ReadonlyArray<Tree>}
 */
export const head = (run) => [
  h("dl", {},
    ...fact("Status", standing(run.status, run.waiting?.reason ?? null)),
    ...fact("Agent", plain(run.agent)),
    ...fact("Model", plain(run.model)),
    ...fact("Session", plain(run.session)),
    ...fact("Started (UTC)", time(run.createdAt)),
    ...(run.endedAt === null ? [] : fact("Ended (UTC)", time(run.endedAt), ` after ${duration(run.endedAt - run.createdAt)}`)),
    ...fact("Turns", String(run.turns)),
    ...fact("Tokens", tokens(run.usage)),
    ...fact("Cost", costOf(run)),
    ...(run.error === null ? [] : fact("Error", plain(failureOf(run.error)))),
    ...(run.cancelled === null ? [] : fact("Cancelled", `by ${plain(run.cancelled.by)}${run.cancelled.reason === null ? "" : `: ${plain(run.cancelled.reason)}`}`))),
  ...(run.text === null ? [] : [h("h3", {}, "Answer"), h("pre", { class: "said", tabindex: "0", "aria-label": "Answer" }, plain(run.text))])
]

/**
 * What a bill comes to.
 *
 * @param {Of<"TurnCompleted">["bill"]} bill
 * @returns {string}
 */
const billOf = ({ cost, latencyMs, model, source, usage }) =>
  [plain(model), duration(latencyMs), tokens(usage), source === "unpriced" ? "unpriced" : dollars(cost)].join(", ")

/**
 * An input or a result that is JSON text: what it is, where it is a text itself.
 *
 * @param {string} json
 * @returns {string}
 */
const unquoted = (json) => {
  try {
    const value = JSON.parse(json)
    return typeof value === "string" ? value : json
  } catch {
    return json
  }
}

/**
 * What an answer of a model says, and what it calls.
 *
 * @param {Of<"TurnCompleted">["parts"]} parts
 * @returns {string}
 */
const saidIn = (parts) =>
  parts.flatMap((part) =>
    part.type === "text" ? [part.text] : part.type === "tool-call" ? [`→ ${part.name} ${part.arguments}`] : []).join("\n")

/**
 * An event in words: a line, and what is said in it.
 *
 * @param {RunEvent} event
 * @returns {readonly [line: string, more?: string | null]}
 */
const told = (event) => {
  switch (event._tag) {
    case "RunStarted":
      return [`asked by ${event.principal}`, event.prompt ?? unquoted(event.input)]
    case "RunClaimed":
      return [`taken by process ${event.runner}`]
    case "TurnStarted":
      return [`turn ${event.turn}: ${event.model} is asked${event.attempt > 1 ? ` (attempt ${event.attempt})` : ""}`]
    case "AttemptFailed":
      return [`turn ${event.turn} failed: ${event.error.message}`, billOf(event.bill)]
    case "TurnCompleted":
      return [`turn ${event.turn}: ${billOf(event.bill)}`, saidIn(event.parts)]
    case "ToolStarted":
      return [`${event.name} begins (${event.effect})`]
    case "ToolCompleted":
      return [`${event.name}: ${event.outcome}, ${duration(event.durationMs)}`, unquoted(event.result)]
    case "ToolUnknown":
      return [`nobody knows whether ${event.name} happened: ${event.reason}`]
    case "ApprovalRequested":
      return [`${event.name} waits for approval`]
    case "ApprovalDecided":
      return [`${event.decision} by ${event.by}`, event.comment]
    case "MessageReceived":
      return [`message of ${event.by}`, event.text]
    case "ContextCompacted":
      return [`the conversation was summarised: ${billOf(event.bill)}`, event.summary]
    case "RunParked":
      return [`parked: ${event.reason}`]
    case "RunFailed":
      return [`failed: ${failureOf(event.error)}`]
    case "RunCancelled":
      return [`cancelled by ${event.by}`, event.reason]
    default: {
      const { _tag, v: _, ...more } = event
      const line = _tag.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).trim()
      return Object.keys(more).length === 0 ? [line] : [line, JSON.stringify(more)]
    }
  }
}

/**
 * An event as a line of the timeline.
 *
 * @param {typeof Api.RunLogged.Encoded} logged
 * @returns {Tree}
 */
export const entry = ({ at, event, seq }) => {
  const [line, more] = told(event)
  return h("li", { key: String(seq), class: event._tag },
    h("span", { class: "seq" }, String(seq)), " ", time(at), " ", h("span", {}, plain(line)),
    ...(!more ? [] : [h("pre", { class: "said" }, plain(more))]))
}

/**
 * How many events are to be seen, and that there were more.
 *
 * @param {number} shown
 * @param {number} dropped
 * @returns {string}
 */
export const tally = (shown, dropped) =>
  dropped === 0 ? counted(shown, "event") : `The latest ${shown} of ${shown + dropped} events: conductor show tells all.`
