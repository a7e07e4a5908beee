import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import { asOrg, Tool } from "../../index.ts"

/** The dealers could not be read. */
export class DealersUnavailable extends Schema.TaggedError<DealersUnavailable>()("DealersUnavailable", {
  /** What to do about it. */
  remedy: Schema.String
}) {
  override get message() {
    return `The dealers could not be read: ${this.remedy}.`
  }
}

const Dealer = Schema.Struct({ external_id: Schema.String, company_name: Schema.String, city: Schema.String })

/** Two dealers and the distance between them, as the crow flies. */
const Pair = Schema.Struct({ a: Dealer, b: Dealer, miles: Schema.Finite })

/** Dealers taken into account at most: pairs grow with the square of their number. */
const maxDealers = 300

/** Finds which dealers of a state are closest together. */
export const DealerDistances = Tool.make("dealer_distances", {
  description: "Finds the pairs of dealers in one state that are closest together, by the distance between their coordinates in " +
    `miles, nearest first. Takes at most ${maxDealers} dealers into account.`,
  parameters: Schema.Struct({
    state: Schema.String.annotate({ description: "The state by its two letters, such as TX" }),
    brand: Schema.optionalKey(Schema.String.annotate({ description: "Only dealers of this brand, such as Generac; all brands when left out" })),
    pairs: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 })).annotate({
      description: "How many pairs to give, 1 to 20; 3 when left out"
    }))
  }),
  success: Schema.Struct({ dealers: Schema.Int, pairs: Schema.Array(Pair) }),
  failure: DealersUnavailable,
  effect: "pure",
  category: "data",
  target: ({ state }) => `state:${state}`
})

/** A place on earth, in degrees. */
export interface Place {
  readonly lat: number
  readonly lng: number
}

/** The mean radius of the earth in miles: 6,371.0088 km (IUGG). */
const earthRadius = 3_958.7613

const radians = (degrees: number) => degrees * Math.PI / 180

/** The distance between two places along a great circle, in miles (haversine formula). */
export const milesBetween = (a: Place, b: Place): number => {
  const half = (from: number, to: number) => Math.sin(radians(to - from) / 2) ** 2
  const h = half(a.lat, b.lat) + Math.cos(radians(a.lat)) * Math.cos(radians(b.lat)) * half(a.lng, b.lng)
  return 2 * earthRadius * Math.asin(Math.min(1, Math.sqrt(h)))
}

type Row = typeof Dealer.Type & Place

const shown = ({ city, company_name, external_id }: Row): typeof Dealer.Type => ({ external_id, company_name, city })

/** All pairs, nearest first, in tenths of a mile. */
export const nearestPairs = (rows: ReadonlyArray<Row>, count: number): ReadonlyArray<typeof Pair.Type> => {
  const pairs = rows.flatMap((a, index) => rows.slice(index + 1).map((b) => ({ a, b, miles: milesBetween(a, b) })))
  return pairs
    .toSorted((one, other) => one.miles - other.miles)
    .slice(0, count)
    .map(({ a, b, miles }) => ({ a: shown(a), b: shown(b), miles: Math.round(miles * 10) / 10 }))
}

/** The handler of {@link DealerDistances}. */
export const dealerDistances = Effect.map(SqlClient.SqlClient, (sql) =>
  Effect.fn("dealer_distances")(function*(parameters: { readonly state: string; readonly brand?: string; readonly pairs?: number }) {
    const call = yield* Tool.Call
    const rows = yield* sql<Row>`
      SELECT external_id, company_name, address->>'city' AS city, (address->>'lat')::float8 AS lat, (address->>'lng')::float8 AS lng
      FROM leads
      WHERE address->>'state' = ${parameters.state.trim().toUpperCase()}
        AND (${parameters.brand ?? null}::text IS NULL OR oem_brand = ${parameters.brand ?? null}::text)
        AND external_id IS NOT NULL AND address->>'city' IS NOT NULL AND address->>'lat' IS NOT NULL AND address->>'lng' IS NOT NULL
      ORDER BY external_id
      LIMIT ${maxDealers}`.pipe(
        asOrg(call.org, { readOnly: true, statementTimeout: "5 seconds" }),
        Effect.provideService(SqlClient.SqlClient, sql),
        Effect.mapError(() => new DealersUnavailable({ remedy: "try again later" }))
      )
    return { dealers: rows.length, pairs: nearestPairs(rows, parameters.pairs ?? 3) }
  }))
