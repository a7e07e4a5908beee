import type * as Model from "../Model.ts"
import type { Transcript } from "../Run.ts"

/** Unchanged lines shown around a change. */
const around = 2

/** Cells of the table of common lines at most; beyond it the changed part is shown as a whole. */
const largest = 4_000_000

/** Lines of a difference at most. */
const longest = 80

type Edit = readonly [mark: " " | "-" | "+", line: string]

const edits = (then: ReadonlyArray<string>, now: ReadonlyArray<string>): ReadonlyArray<Edit> => {
  if (then.length * now.length > largest) return [...then.map((line) => ["-", line] as const), ...now.map((line) => ["+", line] as const)]
  const width = now.length + 1
  const common = new Uint32Array((then.length + 1) * width)
  const at = (i: number, j: number) => common[i * width + j] ?? 0
  for (let i = then.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      common[i * width + j] = then[i] === now[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const out: Array<Edit> = []
  let i = 0
  let j = 0
  while (i < then.length || j < now.length) {
    const old = then[i]
    const fresh = now[j]
    if (old !== undefined && old === fresh) {
      out.push([" ", old])
      i++
      j++
    } else if (old !== undefined && (fresh === undefined || at(i + 1, j) >= at(i, j + 1))) {
      out.push(["-", old])
      i++
    } else {
      out.push(["+", fresh ?? ""])
      j++
    }
  }
  return out
}

/** Two texts line by line: what was there then with `-`, what is there now with `+`, and a little of what surrounds it. */
export const difference = (then: string, now: string): string => {
  const [a, b] = [then.split("\n"), now.split("\n")]
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const lead = a.slice(Math.max(0, start - around), start).map((line) => [" ", line] as const)
  const tail = a.slice(a.length - end).slice(0, around).map((line) => [" ", line] as const)
  const all = [...lead, ...edits(a.slice(start, a.length - end), b.slice(start, b.length - end)), ...tail]
  const isNear = all.map((_, index) => all.slice(Math.max(0, index - around), index + around + 1).some(([mark]) => mark !== " "))
  const lines = all.flatMap(([mark, line], index) => {
    if (isNear[index] === true) return [`${mark} ${line}`]
    return isNear[index - 1] === true ? ["  …"] : []
  })
  return lines.length <= longest ? lines.join("\n") : [...lines.slice(0, longest), `  … ${lines.length - longest} lines more`].join("\n")
}

const indented = (text: string, by = "  "): string => text.split("\n").map((line) => `${by}${line}`).join("\n")

const pretty = (value: unknown): string => JSON.stringify(value, null, 2) ?? "nothing"

/** JSON text for people, or the text itself where it is none. */
export const prettyText = (text: string): string => {
  try {
    return pretty(JSON.parse(text))
  } catch {
    return text
  }
}

const told = (message: Transcript.Message): string => {
  switch (message.role) {
    case "user":
      return `user:\n${indented(message.text)}`
    case "assistant":
      return [
        `assistant (${message.model}):`,
        ...message.parts.map((part) =>
          part.type === "tool-call" ? `  → ${part.name} ${part.id}\n${indented(prettyText(part.arguments), "    ")}` : indented(part.text))
      ].join("\n")
    case "tool":
      return [
        "tools:",
        ...message.results.map(({ id, isFailure, name, result }) => `  ← ${name} ${id}${isFailure ? " (failed)" : ""}\n${indented(prettyText(result), "    ")}`)
      ].join("\n")
  }
}

/** A request as text for people: everything that the model is told, a line for each thing. */
export const requestText = ({ effort, maxOutput, messages, model, output, system, tools }: Model.Request): string =>
  [
    `model: ${model}`,
    `output tokens: ${maxOutput}`,
    ...(effort === undefined ? [] : [`effort: ${effort}`]),
    `instructions:\n${indented(system)}`,
    ...tools.map((tool) => `tool ${tool.name}:\n${indented(tool.description)}\n${indented(pretty(tool.parameters))}`),
    ...(output === undefined ? [] : [`answer as ${output.name}:\n${indented(pretty(output.schema))}`]),
    ...messages.map(told)
  ].join("\n")
