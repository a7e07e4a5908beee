import * as Option from "effect/Option"
import * as Money from "../Money.ts"
import type { Usage } from "../Run.ts"
import type { Entry, Prices } from "./Catalog.ts"
import type { Request, ToolSpec } from "./Provider.ts"

/** The rates for a prompt of that many tokens: those of the highest tier below it, for every token of the request. */
export const ratesFor = (entry: Entry, prompt: number): Prices | undefined => {
  let rates = entry.prices
  let above = -1
  for (const tier of entry.tiers) {
    if (prompt > tier.above && tier.above > above) {
      above = tier.above
      rates = tier.prices
    }
  }
  return rates
}

/** A price of a thousand as one of a million. */
const ofThousand = (rate: Money.Money | undefined): Money.Money | undefined => rate === undefined ? undefined : Money.Money.make(rate * 1000n)

const charge = (rates: Prices | undefined, usage: Usage): Option.Option<Money.Money> => {
  if (rates === undefined) return Option.none()
  const quantities: Array<Money.Quantity> = []
  const kinds: ReadonlyArray<readonly [units: number, perMillion: Money.Money | undefined]> = [
    [usage.uncached, rates.input],
    [usage.cacheRead, rates.cacheRead],
    [usage.cacheWrite, rates.cacheWrite],
    [usage.cacheWriteHour, rates.cacheWriteHour],
    [usage.output, rates.output],
    [usage.webSearches ?? 0, ofThousand(rates.webSearch)]
  ]
  for (const [units, perMillion] of kinds) {
    if (units === 0) continue
    if (perMillion === undefined) return Option.none()
    quantities.push({ units, perMillion })
  }
  return Option.some(Money.charge(quantities))
}

/** The rates of the list for the prompt of an answer. */
const ratesOf = (entry: Entry, { cacheRead, cacheWrite, cacheWriteHour, uncached }: Usage): Prices | undefined =>
  ratesFor(entry, uncached + cacheRead + cacheWrite + cacheWriteHour)

/**
 * What an answer costs by list price, each kind of token and the provider's own web searches apart, rounded up once; tokens
 * of reasoning are output. Nothing where the model has no price, or where it used something that has none: an unknown price
 * is never zero.
 */
export const price = (entry: Entry, usage: Usage): Option.Option<Money.Money> => charge(ratesOf(entry, usage), usage)

/** What an answer costs as {@link price} says, at the dearest host that may have given it. */
export const priceAtMost = (entry: Entry, usage: Usage): Option.Option<Money.Money> => {
  const rates = ratesOf(entry, usage)
  return charge(rates === undefined ? undefined : mostOf(entry, rates), usage)
}

/** A rate raised as far as the dearest host's is above the list's; what one host gives away costs what the dearest asks. */
const raised = (rate: Money.Money, list: Money.Money, ceiling: Money.Money): Money.Money =>
  ceiling <= list ? rate : list === 0n ? Money.most(rate, ceiling) : Money.Money.make((rate * ceiling + list - 1n) / list)

/** The rates that the dearest host which may answer can have: every kind of input is raised as its input is. */
const mostOf = ({ ceiling, prices }: Entry, rates: Prices): Prices => {
  if (ceiling === undefined || prices === undefined) return rates
  const input = (rate: Money.Money) => raised(rate, prices.input, ceiling.input)
  return {
    ...rates,
    input: input(rates.input),
    output: raised(rates.output, prices.output, ceiling.output),
    ...(rates.cacheRead === undefined ? {} : { cacheRead: input(rates.cacheRead) }),
    ...(rates.cacheWrite === undefined ? {} : { cacheWrite: input(rates.cacheWrite) }),
    ...(rates.cacheWriteHour === undefined ? {} : { cacheWriteHour: input(rates.cacheWriteHour) })
  }
}

const dearest = (rates: Prices): Money.Money => {
  let most = rates.input
  for (const rate of [rates.cacheRead, rates.cacheWrite, rates.cacheWriteHour]) {
    if (rate !== undefined && rate > most) most = rate
  }
  return most
}

/**
 * The most that a request can cost: all input at the dearest kind of input, all output used, in the dearest tier that
 * the prompt may fall in, at the dearest host that may answer. Nothing where the model has no price.
 */
export const bound = (entry: Entry, inputTokensAtMost: number, maxOutput: number): Option.Option<Money.Money> => {
  if (entry.prices === undefined) return Option.none()
  const output = Math.ceil(maxOutput)
  const input = Math.ceil(inputTokensAtMost)
  const starts = [-1, ...entry.tiers.map((tier) => tier.above)].filter((above) => input > above)
  let most = Money.zero
  for (const above of starts) {
    const listed = ratesFor(entry, above + 1)
    if (listed === undefined) continue
    const rates = mostOf(entry, listed)
    const charge = Money.charge([
      { units: input, perMillion: dearest(rates) },
      { units: output, perMillion: rates.output }
    ])
    if (charge > most) most = charge
  }
  return Option.some(most)
}

/** Tokens that a provider may add around the request, each message and part, each tool, and for having tools at all. */
const envelope = { request: 64, message: 16, part: 16, tool: 64, tools: 1024, output: 256 }

const bytes = (text: string): number => Buffer.byteLength(text, "utf8")

const toolTokens = new WeakMap<ReadonlyArray<ToolSpec>, number>()

const tokensOfTools = (tools: ReadonlyArray<ToolSpec>): number => {
  const known = toolTokens.get(tools)
  if (known !== undefined) return known
  let tokens = tools.length === 0 ? 0 : envelope.tools
  for (const tool of tools) {
    tokens += envelope.tool + bytes(tool.name) + bytes(tool.description) + bytes(JSON.stringify(tool.parameters))
  }
  toolTokens.set(tools, tokens)
  return tokens
}

const tokensOfMessage = (message: Request["messages"][number]): number => {
  let tokens = envelope.message
  switch (message.role) {
    case "user":
      return tokens + envelope.part + bytes(message.text)
    case "tool":
      for (const result of message.results) tokens += envelope.part + bytes(result.id) + bytes(result.name) + bytes(result.result)
      return tokens
    case "assistant":
      for (const part of message.parts) {
        tokens += envelope.part +
          (part.type === "tool-call" ? bytes(part.id) + bytes(part.name) + bytes(part.arguments) : bytes(part.text))
        // Signatures hold the reasoning itself, encrypted, and so bound its tokens.
        for (const values of Object.values(part.opaque ?? {})) {
          for (const value of Object.values(values)) tokens += bytes(value)
        }
      }
      return tokens
  }
}

/** Where an earlier answer of the same model tells how many tokens the beginning of the conversation has. */
export interface Measured {
  /** How many of the request's messages were in that request or are its answer. */
  readonly messages: number
  /** The prompt and output tokens of that answer, as billed, with the same system text and tools. */
  readonly tokens: number
}

/**
 * Input tokens that a request has at most. A token of every tokenizer in use stands for at least one byte of UTF-8, so
 * the bytes of system text, tool definitions and messages bound them; to these come fixed allowances for what a provider
 * wraps around the request (64), its messages and parts (16 each), each tool (64), the tool instructions (1,024) and a
 * schema of the answer (256). In recorded requests that is 2.3 to 4.4 times what Claude and DeepSeek counted (9.9 times where
 * there is little but a signature), 7 to 14 times what Gemini did, which adds nothing for tools. So `measured`, where the bill of the previous answer is at hand, replaces
 * the estimate for the messages that it covers: 1.1 to 1.7 times, in very short conversations up to 3 times.
 */
export const inputBound = (request: Request, measured?: Measured): number => {
  let tokens = measured === undefined
    ? envelope.request + bytes(request.system) + tokensOfTools(request.tools)
    : measured.tokens + envelope.request
  if (request.output !== undefined) tokens += envelope.output + bytes(JSON.stringify(request.output.schema))
  for (let index = measured?.messages ?? 0; index < request.messages.length; index++) {
    const message = request.messages[index]
    if (message !== undefined) tokens += tokensOfMessage(message)
  }
  return tokens
}

/** The dearest rate of output, per million tokens, in any tier that a prompt of at most so many tokens may fall in, at any host. */
export const outputRate = (entry: Entry, inputTokensAtMost: number): Option.Option<Money.Money> => {
  if (entry.prices === undefined) return Option.none()
  let most = mostOf(entry, entry.prices).output
  for (const tier of entry.tiers) {
    const { output } = mostOf(entry, tier.prices)
    if (inputTokensAtMost > tier.above && output > most) most = output
  }
  return Option.some(most)
}
