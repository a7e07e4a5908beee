import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"

/** A text of one character at least, and so many at most. */
export const text = (most: number) => Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(most))

/** A whole number from 1 on. */
export const positive = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2_147_483_647 }))

const whole = (minimum: number, maximum: number) =>
  Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum }))

/** Dollars that may be spent. */
export const amount = Money.FromString.check(Schema.makeFilter((limit: bigint) => limit >= 0n || "a limit is not below zero"))

/** How many rows a list has at most, in a query. */
export const limit = Schema.optionalKey(whole(1, 1_000))

/** How many there are at most of what is read whole. */
export const few = Schema.optionalKey(whole(1, 100))

/** A sequence number, in a query or a header. */
export const place = whole(0, 2_147_483_647)

/** A time in a query, in milliseconds since 1970. */
export const time = Schema.optionalKey(whole(0, 8_640_000_000_000_000))

/** True or false, in a query. */
export const flag = Schema.optionalKey(Schema.Literals(["true", "false"]))

/** A page of rows: how to ask for the next one. */
export const next = Schema.NullOr(Schema.String)

/** A body that may be left out, which is null. */
export const optional = <S extends Schema.Top>(body: S) => [body, Schema.Null] as const
