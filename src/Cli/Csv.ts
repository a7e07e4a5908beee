/** What a spreadsheet takes for the beginning of a formula. */
const formula = /^[=+\-@\t\r]/

const quoted = (text: string): string => /[",\r\n]/.test(text) ? `"${text.replaceAll("\"", "\"\"")}"` : text

/** A cell of text; one that a spreadsheet would take for a formula begins with an apostrophe, which makes it text there. */
const textCell = (text: string): string => quoted(formula.test(text) ? `'${text}` : text)

/** Rows as comma-separated values by RFC 4180, under a line of names. */
export const csv = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string | number>>): string =>
  [head, ...rows].map((row) => `${row.map((cell) => typeof cell === "number" ? String(cell) : textCell(cell)).join(",")}\r\n`).join("")
