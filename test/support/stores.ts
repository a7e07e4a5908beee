/** The stores that a contract suite of the log's rooms runs on: memory, embedded, Postgres; each fresh. */
import { Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Budget from "../../src/Budget.ts"
import * as Inbox from "../../src/Inbox.ts"
import * as RunLog from "../../src/RunLog.ts"
import { databases } from "./databases.ts"

const gates = [Inbox.gate, Budget.gate]
const projections = [Inbox.projection, Budget.projection]

type Rooms = RunLog.RunLog | RunLog.Store | Inbox.Inbox | Budget.Budget

/** The log with its gates, and the rooms that hang on it. */
export const stores: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Rooms, unknown> }> = [
  {
    name: "memory",
    layer: Layer.mergeAll(Inbox.Inbox.layerMemory, Budget.Budget.layerMemory).pipe(
      Layer.provideMerge(RunLog.RunLog.layerMemory(gates, projections)),
      Layer.provide(SecureRandom.layerWebCrypto)
    )
  },
  ...databases.map(({ layer, name }) => ({
    name,
    layer: Layer.mergeAll(Inbox.Inbox.layer, Budget.Budget.layer).pipe(
      Layer.provideMerge(RunLog.RunLog.layerSql(gates, projections)),
      Layer.provide(SecureRandom.layerWebCrypto),
      Layer.provideMerge(layer)
    )
  }))
]
