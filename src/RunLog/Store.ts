import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Money from "../Money.ts"
import type {
  AgentName, DefinitionHash, ModelRef, OrgId, RunId, RunnerId, RunStatus, SessionId, StorageFailed
} from "../Run.ts"
import type { Append, AppendError } from "./Append.ts"
import type { Page, PageSize } from "./Page.ts"
import type { Transaction } from "./Transaction.ts"

/** A run as lists show it. */
export interface RunRow {
  readonly run: RunId
  readonly org: OrgId
  readonly session: SessionId
  readonly agent: AgentName
  readonly definition: DefinitionHash
  readonly model: ModelRef
  readonly status: RunStatus
  readonly owner: RunnerId | null
  readonly epoch: number
  readonly seq: number
  readonly turns: number
  readonly cost: Money.Money
  /** False where an attempt had no known price. */
  readonly priced: boolean
  readonly inputTokens: number
  readonly outputTokens: number
  /** The tag of the error that it failed with. */
  readonly error: string | null
  /** What it waits for, while it is parked. */
  readonly parked: string | null
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly endedAt: number | null
}

/** Which runs to list, newest first. */
export interface RunFilter {
  readonly org?: OrgId
  readonly session?: SessionId
  readonly status?: RunStatus
  readonly agent?: AgentName
  /** Runs older than this one. */
  readonly before?: RunId
  readonly limit: number
}

/** The outcome of one append: the append as it was written, or why it was not. */
export type Outcome = { readonly _tag: "Appended"; readonly append: Append } | {
  readonly _tag: "Refused"
  readonly error: AppendError
}

/** The batch as a whole cannot be written because of the data in it. */
export interface BadBatch {
  readonly _tag: "BadBatch"
  readonly error: AppendError
}

/** What is read of logs. */
export interface Reads {
  /** The next events of a run after a sequence number, in order. */
  readonly read: (run: RunId, after: number, size: PageSize) => Effect.Effect<Page, StorageFailed>
  readonly find: (run: RunId) => Effect.Effect<Option.Option<RunRow>, StorageFailed>
  readonly list: (filter: RunFilter) => Effect.Effect<ReadonlyArray<RunRow>, StorageFailed>
}

/** Where logs are kept: the part that differs between Postgres and memory. */
export class Store extends Context.Service<Store, Reads & {
  /** The same for an organisation: what is another's is not there. On a database it is the database that holds this line. */
  readonly as: (org: OrgId) => Reads
  /** How many flushes may be under way at the same time. */
  readonly lanes: number
  /** Whether what a run did and the request that it makes next, or its end, are written as one append, which costs less. */
  readonly joins: boolean
  /** Writes a batch, of each run one append, in one transaction and says what became of each append, in their order. */
  readonly flush: (batch: ReadonlyArray<Append>) => Effect.Effect<ReadonlyArray<Outcome>, BadBatch | StorageFailed>
  /** SQL that commits together with events; nothing where there is no database. */
  readonly transaction: Transaction | undefined
  /** Writes one append at once, where a store need not be waited for. */
  readonly write?: (append: Append) => Outcome
  /** The sequence number of the last event of each of these runs; those that are not there are left out. */
  readonly heads: (runs: ReadonlyArray<RunId>) => Effect.Effect<ReadonlyMap<RunId, number>, StorageFailed>
  /** Keeps a definition; once for each hash. */
  readonly define: (hash: DefinitionHash, agent: AgentName, definition: string) => Effect.Effect<void, StorageFailed>
  readonly definition: (hash: DefinitionHash) => Effect.Effect<Option.Option<string>, StorageFailed>
  /** This process, as owner of runs. */
  readonly runner: RunnerId
  /** Renews this process's lease; false where it had ended, so that its runs may have been taken over. */
  readonly renew: Effect.Effect<boolean, StorageFailed>
  /** Takes a run that is unfinished (or, with `over`, has failed) and whose owner has no valid lease; the new epoch. */
  readonly claim: (run: RunId, options?: { readonly over: boolean }) => Effect.Effect<Option.Option<number>, StorageFailed>
  /**
   * Runs of these agents that somebody should perform, but those given, oldest first: running ones that no other process with a
   * valid lease owns, and those that a process parked because it was shut down.
   */
  readonly orphans: (
    agents: ReadonlyArray<AgentName>,
    except: ReadonlyArray<RunId>,
    limit: number
  ) => Effect.Effect<ReadonlyArray<RunId>, StorageFailed>
  /** Agents with such runs, and how many, registered here or not. */
  readonly unclaimed: Effect.Effect<ReadonlyArray<{ readonly agent: AgentName; readonly runs: number }>, StorageFailed>
  /** The run of a session that came last. */
  readonly latest: (org: OrgId, session: SessionId) => Effect.Effect<Option.Option<RunRow>, StorageFailed>
}>()("conductor-ai/RunLog/Store") {}

/** What stands between a store and the runtime over it: nothing, but where the test kit lets processes die. */
export const BetweenStore = Context.Reference<(store: Store["Service"]) => Store["Service"]>("conductor-ai/RunLog/BetweenStore", {
  defaultValue: () => (store) => store
})
