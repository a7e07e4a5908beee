/** The stores that a contract suite of the log's rooms runs on: memory, embedded, Postgres; each fresh. */
import { Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as AuditLog from "../../src/AuditLog.ts"
import * as Budget from "../../src/Budget.ts"
import * as Inbox from "../../src/Inbox.ts"
import * as RunLog from "../../src/RunLog.ts"
import { databases } from "./databases.ts"

const projections = [Inbox.projection, Budget.projection, AuditLog.projection]

type Rooms = RunLog.RunLog | RunLog.Store | RunLog.Tables | Inbox.Inbox | Budget.Budget | AuditLog.AuditLog

/** The log with its gates, and the rooms that hang on it; with another gate of budgets and what it needs of a database, where that is what is tested. */
export const storesWith = (
  budgets: RunLog.Gate,
  needs: Layer.Layer<never, SqlError, SqlClient.SqlClient> = Layer.empty
): ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Rooms, unknown> }> => {
  const gates = [Inbox.gate, budgets]
  return [
    {
      name: "memory",
      layer: Layer.mergeAll(Inbox.Inbox.layerMemory, Budget.Budget.layerMemory).pipe(
        Layer.provideMerge(AuditLog.AuditLog.layerMemory),
        Layer.provideMerge(RunLog.RunLog.layerMemory(gates, projections)),
        Layer.provide(SecureRandom.layerWebCrypto)
      )
    },
    ...databases.map(({ layer, name }) => ({
      name,
      layer: Layer.mergeAll(Inbox.Inbox.layer, Budget.Budget.layer).pipe(
        Layer.provideMerge(AuditLog.AuditLog.layer),
        Layer.provideMerge(RunLog.RunLog.layerSql(gates, projections)),
        Layer.provide(SecureRandom.layerWebCrypto),
        Layer.provideMerge(needs),
        Layer.provideMerge(layer),
        // Unused here, so that tests may ask for them on every store.
        Layer.provideMerge(RunLog.Tables.layer)
      )
    }))
  ]
}

export const stores = storesWith(Budget.gate)
