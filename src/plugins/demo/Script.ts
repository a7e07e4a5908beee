import type * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Model, type Run } from "../../index.ts"

/** The question that the demonstration asks. */
export const question = "Which state has the most Generac dealers, how many are there, and which two of them are closest together?"

/** How fast the script speaks. */
export interface Pace {
  /** The wait between two pieces of its text; 25 milliseconds by default. */
  readonly pace?: Duration.Input
}

type Results = ReadonlyArray<Run.Transcript.ToolResult>

/** What has been said since the last question. */
const since = (messages: ReadonlyArray<Run.Transcript.Message>) => {
  const start = messages.findLastIndex((message) => message.role === "user")
  const asked = messages[start]
  const results = messages.slice(start + 1).flatMap((message): Results => message.role === "tool" ? message.results : [])
  return { asked: asked?.role === "user" ? asked.text : "", results }
}

const States = Schema.Struct({ rows: Schema.Array(Schema.Tuple([Schema.String, Schema.Int])) })
const Totals = Schema.Struct({ rows: Schema.Tuple([Schema.Tuple([Schema.Int, Schema.Int])]) })
const Named = Schema.Struct({ company_name: Schema.String, city: Schema.String })
const Distances = Schema.Struct({ pairs: Schema.Array(Schema.Struct({ a: Named, b: Named, miles: Schema.Finite })) })

const reader = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownOption(Schema.fromJsonString(schema))
  return (result: Run.Transcript.ToolResult | undefined) => Option.getOrUndefined(decode(result?.result))
}

const readStates = reader(States)
const readTotals = reader(Totals)
const readDistances = reader(Distances)

const text = (value: string) => `'${value.replaceAll("'", "''")}'`

const count = (brand: string): Model.Scripted.Turn => ({
  text: `I count the ${brand} dealers of each state, and all of them.`,
  toolCalls: [
    {
      name: "sql_query",
      params: {
        query: `SELECT address->>'state' AS state, count(*) AS dealers\nFROM leads\nWHERE oem_brand = ${text(brand)}\nGROUP BY 1\nORDER BY dealers DESC, state`,
        max_rows: 5
      }
    },
    {
      name: "sql_query",
      params: { query: `SELECT count(*) AS dealers, count(DISTINCT address->>'state') AS states\nFROM leads\nWHERE oem_brand = ${text(brand)}` }
    }
  ]
})

const list = new Intl.ListFormat("en")

const concluded = (brand: string, results: Results): string => {
  const states = readStates(results[0])
  const totals = readTotals(results[1])
  const distances = readDistances(results[2])
  const [first] = states?.rows ?? []
  if (states === undefined || totals === undefined || distances === undefined || first === undefined) {
    return "The tools answered something that this script cannot read. Ask a real model instead: set ANTHROPIC_API_KEY."
  }
  const [state, most] = first
  const [[all, inStates]] = totals.rows
  const level = states.rows.filter(([, dealers]) => dealers === most).map(([name]) => name)
  const leading = level.length === 1
    ? `${state} has the most ${brand} dealers: ${most} of ${all}, which are in ${inStates} states.`
    : `${list.format(level)} have the most ${brand} dealers, ${most} each of ${all}.`
  const [pair] = distances.pairs
  return pair === undefined
    ? `${leading} ${state} has no two of them with a known place.`
    : `${leading} In ${state} the two closest together are ${pair.a.company_name} (${pair.a.city}) and ${pair.b.company_name} ` +
      `(${pair.b.city}), ${pair.miles} miles apart.`
}

/**
 * What the script says next, from the transcript alone: it counts with two calls at once, asks for the distances in the
 * state that came out first, and makes its sentence of what the tools gave. It knows the one question, for any brand.
 */
export const turnOf = (messages: ReadonlyArray<Run.Transcript.Message>): Model.Scripted.Turn => {
  const { asked, results } = since(messages)
  const brand = /most (.{1,40}?) dealers/i.exec(asked)?.[1]
  if (brand === undefined) {
    return { text: `I am a script, not a model, and know one question: "${question}" Set ANTHROPIC_API_KEY to ask a model anything.` }
  }
  const failed = results.find((result) => result.isFailure)
  if (failed !== undefined) return { text: `I cannot answer, because ${failed.name} failed: ${failed.result}` }
  if (results.length === 0) return count(brand)
  const [first] = readStates(results[0])?.rows ?? []
  if (results.length > 2 || first === undefined) {
    return { text: readStates(results[0])?.rows.length === 0 ? `There are no ${brand} dealers.` : concluded(brand, results) }
  }
  return {
    text: `${first[0]} has the most. I measure the distances between its dealers.`,
    toolCalls: [{ name: "dealer_distances", params: { state: first[0], brand, pairs: 1 } }]
  }
}

/** The script as a model: no key, no network, and it streams as a model does. */
export const script = ({ pace = "25 millis" }: Pace = {}): Model.Provider =>
  Model.Scripted.make((request) => ({ ...turnOf(request.messages), pace }), { pieces: 6 })
