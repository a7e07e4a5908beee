/** One statement of a file. */
export interface Statement {
  readonly text: string
  /** The line on which it begins, from 1. */
  readonly line: number
}

const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const word = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const blank = /\s/

const matchAt = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

/** Where the quoted text that begins at `at` ends, one past its closing quote; the end of the text if it is never closed. */
const endOfQuoted = (text: string, at: number, quote: string, escapes: boolean): number => {
  let i = at + 1
  while (i < text.length) {
    if (escapes && text[i] === "\\") i += 2
    // A doubled quote is a quote inside: the text goes on as if another began.
    else if (text[i] === quote) {
      if (text[i + 1] !== quote) return i + 1
      i += 2
    } else i++
  }
  return text.length
}

/** Where the comment that begins at `at` ends; Postgres nests block comments. */
const endOfBlockComment = (text: string, at: number): number => {
  let depth = 0
  let i = at
  while (i < text.length) {
    if (text.startsWith("/*", i)) {
      depth++
      i += 2
    } else if (text.startsWith("*/", i)) {
      depth--
      i += 2
      if (depth === 0) return i
    } else i++
  }
  return text.length
}

const endOrLength = (text: string, index: number, length: number) => index === -1 ? text.length : index + length

/** Where what begins at `at` ends, if that is a comment, a quoted name or a string: text in which a semicolon means nothing. */
const endOfOpaque = (text: string, at: number, previous: string): number | undefined => {
  const char = text[at]
  if (char === "-" && text[at + 1] === "-") return endOrLength(text, text.indexOf("\n", at), 1)
  if (char === "/" && text[at + 1] === "*") return endOfBlockComment(text, at)
  if (char === "\"") return endOfQuoted(text, at, "\"", false)
  if (char === "'") return endOfQuoted(text, at, "'", previous === "e")
  if (char === "$") {
    const tag = matchAt(dollarTag, text, at)
    if (tag !== undefined) return endOrLength(text, text.indexOf(tag, at + tag.length), tag.length)
  }
  return undefined
}

/**
 * The statements of an SQL file, as psql separates them: not at semicolons in strings, dollar quotes, quoted names, comments, parentheses
 * or the `BEGIN ATOMIC … END` body of a function. The driver sends one statement per query, so a file must be taken apart.
 */
export const statementsOf = (file: string): ReadonlyArray<Statement> => {
  const statements: Array<Statement> = []
  let start = -1
  let parentheses = 0
  let words: Array<string> = []
  let blocks = 0
  const finish = (end: number) => {
    if (start !== -1) statements.push({ text: file.slice(start, end), line: file.slice(0, start).split("\n").length })
    start = -1
    parentheses = 0
    words = []
    blocks = 0
  }
  let i = 0
  while (i < file.length) {
    const char = file.charAt(i)
    const isComment = file.startsWith("--", i) || file.startsWith("/*", i)
    // `e'…'` is one token: the letter directly before the quote makes backslashes escapes.
    const adjacent = /[eE]/.test(file.charAt(i - 1)) && !/[A-Za-z0-9_$]/.test(file.charAt(i - 2)) ? "e" : ""
    const end = endOfOpaque(file, i, adjacent)
    if (end !== undefined) {
      if (start === -1 && !isComment) start = i
      i = end
      continue
    }
    if (char === ";" && parentheses === 0 && blocks === 0) {
      finish(i)
      i++
      continue
    }
    if (start === -1 && !blank.test(char)) start = i
    if (char === "(") parentheses++
    else if (char === ")") parentheses = Math.max(0, parentheses - 1)
    const found = matchAt(word, file, i)
    if (found === undefined) {
      i++
      continue
    }
    const lower = found.toLowerCase()
    words.push(lower)
    const definesRoutine = words[0] === "create" && words.slice(1, 4).some((one) => one === "function" || one === "procedure")
    if (definesRoutine) {
      if (lower === "atomic" && words.at(-2) === "begin") blocks++
      else if (blocks > 0 && (lower === "case" || lower === "begin")) blocks++
      else if (blocks > 0 && lower === "end") blocks--
    }
    i += found.length
  }
  finish(file.length)
  return statements.map(({ line, text }) => ({ line, text: text.trimEnd() }))
}
