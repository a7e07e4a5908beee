import * as DateTime from "effect/DateTime"
import * as Money from "../Money.ts"
import { cacheHitRate, promptTokens, type Usage } from "../Run.ts"

/** One line of at most that many characters: white space is joined, and what is cut off becomes `…`. */
export const shorten = (text: string, length: number): string => {
  const line = text.slice(0, length * 8).replace(/\s+/g, " ").trim()
  return line.length <= length ? line : `${Array.from(line).slice(0, length - 1).join("")}…`
}

/** A duration for people: `12 ms`, `3.4 s`, `2 min 5 s`, `23 h 59 min`, `6 d 23 h`. */
export const duration = (milliseconds: number): string => {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`
  if (milliseconds < 59_950) return `${(milliseconds / 1_000).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1_000)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** A count for people: `12,345`. */
export const count = (number: number): string => number.toLocaleString("en-US")

/** A count with its noun: `1 turn`, `3 turns`. */
export const counted = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? "" : "s"}`

/** What something cost, for people; `priced` is false where a part of it had no known price. */
export const cost = (money: Money.Money, priced: boolean): string => {
  if (priced) return Money.display(money)
  return money === Money.zero ? "no known price" : `${Money.display(money)} and what has no known price`
}

/** Exact amounts of dollars for a column: all with as many decimals as the longest needs, and two at least. */
export const amounts = (costs: ReadonlyArray<Money.Money>): ReadonlyArray<string> => {
  const texts = costs.map((one) => Money.format(one).split("."))
  const decimals = Math.max(2, ...texts.map(([, fraction = ""]) => fraction.length))
  return texts.map(([whole = "", fraction = ""]) => `$${whole}.${fraction.padEnd(decimals, "0")}`)
}

/** The tokens of a run, for people: `1,200 tokens (1,000 in, 80% cached, 200 out)`. */
export const tokens = (usage: Usage): string => {
  const input = promptTokens(usage)
  const percent = Math.floor(cacheHitRate(usage) * 100)
  const cached = usage.cacheRead === 0 ? "" : `, ${percent === 0 ? "<1" : percent}% cached`
  return `${count(input + usage.output)} tokens (${count(input)} in${cached}, ${count(usage.output)} out)`
}

/** A time for people, in UTC: `2026-11-22 22:10:05`. */
export const time = (milliseconds: number): string =>
  DateTime.formatIso(DateTime.makeUnsafe(milliseconds)).slice(0, 19).replace("T", " ")

/** JSON text for a line: short values as they are, and not as deep as they go. */
export const parameters = (json: string, length: number): string => {
  try {
    const value: unknown = JSON.parse(json)
    if (typeof value !== "object" || value === null || Array.isArray(value)) return shorten(json, length)
    const fields = Object.entries(value).map(([name, field]) =>
      `${name}: ${typeof field === "string" ? field : JSON.stringify(field)}`
    )
    return shorten(fields.join(", "), length)
  } catch {
    return shorten(json, length)
  }
}

/** Rows as columns of even width, the last one as it is; a column that begins with `>` is set to the right. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const isRight = head.map((name) => name.startsWith(">"))
  const all = [head.map((name) => name.replace(/^>/, "")), ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)))
  return all.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0
      return isRight[column] === true ? cell.padStart(width) : cell.padEnd(width)
    }).join("  ").trimEnd()
  )
}
