import * as Schema from "effect/Schema"
import { Compact, RunEvent } from "../Run.ts"

/** What stands in the place of what was forgotten. */
export const forgotten = "[FORGOTTEN]"

/** Takes texts out of a text. */
export type TakeOut = (text: string) => string

/** The tokens of JSON that hold a value of their own. */
const tokens = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g

const isJson = (text: string): boolean => {
  if (!/^\s*["[{]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** How a text is written within a JSON string. */
const escaped = (text: string): string => JSON.stringify(text).slice(1, -1)

/** How a text is written in prose: as it is, and within JSON that is within JSON, as deep as anybody quotes it. */
const written = (text: string): ReadonlyArray<string> => {
  const forms = [text]
  for (let depth = 0; depth < 4; depth++) forms.push(escaped(forms.at(-1) ?? ""))
  return [...new Set(forms)]
}

/** The fewest characters of a text that tell something of it. */
const telling = 4

/** Takes out what is left of a text that was cut: its beginning at the end of a piece, its end at the beginning of the next one. */
const fromCut = (pieces: ReadonlyArray<string>, one: string): ReadonlyArray<string> => {
  const lengths = Array.from({ length: Math.max(0, one.length - telling) }, (_, index) => one.length - 1 - index)
  // A character may have been cut in two.
  const heads = lengths.map((length) => one.slice(0, length).toWellFormed())
  const tails = lengths.map((length) => one.slice(-length).toWellFormed())
  return pieces.map((piece, index) => {
    if (index % 2 === 1) return piece
    const head = index === pieces.length - 1 ? undefined : heads.find((text) => piece.endsWith(text))
    const left = head === undefined ? piece : piece.slice(0, -head.length) + forgotten
    const tail = index === 0 ? undefined : tails.find((text) => left.startsWith(text))
    return tail === undefined ? left : forgotten + left.slice(tail.length)
  })
}

/**
 * Takes every occurrence of these texts, word for word, out of a text, and what is left of them where it was shortened. In JSON, and in JSON that is a string of it, values are
 * looked at one by one, so that escapes do not hide anything, it stays JSON, and all else of it stays as it was written.
 */
export const takeOut = (texts: ReadonlyArray<string>): TakeOut => {
  // A text within another is taken out with it.
  const longestFirst = texts.toSorted((a, b) => b.length - a.length)
  const forms = longestFirst.flatMap(written)
  const from = (text: string): string => {
    if (isJson(text)) {
      return text.replace(tokens, (token) => {
        if (!token.startsWith("\"")) return texts.includes(token) ? JSON.stringify(forgotten) : token
        const value: string = JSON.parse(token) // a string, by its quotes
        const left = from(value)
        return left === value ? token : JSON.stringify(left)
      })
    }
    const whole = forms.reduce((left, form) => left.replaceAll(form, forgotten), text)
    const pieces = whole.split(Compact.leftOut)
    return pieces.length === 1 ? whole : longestFirst.reduce(fromCut, pieces).join("")
  }
  return from
}

/** Where events say what people, models and tools said; `*` is every element or member. All else of them is what runs are folded from. */
const said: { readonly [Tag in RunEvent["_tag"]]?: ReadonlyArray<string> } = {
  RunStarted: ["input", "prompt", "metadata.*", "history.*.text", "history.*.results.*.result"],
  AttemptFailed: ["error.message"],
  TurnCompleted: ["note"],
  ToolCompleted: ["result", "fatal"],
  ToolUnknown: ["reason"],
  ToolResolved: ["result", "comment"],
  ApprovalDecided: ["parameters", "comment"],
  MessageReceived: ["text"],
  CommandRefused: ["problem"],
  CancelRequested: ["reason"],
  ContextCompacted: ["summary"],
  ContextShortened: ["summary"],
  DefinitionMigrated: ["note"],
  RunFailed: ["error.problem", "error.explanation", "error.failure", "error.asked.*.problem"],
  RunCancelled: ["reason"]
}

type Json = { [key: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null

const at = (value: unknown, [key, ...rest]: ReadonlyArray<string>, take: TakeOut): void => {
  if (!isObject(value) || key === undefined) return
  for (const name of key === "*" ? Object.keys(value) : [key]) {
    const inner = value[name]
    if (rest.length > 0) at(inner, rest, take)
    else if (typeof inner === "string") value[name] = take(inner)
  }
}

/** Takes texts out of one piece of an answer. What the provider signed is no longer what it signed, so that goes with it. */
const fromPart = (part: Json, take: TakeOut): void => {
  const before = JSON.stringify(part)
  at(part, ["text"], take)
  at(part, ["arguments"], take)
  at(part, ["opaque", "*", "*"], take)
  if (JSON.stringify(part) !== before) delete part["opaque"]
}

/** The calls whose arguments or results are other than before. */
const callsOf = (before: Json, after: Json): ReadonlyArray<string> => {
  if (typeof after["call"] === "string") return [after["call"]]
  const [old, now] = [before["parts"], after["parts"]]
  if (!Array.isArray(old) || !Array.isArray(now)) return []
  return now.flatMap((part: Json, index) =>
    part["type"] === "tool-call" && JSON.stringify(part) !== JSON.stringify(old[index]) ? [String(part["id"])] : [])
}

/** An event's JSON without some texts, and the calls that are concerned. */
export interface Taken {
  readonly payload: string
  readonly calls: ReadonlyArray<string>
}

const isEvent = Schema.is(Schema.toEncoded(RunEvent))

/** An event, as JSON text, without some texts; nothing where they are not in it. The rest of it stays byte for byte. */
export const fromEvent = (payload: string, take: TakeOut): Taken | undefined => {
  const before: unknown = JSON.parse(payload)
  const after: unknown = JSON.parse(payload)
  if (!isObject(before) || !isObject(after)) return undefined
  const paths = said[after["_tag"] as RunEvent["_tag"]] // another tag has no paths
  for (const path of paths ?? []) at(after, path.split("."), take)
  // A number that is taken out is no JSON any more.
  if (after["_tag"] === "RunStarted" && after["input"] === forgotten) after["input"] = JSON.stringify(forgotten)
  const messages = after["_tag"] === "TurnCompleted" ? [after] : after["_tag"] === "RunStarted" && Array.isArray(after["history"]) ? after["history"] : []
  for (const { parts } of messages) {
    if (Array.isArray(parts)) for (const part of parts) fromPart(part, take)
  }
  const left = JSON.stringify(after)
  if (left === JSON.stringify(before)) return undefined
  if (!isEvent(after)) throw new Error(`an event of kind ${String(after["_tag"])} would be none any more`)
  return { payload: left, calls: callsOf(before, after) }
}

/**
 * A request for approval of one of these calls, as an event's JSON text, without the hash of what was asked for, which could be guessed
 * from it, and its id; nothing where it is none of them.
 */
export const fromRequest = (payload: string, calls: ReadonlySet<string>): { readonly payload: string; readonly approval: string } | undefined => {
  const event: unknown = JSON.parse(payload)
  if (!isObject(event) || event["_tag"] !== "ApprovalRequested" || !calls.has(String(event["call"])) || event["digest"] === forgotten) return undefined
  return { payload: JSON.stringify({ ...event, digest: forgotten }), approval: String(event["approval"]) }
}

/** A command, as JSON text, without some texts; nothing where they are not in it. */
export const fromCommand = (payload: string, take: TakeOut): string | undefined => {
  const command: unknown = JSON.parse(payload)
  for (const path of ["text", "comment", "reason", "parameters", "result"]) at(command, [path], take)
  const left = JSON.stringify(command)
  return left === payload ? undefined : left
}

/** Letters, digits and signs that every JSON writes as they are. */
const plain = /[\w .,:;@-]+/g

/** True where nothing is left of a text but that something was taken out of it. */
export const isEmptied = (text: string): boolean => text.replaceAll(forgotten, "").trim() === ""

/** Stands, in plain letters, in every text that was shortened, and so may have a part of what is looked for. */
export const shortenedMark = " characters left out "

/**
 * A part of a text by which whatever may contain it can be found, however it is escaped; empty where it has no such part, so
 * that everything has to be looked at.
 */
export const fragmentOf = (text: string): string => {
  const parts = text.match(plain) ?? []
  const longest = parts.reduce((best, part) => part.length > best.length ? part : best, "")
  return longest.trim().length < 3 ? "" : longest
}
