/**
 * What is to be seen, as plain data: an element is its tag, its attributes and what is in it, and text is text, which never becomes
 * anything else.
 *
 * @typedef {string | { readonly tag: string, readonly attributes: Readonly<Record<string, string>>, readonly children: ReadonlyArray<Tree> }} Tree
 */

/**
 * An element. `key` in its attributes names it among its neighbours, so that it stays the same one when they change.
 *
 * @param {string} tag
 * @param {Readonly<Record<string, string>>} [attributes]
 * @param {ReadonlyArray<Tree>} children
 * @returns {Tree}
 */
export const h = (tag, attributes = {}, ...children) => ({ tag, attributes, children })

/**
 * Text of a model, a tool or a person, with the characters spelled out by which it could change the direction in which it is read, or
 * hide what it says.
 *
 * @param {string} text
 * @returns {string}
 */
export const plain = (text) =>
  text.replace(/[\p{Cc}\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/gu, (character) =>
    character === "\n" || character === "\t" ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * A time in UTC, to the second.
 *
 * @param {number} at milliseconds since 1970
 * @returns {Tree}
 */
export const time = (at) => {
  const text = new Date(at).toISOString()
  return h("time", { datetime: text }, text.slice(0, 19).replace("T", " "))
}

/**
 * Dollars to their first three digits that say something; nothing is rounded to zero.
 *
 * @param {string} amount a decimal number
 * @returns {string}
 */
export const dollars = (amount) => {
  const number = Number(amount)
  if (number === 0 || Math.abs(number) >= 1) return `$${number.toFixed(2)}`
  return `$${number.toFixed(Math.min(12, 2 - Math.floor(Math.log10(Math.abs(number))))).replace(/(\.\d\d\d*?)0+$/, "$1")}`
}

/**
 * A part of a whole.
 *
 * @param {number} share 0.8 for four fifths
 * @returns {string}
 */
export const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : Math.floor(share * 100 + 1e-9)} %`

/**
 * A number with its unit.
 *
 * @param {number} count
 * @param {string} unit
 * @returns {string}
 */
export const counted = (count, unit) => `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`

/**
 * Tokens that went in and came out.
 *
 * @param {{ readonly uncached: number, readonly cacheRead: number, readonly cacheWrite: number, readonly cacheWriteHour: number, readonly output: number }} usage
 * @returns {string}
 */
export const tokens = ({ cacheRead, cacheWrite, cacheWriteHour, output, uncached }) =>
  `${(uncached + cacheRead + cacheWrite + cacheWriteHour).toLocaleString("en")} in, ${output.toLocaleString("en")} out`

/**
 * A length of time.
 *
 * @param {number} milliseconds
 * @returns {string}
 */
export const duration = (milliseconds) => {
  if (milliseconds < 1_000) return `${milliseconds} ms`
  const seconds = milliseconds / 1_000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/**
 * A table; where the page is narrow each row is a list, in which a cell says what it is.
 *
 * @param {ReadonlyArray<string>} head
 * @param {ReadonlyArray<{ readonly key: string, readonly cells: ReadonlyArray<Tree> }>} rows
 * @returns {Tree}
 */
export const table = (head, rows) =>
  h("table", { role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...head.map((name) => h("th", { role: "columnheader", scope: "col" }, name)))),
    h("tbody", { role: "rowgroup" }, ...rows.map(({ cells, key }) =>
      h("tr", { key, role: "row" }, ...cells.map((cell, index) => h("td", { role: "cell", "data-name": head[index] ?? "" }, cell))))))

/**
 * What is said where there is nothing to show.
 *
 * @param {ReadonlyArray<Tree>} children
 * @returns {ReadonlyArray<Tree>}
 */
export const nothing = (...children) => [h("p", { class: "nothing" }, ...children)]
