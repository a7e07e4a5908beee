import { isJson, isRecord, isText, parseObject } from "../Json.ts"
import type { Part } from "../Wire.ts"

interface Call {
  /** Its place among the calls, from 1. */
  readonly number: number
  readonly index: number | undefined
  /** The id that the host gave, or none yet. */
  given: string
  /** The id of its parts, unlike those of the others. */
  id: string
  name: string
  json: string
  readonly shape: Shape
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

/** How far the text of an object has come, told from each piece of it once: hosts send thousands of pieces. */
class Shape {
  #state: "before" | "within" | "after" | "broken" = "before"
  #depth = 0
  #isQuoted = false
  #isEscaped = false
  #isJson: boolean | undefined

  add(piece: string): void {
    for (let at = 0; at < piece.length && this.#state !== "broken"; at++) this.#next(piece.charCodeAt(at))
  }

  #next(code: number): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (this.#isQuoted) {
      if (code === 0x5c) this.#isEscaped = true
      else if (code === 0x22) this.#isQuoted = false
    } else if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) return
    else if (this.#state === "after" || (this.#state === "before" && code !== 0x7b)) this.#state = "broken"
    else if (code === 0x22) this.#isQuoted = true
    else if (code === 0x7b || code === 0x5b) {
      this.#state = "within"
      this.#depth++
    } else if (code === 0x7d || code === 0x5d) {
      if (--this.#depth === 0) this.#state = "after"
    }
  }

  /** Whether the text of all pieces is a whole object, and nothing more. */
  isWhole(text: string): boolean {
    return this.#state === "after" && (this.#isJson ??= isJson(text))
  }
}

const isWhole = (call: Call): boolean => call.shape.isWhole(call.json)

/** Whether a delta cannot belong to a call: it names another, or brings arguments to one that has all of its own. */
const isAnother = (delta: Delta, call: Call): boolean =>
  (delta.id !== "" && call.given !== "" && delta.id !== call.given) ||
  (delta.name !== "" && call.name !== "" && (delta.name !== call.name || (delta.json.trim() !== "" && isWhole(call))))

const put = <K>(calls: Map<K, Array<Call>>, key: K, call: Call): void => {
  const known = calls.get(key)
  if (known === undefined) calls.set(key, [call])
  else known.push(call)
}

/**
 * Puts tool calls together from deltas in all the shapes that hosts behind OpenRouter send: counted from 0, from 1, all
 * with one index or without any; ids and names once, repeated, empty or late; arguments in pieces or whole; several calls
 * at a time. The index tells which call is meant, then the id, then the order.
 */
export class Calls {
  readonly #calls: Array<Call> = []
  /** Calls by their index, and by the id that the host gave. */
  readonly #byIndex = new Map<number, Array<Call>>()
  readonly #byId = new Map<string, Array<Call>>()
  /** Calls that got arguments since the last one began. */
  readonly #grown = new Set<Call>()
  /** The ids of parts, and the number that was last put behind each. */
  readonly #ids = new Map<string, number>()

  get count(): number {
    return this.#calls.length
  }

  take(value: unknown, out: Array<Part>): void {
    const delta = read(value)
    const call = this.#find(delta) ?? this.#begin(delta.index, out)
    if (call.given === "" && delta.id !== "") {
      call.given = delta.id
      put(this.#byId, delta.id, call)
    }
    if (call.name === "") call.name = delta.name
    if (call.state === "unnamed" && call.name !== "") {
      this.#open(call, out)
      if (call.json !== "") out.push({ type: "tool-params-delta", id: call.id, delta: call.json })
    }
    if (delta.json === "" || call.state === "done") return
    call.json += delta.json
    call.shape.add(delta.json)
    this.#grown.add(call)
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
      ? this.#byIndex.get(index)?.findLast((call) => !isAnother(delta, call))
      : id !== ""
      ? this.#byId.get(id)?.findLast((call) => !isAnother(delta, call)) ??
        (last?.given === "" && !isAnother(delta, last) ? last : undefined)
      : last !== undefined && !isAnother(delta, last)
      ? last
      : undefined
    // What has neither id nor name goes on with something, whatever its index.
    return match ?? (id === "" && name === "" ? last : undefined)
  }

  #begin(index: number | undefined, out: Array<Part>): Call {
    // Arguments that are whole are not added to once another call begins, so that a break later on leaves them finished.
    for (const call of this.#grown) {
      if (call.state === "unnamed") continue
      this.#grown.delete(call)
      if (call.json !== "{}" && isWhole(call)) this.#close(call, out)
    }
    const call: Call = {
      number: this.#calls.length + 1, index, given: "", id: "", name: "", json: "", shape: new Shape(), state: "unnamed"
    }
    this.#calls.push(call)
    if (index !== undefined) put(this.#byIndex, index, call)
    return call
  }

  #open(call: Call, out: Array<Part>): void {
    const wanted = call.given === "" ? `call_${call.number}` : call.given
    call.id = wanted
    let number = this.#ids.get(wanted) ?? 1
    while (this.#ids.has(call.id)) call.id = `${wanted}_${++number}`
    this.#ids.set(wanted, number).set(call.id, 1)
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
