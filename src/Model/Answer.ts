import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Response from "effect/ai/Response"
import * as Money from "../Money.ts"
import { FinishReason, type Transcript, type Usage } from "../Run.ts"
import { isRecord } from "./Json.ts"

/** A complete answer of a model. */
export interface Answer {
  readonly parts: ReadonlyArray<Transcript.AssistantPart>
  readonly finish: FinishReason
  /** What the provider said about a refusal or an odd ending. */
  readonly note: string | null
  readonly usage: Usage
  readonly requestId: string | null
  readonly servedModel: string | null
  /** Who computed the answer, where the provider passes requests on and says to whom. */
  readonly host: string | null
  /** Why the answer ended, in the provider's own word. */
  readonly nativeFinish: string | null
  /** The cost that the provider itself reported. */
  readonly reportedCost: Option.Option<Money.Money>
}

/** Gathers the parts of one answer; each part is looked at once. */
export interface Collector {
  readonly add: (part: Response.StreamPartEncoded) => void
  /** The answer, once its `finish` has come; nothing before, because a stream without it has failed. */
  readonly end: () => Option.Option<Answer>
  /** The id under which the provider knows the request, as far as it has come; for the bill of a failed attempt. */
  readonly requestId: () => string | null
  /** Who computes the answer, as far as that has come; for the same bill. */
  readonly host: () => string | null
}

type Opaque = Record<string, Record<string, string>>

interface Piece {
  readonly type: "text" | "reasoning" | "tool-call"
  id: string
  name: string
  text: string
  /** Whether a tool call is complete; text and reasoning always count. */
  whole: boolean
  params: unknown
  opaque: Opaque | undefined
}

const isFinish = Schema.is(FinishReason)

/** Text that every store takes: neither NUL nor half of a surrogate pair. */
const clean = (text: string): string => text.toWellFormed().replaceAll("\u0000", "\uFFFD")

/** Keeps the strings of a part's metadata, and of a later part of the same piece those that are new or changed. */
const keep = (piece: Piece, metadata: unknown): void => {
  if (!isRecord(metadata)) return
  for (const [provider, values] of Object.entries(metadata)) {
    if (!isRecord(values)) continue
    for (const [key, value] of Object.entries(values)) {
      if (typeof value !== "string") continue
      piece.opaque ??= {}
      const own = piece.opaque[provider] ??= {}
      own[key] = value
    }
  }
}

/** The greatest number that every store takes: that of 32 bits. */
const maxCount = 2 ** 31 - 1

const count = (value: number | undefined): number =>
  value !== undefined && Number.isFinite(value) && value > 0 ? Math.min(Math.round(value), maxCount) : 0

const usageOf = (usage: Response.FinishPartEncoded["usage"], hour: number, webSearches: number): Usage => {
  const cacheRead = count(usage.inputTokens.cacheRead)
  const written = count(usage.inputTokens.cacheWrite)
  const cacheWriteHour = Math.min(hour, written)
  return {
    uncached: usage.inputTokens.uncached === undefined
      ? Math.max(0, count(usage.inputTokens.total) - cacheRead - written)
      : count(usage.inputTokens.uncached),
    cacheRead,
    cacheWrite: written - cacheWriteHour,
    cacheWriteHour,
    output: count(usage.outputTokens.total ?? count(usage.outputTokens.text) + count(usage.outputTokens.reasoning)),
    reasoning: count(usage.outputTokens.reasoning),
    ...(webSearches === 0 ? {} : { webSearches })
  }
}

/**
 * A collector of one answer. Text, arguments and names are made storable (NUL and lone surrogates become U+FFFD), opaque
 * values stay as they came, and each tool call gets an id of its own: `taken` tells which ids the conversation has used.
 */
export const collect = (taken?: (id: string) => boolean): Collector => {
  const pieces: Array<Piece> = []
  const open = new Map<string, Piece>()
  const ids = new Set<string>()
  let finished: Response.FinishPartEncoded | undefined
  let requestId: string | null = null
  let messageId: string | null = null
  let servedModel: string | null = null
  let note: string | null = null
  let host: string | null = null
  let nativeFinish: string | null = null
  let hour = 0
  let webSearches = 0
  let cost = Option.none<Money.Money>()

  const begin = (type: Piece["type"], id: string): Piece => {
    const piece: Piece = { type, id, name: "", text: "", whole: type !== "tool-call", params: undefined, opaque: undefined }
    pieces.push(piece)
    open.set(`${type} ${id}`, piece)
    return piece
  }
  const find = (type: Piece["type"], id: string): Piece => open.get(`${type} ${id}`) ?? begin(type, id)

  const unique = (id: string): string => {
    const wanted = clean(id) === "" ? "call" : clean(id)
    let free = wanted
    for (let index = 2; ids.has(free) || taken?.(free) === true; index++) free = `${wanted}_${index}`
    ids.add(free)
    return free
  }

  const about = (metadata: unknown): void => {
    if (!isRecord(metadata)) return
    for (const values of Object.values(metadata)) {
      if (!isRecord(values)) continue
      if (typeof values["requestId"] === "string") requestId = clean(values["requestId"])
      if (typeof values["note"] === "string") note = clean(values["note"])
      if (typeof values["host"] === "string") host = clean(values["host"])
      if (typeof values["nativeFinish"] === "string") nativeFinish = clean(values["nativeFinish"])
      if (typeof values["webSearches"] === "number") webSearches = count(values["webSearches"])
      if (typeof values["cacheWriteHour"] === "number") hour = count(values["cacheWriteHour"])
      if (typeof values["cost"] === "string") cost = Money.parse(values["cost"])
    }
  }

  const add = (part: Response.StreamPartEncoded): void => {
    switch (part.type) {
      case "text-start":
        keep(begin("text", part.id), part.metadata)
        break
      case "text-delta": {
        const piece = find("text", part.id)
        piece.text += part.delta
        keep(piece, part.metadata)
        break
      }
      case "text-end":
        keep(find("text", part.id), part.metadata)
        open.delete(`text ${part.id}`)
        break
      case "reasoning-start":
        keep(begin("reasoning", part.id), part.metadata)
        break
      case "reasoning-delta": {
        const piece = find("reasoning", part.id)
        piece.text += part.delta
        keep(piece, part.metadata)
        break
      }
      case "reasoning-end":
        keep(find("reasoning", part.id), part.metadata)
        open.delete(`reasoning ${part.id}`)
        break
      case "tool-params-start": {
        const piece = begin("tool-call", part.id)
        piece.name = part.name
        keep(piece, part.metadata)
        break
      }
      case "tool-params-delta": {
        const piece = find("tool-call", part.id)
        piece.text += part.delta
        keep(piece, part.metadata)
        break
      }
      case "tool-call": {
        if (part.providerExecuted === true) {
          open.delete(`tool-call ${part.id}`)
          break
        }
        const piece = find("tool-call", part.id)
        piece.name = part.name
        piece.params = part.params
        piece.whole = true
        keep(piece, part.metadata)
        open.delete(`tool-call ${part.id}`)
        break
      }
      case "response-metadata":
        messageId = part.id === undefined ? messageId : clean(part.id)
        servedModel = part.modelId === undefined ? servedModel : clean(part.modelId)
        about(part.metadata)
        break
      case "finish":
        finished = part
        about(part.metadata)
        break
    }
  }

  const partOf = (piece: Piece): Transcript.AssistantPart => {
    const opaque = piece.opaque === undefined ? {} : { opaque: piece.opaque }
    if (piece.type !== "tool-call") return { type: piece.type, text: clean(piece.text), ...opaque }
    const params = piece.text !== "" ? piece.text : typeof piece.params === "string" ? piece.params : JSON.stringify(piece.params ?? {})
    return { type: "tool-call", id: unique(piece.id), name: clean(piece.name), arguments: clean(params), ...opaque }
  }

  return {
    add,
    requestId: () => requestId ?? messageId,
    host: () => host,
    end: () => {
      if (finished === undefined) return Option.none()
      const refused = finished.reason === "content-filter"
      ids.clear()
      return Option.some({
        // What a refusal broke off is not to be run; a call that never became whole was not made.
        parts: pieces.filter((piece) => piece.whole && !(refused && piece.type === "tool-call")).map(partOf),
        finish: isFinish(finished.reason) ? finished.reason : "unknown",
        note,
        usage: usageOf(finished.usage, hour, webSearches),
        requestId: requestId ?? messageId,
        servedModel,
        host,
        nativeFinish,
        reportedCost: cost
      })
    }
  }
}
