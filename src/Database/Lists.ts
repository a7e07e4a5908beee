import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Result from "effect/Result"

/**
 * Lists as parameters that name their type. Of others the driver guesses it, which takes a look at each element and fails where all are
 * null.
 */
const listOf = <A>(element: number) => (values: ReadonlyArray<A | null>): PgTypes.Parameter =>
  Result.getOrThrow(PgTypes.array(values, element))

export const texts = listOf<string>(PgTypes.OID.text)
export const integers = listOf<number>(PgTypes.OID.int4)
export const bigIntegers = listOf<bigint>(PgTypes.OID.int8)
export const booleans = listOf<boolean>(PgTypes.OID.bool)
