import type { ModelRef } from "./Ids.ts"
import type { RunState } from "./State.ts"
import type { Message } from "./Transcript.ts"

/** Bytes of UTF-8 that a token stands for: 4 and more in English prose, about 3 in JSON and code, 2 to 3 in other scripts. */
export const bytesOfToken = 3

/** Tokens that a provider adds around a message and each of its parts. */
const envelope = 6

const bytes = (text: string): number => Buffer.byteLength(text, "utf8")

/** Tokens that a text has, as far as its length tells. */
export const tokensOfText = (text: string): number => Math.ceil(bytes(text) / bytesOfToken)

const known = new WeakMap<Message, number>()

const count = (message: Message): number => {
  switch (message.role) {
    case "user":
      return envelope + tokensOfText(message.text)
    case "tool":
      return message.results.reduce((sum, { id, name, result }) => sum + envelope + tokensOfText(id + name + result), envelope)
    case "assistant":
      return message.parts.reduce((sum, part) => {
        const text = part.type === "tool-call" ? part.id + part.name + part.arguments : part.text
        const opaque = Object.values(part.opaque ?? {}).flatMap((values) => Object.values(values)).join("")
        return sum + envelope + tokensOfText(text + opaque)
      }, envelope)
  }
}

/** Tokens that a message has, as far as its length tells: an estimate, where a bill must never be guessed. */
export const tokensOfMessage = (message: Message): number => {
  const found = known.get(message)
  if (found !== undefined) return found
  const tokens = count(message)
  known.set(message, tokens)
  return tokens
}

/** Tokens that messages have, as far as their length tells. */
export const tokensOfMessages = (messages: ReadonlyArray<Message>): number =>
  messages.reduce((sum, message) => sum + tokensOfMessage(message), 0)

/**
 * Tokens of input that the next request has: what the model's last answer was billed with, and an estimate of what came
 * after it; an estimate of everything where the model has not answered since the conversation, or the model, became another.
 */
export const sizeOf = ({ earlier, measured, messages }: RunState): number => {
  let tokens = measured?.tokens ?? earlier.tokens
  for (let index = measured?.messages ?? 0; index < messages.length; index++) {
    const message = messages[index]
    if (message !== undefined) tokens += tokensOfMessage(message)
  }
  return tokens
}

/** Tokens of input that a request to a model of the run has at most; infinite where nobody has said. */
export const windowOf = ({ limits, models, started }: RunState, model: ModelRef): number =>
  Math.min(limits.context?.tokens ?? Infinity, started.context?.windows[models.indexOf(model)] ?? Infinity)
