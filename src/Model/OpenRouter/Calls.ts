import { isJson, isRecord, isText, parseObject } from "../Json.ts"
import type { Part } from "../Wire.ts"

interface Call {
  readonly index: number | undefined
  /** The id that the host gave, or none yet. */
  given: string
  /** The id of its parts, unlike those of the others. */
  id: string
  name: string
  json: string
  /** Whether the text ends like an object. */
  closes: boolean
  state: "unnamed" | "open" | "done"
}

/** A delta of a tool call, of which every field may be missing, empty, null or repeated. */
interface Delta {
  readonly index: number | undefined
  readonly id: string
  readonly name: string
  readonly json: string
}

const read = (value: unknown): Delta => {
  const fields = isRecord(value) ? value : {}
  const call = isRecord(fields["function"]) ? fields["function"] : {}
  const given = call["arguments"]
  return {
    index: Number.isSafeInteger(fields["index"]) ? Number(fields["index"]) : undefined,
    id: isText(fields["id"]) ? fields["id"] : "",
    name: isText(call["name"]) ? call["name"] : "",
    json: typeof given === "string" ? given : isRecord(given) ? JSON.stringify(given) : ""
  }
}

const isWhole = (call: Call): boolean => call.closes && isJson(call.json)

/** Whether a delta cannot belong to a call: it names another, or brings arguments to one that has all of its own. */
const isAnother = (delta: Delta, call: Call): boolean =>
  (delta.id !== "" && call.given !== "" && delta.id !== call.given) ||
  (delta.name !== "" && call.name !== "" && (delta.name !== call.name || (delta.json.trim() !== "" && isWhole(call))))

/**
 * Puts tool calls together from deltas in all the shapes that hosts behind OpenRouter send: counted from 0, from 1, all
 * with one index or without any; ids and names once, repeated, empty or late; arguments in pieces or whole; several calls
 * at a time. The index tells which call is meant, then the id, then the order.
 */
export class Calls {
  readonly #calls: Array<Call> = []
  readonly #ids = new Set<string>()

  get count(): number {
    return this.#calls.length
  }

  take(value: unknown, out: Array<Part>): void {
    const delta = read(value)
    const call = this.#find(delta) ?? this.#begin(delta.index, out)
    if (call.given === "") call.given = delta.id
    if (call.name === "") call.name = delta.name
    if (call.state === "unnamed" && call.name !== "") {
      this.#open(call, out)
      if (call.json !== "") out.push({ type: "tool-params-delta", id: call.id, delta: call.json })
    }
    if (delta.json === "" || call.state === "done") return
    call.json += delta.json
    if (delta.json.trim() !== "") call.closes = delta.json.trimEnd().endsWith("}")
    if (call.state === "open") out.push({ type: "tool-params-delta", id: call.id, delta: delta.json })
  }

  /** Ends every call; one that never got a name was none. */
  end(out: Array<Part>): void {
    for (const call of this.#calls) this.#close(call, out)
  }

  #find(delta: Delta): Call | undefined {
    const { id, index, name } = delta
    const last = this.#calls.at(-1)
    const match = index !== undefined
      ? this.#calls.findLast((call) => call.index === index && !isAnother(delta, call))
      : id !== ""
      ? this.#calls.findLast((call) => call.given === id && !isAnother(delta, call)) ??
        (last?.given === "" && !isAnother(delta, last) ? last : undefined)
      : last !== undefined && !isAnother(delta, last)
      ? last
      : undefined
    // What has neither id nor name goes on with something, whatever its index.
    return match ?? (id === "" && name === "" ? last : undefined)
  }

  #begin(index: number | undefined, out: Array<Part>): Call {
    // Arguments that are whole are not added to once another call begins, so that a break later on leaves them finished.
    for (const call of this.#calls) if (call.json !== "{}" && isWhole(call)) this.#close(call, out)
    const call: Call = { index, given: "", id: "", name: "", json: "", closes: false, state: "unnamed" }
    this.#calls.push(call)
    return call
  }

  #open(call: Call, out: Array<Part>): void {
    const wanted = call.given === "" ? `call_${this.#calls.indexOf(call) + 1}` : call.given
    call.id = wanted
    for (let number = 2; this.#ids.has(call.id); number++) call.id = `${wanted}_${number}`
    this.#ids.add(call.id)
    call.state = "open"
    out.push({ type: "tool-params-start", id: call.id, name: call.name })
  }

  #close(call: Call, out: Array<Part>): void {
    if (call.state !== "open") return
    call.state = "done"
    out.push(
      { type: "tool-params-end", id: call.id },
      { type: "tool-call", id: call.id, name: call.name, params: parseObject(call.json) ?? call.json }
    )
  }
}
