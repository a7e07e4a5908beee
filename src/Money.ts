import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** Decimal places of one unit: a `Money` of 1 is 10⁻¹² USD. */
const scale = 12

const decimal = /^(\d{1,12})(?:\.(\d{1,12}))?$/

/**
 * An amount of US dollars, exact: a branded `bigint` of 10⁻¹² USD (`numeric(24,12)` in SQL, a decimal string in JSON).
 * Arithmetic is `bigint` arithmetic; only {@link charge} rounds, up, once.
 */
export const Money = Schema.BigInt.pipe(Schema.brand("Money"))
export type Money = typeof Money.Type

const of = (units: bigint): Money => units as Money // every bigint is a valid amount; the brand only marks the unit

/** Nothing. */
export const zero: Money = of(0n)

/** The largest amount the database column holds; stands for "no limit" in comparisons. */
export const max: Money = of(10n ** 24n - 1n)

/** The sum of two amounts. */
export const add = (a: Money, b: Money): Money => of(a + b)

/** What is left of `a` after `b`; may be negative. */
export const subtract = (a: Money, b: Money): Money => of(a - b)

/** The smaller of two amounts. */
export const least = (a: Money, b: Money): Money => a < b ? a : b

/** The larger of two amounts. */
export const most = (a: Money, b: Money): Money => a > b ? a : b

/** The amount as a plain decimal number of dollars without trailing zeros: `0.5`, `-0.000000000001`, `12`. */
export const format = (money: Money): string => {
  if (money === 0n) return "0"
  const digits = (money < 0n ? -money : money).toString().padStart(scale + 1, "0")
  let end = digits.length
  while (end > digits.length - scale && digits[end - 1] === "0") end--
  const whole = digits.slice(0, -scale)
  return `${money < 0n ? "-" : ""}${end === whole.length ? whole : `${whole}.${digits.slice(whole.length, end)}`}`
}

/** The amount for people, rounded up to a hundredth of a cent: `$0.0123`. Exact figures use {@link format}. */
export const display = (money: Money): string => {
  const step = 10n ** 8n
  const sign = money < 0n ? "-" : ""
  const absolute = money < 0n ? -money : money
  const rounded = (absolute + step - 1n) / step
  return `${sign}$${rounded / 10_000n}.${(rounded % 10_000n).toString().padStart(4, "0")}`
}

/** Reads `0.50`, `0.50 USD` or `$0.50`; nothing for anything else, a sign, or more than 12 decimals. */
export const parse = (text: string): Option.Option<Money> => {
  const match = decimal.exec(text.trim().replace(/^\$\s*/, "").replace(/\s*USD$/i, ""))
  return match === null
    ? Option.none()
    : Option.some(of(BigInt(match[1] + (match[2] ?? "").padEnd(scale, "0"))))
}

/** The amount a trusted literal names; throws on a malformed one, so for constants and tests only. */
export const usd = (text: string): Money =>
  Option.getOrThrowWith(parse(text), () => new Error(`"${text}" is not an amount of dollars`))

const signed = (text: string): bigint => text.startsWith("-") ? -usd(text.slice(1)) : usd(text)

/** The codec of an amount: a decimal string outside, {@link Money} inside. */
export const FromString = Schema.String.check(
  Schema.isPattern(/^-?\d{1,12}(\.\d{1,12})?$/)
).pipe(
  Schema.decodeTo(Schema.BigInt, SchemaTransformation.transform({ decode: signed, encode: (units) => format(of(units)) })),
  Schema.brand("Money")
)

/** A number of tokens (or other units) at a rate in dollars per million of them. */
export interface Quantity {
  readonly units: number
  readonly perMillion: Money
}

/** The price of several quantities together, rounded up once to the next 10⁻¹² USD. */
export const charge = (quantities: ReadonlyArray<Quantity>): Money => {
  let total = 0n
  for (const { units, perMillion } of quantities) total += BigInt(units) * perMillion
  return of((total + 999_999n) / 1_000_000n)
}

/** How many further units an amount buys at a rate; zero where it buys none, `Infinity` where the rate is zero. */
export const affordable = (money: Money, perMillion: Money): number =>
  perMillion === 0n ? Infinity : money <= 0n ? 0 : Number(money * 1_000_000n / perMillion)
