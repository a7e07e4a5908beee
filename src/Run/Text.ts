/**
 * The text as it can be stored and sent everywhere: NUL characters and lone surrogates, which Postgres and UTF-8 have no
 * place for, become U+FFFD.
 */
export const clean = (text: string): string =>
  (text.isWellFormed() ? text : text.toWellFormed()).replaceAll("\u0000", "\uFFFD")

/** The longest text that a run is given, in characters: longer material belongs where a tool can read it. */
export const maxText = 2_000_000

/** A value of JSON with the members of each object in the order of their names. */
export const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : typeof value === "object" && value !== null
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => a < b ? -1 : 1).map(([key, part]) => [key, canonical(part)]))
    : value
