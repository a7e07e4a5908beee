import * as Option from "effect/Option"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"

/** Where the data is. */
export const database = {
  dataDir: Flag.String("data-dir").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Directory of the embedded database (default .conductor)"),
    Flag.optional
  ),
  databaseUrl: Flag.Redacted("database-url").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("A Postgres instead, as postgres://user:password@host:5432/database"),
    Flag.optional
  )
}

/** The flags of every command that needs what is in the database: where it is, and whose. */
export const place = {
  ...database,
  org: Flag.String("org").pipe(
    Flag.withMetavar("ORG"),
    Flag.withDescription("The organisation to act for (default local)"),
    Flag.optional
  )
}

const units = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const

/** A length of time as it is typed, such as 90d, in milliseconds. */
export const ageOf = (text: string): Option.Option<number> => {
  const [, count, unit] = /^([1-9]\d{0,4})([hdw])$/.exec(text.trim()) ?? []
  return count === undefined ? Option.none() : Option.some(Number(count) * units[unit as keyof typeof units]) // one of those that the pattern takes
}

/** A flag that is a length of time. */
export const age = <const Name extends string>(name: Name, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("AGE"),
    Flag.withDescription(description),
    Flag.filterMap(ageOf, () => "Expected a length of time such as 90d, 12h or 6w"),
    Flag.optional
  )

/** Machine-readable output. */
export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one JSON object a line, and nothing else on standard output"),
  Flag.withDefault(false)
)

/** How many rows a list has at most. */
export const limit = Flag.Int("limit").pipe(
  Flag.filter((number) => number >= 1 && number <= 10_000, () => "Expected a number from 1 to 10000"),
  Flag.withDescription("How many rows at most"),
  Flag.withDefault(20)
)

/** The run that a command is about. */
export const run = Argument.String("run").pipe(Argument.withDescription("The id of a run, as conductor runs lists it"))

/** What is typed, where it says something. */
export const saying = <A extends string>(flag: Flag.Flag<A>): Flag.Flag<A> =>
  Flag.filter(flag, (text) => text.trim() !== "", () => "Expected some text")

/** Why somebody decides as they do. */
export const comment = Flag.String("comment").pipe(
  Flag.withMetavar("TEXT"),
  Flag.withDescription("Why; kept in the run and in the audit trail"),
  saying,
  Flag.optional
)

/** The request that a decision is about. */
export const approval = Argument.String("id").pipe(Argument.withDescription("The id of a request, as conductor approvals lists it"))

/** A flag that is given or not, without an opposite. */
export const given = <const Name extends string>(name: Name, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false), Flag.withoutNegation)
