import { type Message, toolCallsOf, type ToolResult } from "./Transcript.ts"
import { bytesOfToken, tokensOfMessage, tokensOfMessages, tokensOfText } from "./Window.ts"

/** How a conversation is made shorter. */
export interface Rules {
  /** Tokens of input at most. */
  readonly window: number
  /** Tokens of instructions and tools. */
  readonly base: number
  /** By how much estimates of messages are to be multiplied, as the last bill tells. */
  readonly scale: number
  /** Turns at the end that stay whole, as long as they have half of the window at most. */
  readonly keepTurns: number
  /** Characters of a tool result that is no longer recent. */
  readonly resultCharacters: number
}

/** What makes a conversation shorter. */
export type Plan =
  /** Tool results before a place are shortened to so many characters. */
  | { readonly _tag: "Shorten"; readonly before: number; readonly characters: number }
  /** What is before a place is summarised. */
  | { readonly _tag: "Summarise"; readonly before: number }
  /** Nothing that is left to do would make it shorter. */
  | { readonly _tag: "Nothing" }

/**
 * The places before which a conversation may be cut: where somebody speaks to the agent, and between two steps of its work.
 * A call always stays with its result, and a question with its answer.
 */
export const cutsOf = (messages: ReadonlyArray<Message>): ReadonlyArray<number> =>
  messages.flatMap((message, index) => {
    const before = messages[index - 1]
    if (before === undefined) return []
    const isSaid = message.role === "user" && before.role !== "user"
    return isSaid || (message.role === "assistant" && before.role === "tool") ? [index] : []
  })

/** Characters that the note of what was left out has at most. */
const note = 60

/** Finds what a shortened text has in the place of what was left out of it. */
export const leftOut = /(\n\[… \d+ characters left out …\]\n)/

/** The shortest that a tool result is made, in characters. */
export const shortest = 500

/** A text of at most so many characters and a note of how many were left out of its middle; a text that is hardly longer stays. */
export const shortened = (text: string, characters: number): string => {
  if (text.length <= characters + note) return text
  const head = Math.ceil(characters * 0.7)
  const left = text.length - characters
  return `${text.slice(0, head)}\n[… ${left} characters left out …]\n${text.slice(head + left)}`.toWellFormed()
}

/** A text of at most so many tokens: what is too much is left out of its middle. */
const within = (text: string, tokens: number): string => {
  let left = text
  for (let characters = Math.floor(tokens * bytesOfToken) - note; tokensOfText(left) > tokens && characters > 0; characters = Math.floor(characters * 0.8)) {
    left = shortened(text, characters)
  }
  return left
}

const resultOf = (result: ToolResult, characters: number): ToolResult => {
  const text = shortened(result.result, characters)
  return text === result.result ? result : { ...result, result: text }
}

/** A message with its tool results shortened; the same where none is longer. */
export const withShortResults = (message: Message, characters: number): Message => {
  if (message.role !== "tool") return message
  const results = message.results.map((result) => resultOf(result, characters))
  return results.every((result, index) => result === message.results[index]) ? message : { ...message, results }
}

const shortenedTokens = (messages: ReadonlyArray<Message>, characters: number): number =>
  messages.reduce((sum, message) => sum + tokensOfMessage(withShortResults(message, characters)), 0)

const longestResult = (messages: ReadonlyArray<Message>): number =>
  messages.reduce((most, message) => message.role === "tool" ? Math.max(most, ...message.results.map(({ result }) => result.length)) : most, 0)

/** How far a conversation is emptied, so that it is not compacted again at once. */
const roomy = 0.7

/** The characters that the tool results of messages may have for these to have so many tokens, or the fewest; nothing where that changes nothing. */
const charactersFor = (messages: ReadonlyArray<Message>, tokens: number): number | undefined => {
  const longest = longestResult(messages)
  if (longest <= shortest + note) return undefined
  let characters = Math.floor(longest / 2)
  while (characters > shortest && shortenedTokens(messages, characters) > tokens) characters = Math.floor(characters / 2)
  return Math.max(shortest, characters)
}

/** The place before which is summarised, or 0 where there is none. */
const cutFor = (messages: ReadonlyArray<Message>, rules: Rules, sizes: ReadonlyArray<number>): number => {
  const cuts = cutsOf(messages)
  let best = cuts.at(-1) ?? 0
  let tokens = 0
  let turns = 0
  let end = messages.length
  for (const cut of cuts.toReversed()) {
    for (let index = cut; index < end; index++) tokens += sizes[index] ?? 0
    end = cut
    turns++
    if (turns > rules.keepTurns || tokens > rules.window / 2) break
    best = cut
  }
  return best
}

/**
 * What makes a conversation shorter that has grown out of its window, one thing at a time: results of tools that are no longer
 * recent are shortened where that is enough; what is not recent is summarised; recent results are shortened where one turn alone
 * has more than half of the window. Each makes it shorter, so that there is an end.
 */
export const planOf = (messages: ReadonlyArray<Message>, rules: Rules): Plan => {
  const { base, resultCharacters, scale, window } = rules
  const sizes = messages.map((message) => tokensOfMessage(message) * scale)
  const last = cutsOf(messages).at(-1) ?? 0
  const turn = messages.slice(last)
  const room = Math.max(0, window - base)
  if (tokensOfMessages(turn) * scale > room / 2) {
    const characters = charactersFor(turn, room / 2 / scale)
    if (characters !== undefined) return { _tag: "Shorten", before: messages.length, characters }
  }
  const cut = cutFor(messages, rules, sizes)
  if (cut === 0) {
    const characters = charactersFor(messages, room * roomy / scale)
    return characters === undefined ? { _tag: "Nothing" } : { _tag: "Shorten", before: messages.length, characters }
  }
  const old = messages.slice(0, cut)
  const saved = (tokensOfMessages(old) - shortenedTokens(old, resultCharacters)) * scale
  const total = sizes.reduce((sum, size) => sum + size, base)
  return saved > 0 && total - saved <= window * roomy
    ? { _tag: "Shorten", before: cut, characters: resultCharacters }
    : { _tag: "Summarise", before: cut }
}

// What stands in the place of what was summarised.

const opening = "[What came before this in the conversation, as a summary]"
const quoting = "[The last thing that the user said before this, word for word]"

/** The longest that is repeated word for word, in characters. */
const longestQuote = 8_000

/** Characters of what the user said last that a summary repeats: no more than a quarter of the window, so that it is not what fills it. */
export const quoteFor = ({ scale, window }: Pick<Rules, "scale" | "window">): number =>
  Math.max(shortest, Math.min(longestQuote, Math.floor(window / 4 / scale * bytesOfToken)))

/** A summary taken apart; nothing where the text is none. */
export const summaryIn = (text: string): { readonly text: string; readonly quote: string | undefined } | undefined => {
  if (!text.startsWith(`${opening}\n`)) return undefined
  const [summary = "", ...quote] = text.slice(opening.length + 1).split(`\n\n${quoting}\n`)
  return { text: summary, quote: quote.length === 0 ? undefined : quote.join("\n") }
}

/** What the user said last, where it is among these messages. */
const lastSaid = (messages: ReadonlyArray<Message>): string | undefined => {
  const last = messages.findLast((message) => message.role === "user")
  if (last === undefined) return undefined
  const summary = summaryIn(last.text)
  return summary === undefined ? last.text : summary.quote
}

/**
 * The text that stands in the place of messages: a summary of them, and what the user said last, up to so many characters, where
 * nothing that the user said comes after it.
 */
export const summaryOf = (
  summary: string,
  messages: ReadonlyArray<Message>,
  rest: ReadonlyArray<Message>,
  characters: number = longestQuote
): string => {
  const quote = rest.some((message) => message.role === "user") ? undefined : lastSaid(messages)
  const text = `${opening}\n${summary.replaceAll(quoting, "").trim()}`
  return quote === undefined ? text : `${text}\n\n${quoting}\n${shortened(quote, characters)}`
}

const line = (message: Message, characters: number): string => {
  switch (message.role) {
    case "user": {
      const before = summaryIn(message.text)
      if (before === undefined) return `User: ${shortened(message.text, characters * 4)}`
      return `Summary of what was before: ${before.text}${before.quote === undefined ? "" : `\nUser: ${shortened(before.quote, characters * 4)}`}`
    }
    case "assistant":
      return message.parts.flatMap((part) => {
        if (part.type === "tool-call") return [`Agent calls ${part.name}: ${shortened(part.arguments, characters)}`]
        return part.type === "text" && part.text !== "" ? [`Agent: ${shortened(part.text, characters * 4)}`] : []
      }).join("\n")
    case "tool":
      return message.results.map(({ isFailure, name, result }) =>
        `${name} ${isFailure ? "failed" : "answered"}: ${shortened(result, characters)}`).join("\n")
  }
}

/** Messages as text of at most so many tokens: long pieces are shortened, and of what is still too much the oldest is left out. */
export const told = (messages: ReadonlyArray<Message>, tokens: number, resultCharacters: number): string => {
  const lines = (characters: number) => messages.map((message) => line(message, characters)).filter((text) => text !== "")
  let characters = resultCharacters
  let all = lines(characters)
  const size = () => all.reduce((sum, text) => sum + tokensOfText(text), 0)
  while (size() > tokens && characters > 100) all = lines(characters = Math.floor(characters / 2))
  let left = 0
  // A summary of what was before is the first, and stays.
  while (size() > tokens && all.length > 2) {
    all = [...all.slice(0, 1), ...all.slice(2)]
    left++
  }
  const [first = "", ...rest] = all
  return within([first, ...(left === 0 ? [] : [`[${left} messages left out]`]), ...rest].join("\n\n"), tokens)
}

/** Characters of what the user said that a summary by rule repeats. */
const repeated = 200

/**
 * A summary without a model: how much there was, which tools were called, and the beginnings of what the user said, the latest last, as
 * many as there are so many tokens for.
 */
export const ruledSummary = (messages: ReadonlyArray<Message>, tokens: number): string => {
  const first = messages[0]
  const before = first?.role === "user" ? summaryIn(first.text)?.text : undefined
  const rest = before === undefined ? messages : messages.slice(1)
  const said = rest.flatMap((message) => message.role === "user" ? [`- ${shortened(message.text, repeated)}`] : [])
  const tools = new Map<string, number>()
  for (const message of rest) {
    if (message.role !== "assistant") continue
    for (const { name } of toolCallsOf(message.parts)) tools.set(name, (tools.get(name) ?? 0) + 1)
  }
  const calls = [...tools].map(([name, times]) => `${name} (${times})`).join(", ")
  const head = [
    ...(before === undefined ? [] : [shortened(before, Math.min(4_000, tokens))]),
    `${rest.length} messages were left out to make room.${calls === "" ? "" : ` Tools were called: ${calls}.`}`
  ]
  const lines = (left: ReadonlyArray<string>) => left.length === 0 ? head : [...head, "The user said, among other things:", ...left]
  let left = said
  while (left.length > 0 && tokensOfText(lines(left).join("\n")) > tokens) left = left.slice(1)
  return within(lines(left).join("\n"), tokens)
}
