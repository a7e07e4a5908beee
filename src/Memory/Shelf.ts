import type * as Effect from "effect/Effect"
import type { OrgId, RunId, StorageFailed } from "../Run.ts"
import type { Fact, Filter, Forgetting, Found, Question } from "./Fact.ts"
import type { TakeOut } from "./TakeOut.ts"

/** Something that is to be forgotten wherever it was said. */
export interface Erasure {
  readonly id: string
  readonly org: OrgId
  /** Word for word; kept until nothing is left to look through. */
  readonly texts: ReadonlyArray<string>
  readonly by: string
  /** When it was asked for, in milliseconds since 1970. */
  readonly at: number
  /** The runs that are waited for; null as long as nobody has looked for them. */
  readonly runs: ReadonlyArray<RunId> | null
}

/** Where memories are kept: the part that differs between Postgres and process memory. Times are milliseconds since 1970. */
export interface Shelf {
  /** Everything in it is written or nothing is. */
  readonly atomic: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StorageFailed, R>
  /** The memory of that key: this one, or the one that was there before. */
  readonly put: (fact: Fact, dedupe: string) => Effect.Effect<Fact, StorageFailed>
  /** Best first, and newest first among equals. */
  readonly find: (org: OrgId, question: Question & { readonly limit: number }, at: number) => Effect.Effect<ReadonlyArray<Found>, StorageFailed>
  readonly list: (org: OrgId, filter: Filter, at: number) => Effect.Effect<ReadonlyArray<Fact>, StorageFailed>
  /** Takes memories away, and answers what they said. */
  readonly remove: (org: OrgId, what: Forgetting) => Effect.Effect<ReadonlyArray<string>, StorageFailed>
  /**
   * Takes texts out of the memories that have them, of those that are from some runs where these are given; how many went with that,
   * because they said nothing else.
   */
  readonly takeOut: (org: OrgId, texts: ReadonlyArray<string>, runs?: ReadonlyArray<RunId>) => Effect.Effect<number, StorageFailed>
  readonly removeExpired: (at: number) => Effect.Effect<void, StorageFailed>
  readonly erasures: Effect.Effect<ReadonlyArray<Erasure>, StorageFailed>
  readonly begin: (erasure: Erasure) => Effect.Effect<void, StorageFailed>
  readonly wait: (id: string, runs: ReadonlyArray<RunId>) => Effect.Effect<void, StorageFailed>
  readonly end: (id: string) => Effect.Effect<void, StorageFailed>
}

/** What was said in the runs of an organisation, wherever it is kept. */
export interface Traces {
  /** The runs of an erasure's organisation that are under way, or were begun since the erasure. */
  readonly underWay: (erasure: Erasure) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /** Runs that are over, by id, after one of them; some at a time. */
  readonly over: (org: OrgId, after: string) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /** Those of these runs that are not over. */
  readonly unfinished: (org: OrgId, runs: ReadonlyArray<RunId>) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /**
   * Takes the texts out of what these runs have kept, and erases the rows of the audit trail that were about it; those of the runs
   * that hold them and could not be cleared, because they are not over any more.
   */
  readonly clear: (erasure: Erasure, take: TakeOut, runs: ReadonlyArray<RunId>) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /** Erases every row of the audit trail that holds one of the texts, and takes them out of what older versions kept of calls beside it. */
  readonly clearTrail: (erasure: Erasure, take: TakeOut) => Effect.Effect<void, StorageFailed>
}
