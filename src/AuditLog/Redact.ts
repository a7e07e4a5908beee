import type { Json } from "../RunLog.ts"
import { isSecretName, redacted, redactText } from "./Secrets.ts"

export { isSecretName, redacted, redactText } from "./Secrets.ts"

/** Where a secret is in a value: the names on the way, `"*"` for every element of an array or every name of a record. */
export type SecretPath = ReadonlyArray<string>

/** Values inside one another that are looked at; deeper ones are left out. */
const maxDepth = 32

/** Values of one document that are looked at; the rest is left out. */
const maxValues = 10_000

/** Characters of one string that are looked at; a longer one is left out whole. */
const maxText = 65_536

const tooDeep = "[LEFT OUT: too deep]"
const tooMany = "[LEFT OUT: too many values]"
const tooLong = "[LEFT OUT: text too long]"
const unreadable = "[LEFT OUT: not JSON]"
const markers = new Set([redacted, tooDeep, tooMany, tooLong, unreadable])

interface Walk {
  values: number
}

/** A string that Postgres can store: no NUL, no half of a surrogate pair. */
const storable = (text: string): string => {
  const whole = text.isWellFormed() ? text : text.toWellFormed()
  return whole.includes("\0") ? whole.replaceAll("\0", "\uFFFD") : whole
}

const looksLikeJson = (text: string): boolean => /^\s*[[{]/.test(text) && /[\]}]\s*$/.test(text)

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const redactString = (given: string, depth: number, walk: Walk): string => {
  if (given.length > maxText) return tooLong
  const text = storable(given)
  const parsed = looksLikeJson(text) ? parse(text) : undefined
  if (typeof parsed !== "object" || parsed === null) return redactText(text)
  const clean = redactValue(parsed, depth + 1, [], walk)
  // Written anew only where something was found, so that other text stays as it was. What parsing drops (a name that comes twice) is
  // caught as text.
  return redactText(clean === parsed ? text : JSON.stringify(clean))
}

const here = (paths: ReadonlyArray<SecretPath>): boolean => paths.some((path) => path.length === 0)

const below = (paths: ReadonlyArray<SecretPath>, name: string): ReadonlyArray<SecretPath> =>
  paths.length === 0
    ? paths
    : paths.flatMap(([first, ...rest]) => first === name || first === "*" ? [rest] : [])

const redactArray = (given: ReadonlyArray<unknown>, depth: number, paths: ReadonlyArray<SecretPath>, walk: Walk): Json => {
  const out: Array<Json> = []
  let changed = false
  const inside = below(paths, "*")
  for (const value of given) {
    if (walk.values <= 0) return [...out, tooMany]
    const clean = redactValue(value, depth + 1, inside, walk)
    changed ||= clean !== value
    out.push(clean)
  }
  return changed ? out : given as ReadonlyArray<Json> // nothing was changed, so every element is JSON
}

const redactObject = (given: object, depth: number, paths: ReadonlyArray<SecretPath>, walk: Walk): Json => {
  const out: Array<readonly [string, Json]> = []
  let changed = false
  for (const [name, value] of Object.entries(given)) {
    if (walk.values <= 0) {
      out.push(["[LEFT OUT]", tooMany])
      changed = true
      break
    }
    const cleanName = name.length > 1_000 ? tooLong : redactText(storable(name))
    const clean = isSecretName(name) && value !== null && typeof value !== "boolean"
      ? redacted
      : redactValue(value, depth + 1, below(paths, name), walk)
    changed ||= clean !== value || cleanName !== name
    out.push([cleanName, clean])
  }
  return changed ? Object.fromEntries(out) : given as { readonly [key: string]: Json } // nothing was changed, so every value is JSON
}

const redactValue = (given: unknown, depth: number, paths: ReadonlyArray<SecretPath>, walk: Walk): Json => {
  if (typeof given === "string" && markers.has(given)) return given
  walk.values--
  if (here(paths)) return redacted
  switch (typeof given) {
    case "string":
      return redactString(given, depth, walk)
    case "number":
      return Number.isFinite(given) ? given : null
    case "boolean":
      return given
    case "object":
      if (given === null) return null
      if (depth >= maxDepth) return tooDeep
      return Array.isArray(given) ? redactArray(given, depth, paths, walk) : redactObject(given, depth, paths, walk)
    default:
      return given === undefined ? null : unreadable
  }
}

/**
 * The value without its secrets, as JSON that can be stored: what has a secret's name, what looks like a secret in any string (JSON in
 * strings included), and what `paths` point at is `[REDACTED]`. Never throws, never takes longer than linear time; what is nested
 * more than 32 deep, beyond 10,000 values, or in a string of more than 65,536 characters is left out and marked. Redacting twice is
 * redacting once. A value without secrets comes back as it is.
 */
export const redact = (value: unknown, paths: ReadonlyArray<SecretPath> = []): Json => {
  try {
    return redactValue(value, 0, paths, { values: maxValues })
  } catch {
    // A getter or a proxy that throws: what cannot be read is not shown.
    return unreadable
  }
}

const delimiters = new Set([" ", "\n", "\t", "\r", ",", ";", "\""])

/** The first `length` characters without the word that the cut goes through, which may be half a secret and look like none. */
const firstWords = (text: string, length: number): string => {
  let end = length
  while (end > 0 && !delimiters.has(text.charAt(end - 1))) end--
  return text.slice(0, end)
}

/** The text without its secrets and of at most `limit` characters; a longer one is cut and ends with `…`. */
export const redactLine = (text: string, limit: number): string => {
  const window = limit * 8
  const cut = text.length > window
  const clean = redact(cut ? firstWords(text, window) : text)
  const line = typeof clean === "string" ? clean : redacted
  return !cut && line.length <= limit ? line : `${line.slice(0, limit - 1)}…`.toWellFormed()
}
