import * as Layer from "effect/Layer"
import * as Approval from "../Approval.ts"
import * as AuditLog from "../AuditLog.ts"
import * as Budget from "../Budget.ts"
import { Idempotency } from "../Idempotency.ts"
import * as Inbox from "../Inbox.ts"
import { Ledger } from "../Ledger.ts"
import { Memory } from "../Memory.ts"
import { Keys, Orgs } from "../Org.ts"
import { Outcomes } from "../Outcomes.ts"
import * as RunLog from "../RunLog.ts"
import { Sessions } from "../Session.ts"
import * as Telemetry from "../Telemetry.ts"
import { type Agents, gates, projections } from "./Wiring.ts"

/** What a runtime keeps and reads, in tables of this process. */
export const inTables = (agents: Agents) =>
  Layer.mergeAll(
    Approval.Approval.layerMemory, Budget.Budget.layerMemory, Idempotency.layerMemory, Inbox.Inbox.layerMemory, Keys.layerMemory,
    Ledger.layerMemory, Memory.layerMemory, Orgs.layerMemory, Outcomes.layerMemory, Sessions.layerMemory
  ).pipe(
    Layer.provideMerge(AuditLog.AuditLog.layerMemory),
    Layer.provideMerge(RunLog.RunLog.layerTables(gates, projections(agents)).pipe(Layer.provide(Telemetry.layerMetrics)))
  )

/** What a runtime keeps and reads, in a database. */
export const inDatabase = (agents: Agents) =>
  Layer.mergeAll(
    Approval.Approval.layer, Budget.Budget.layer, Idempotency.layer, Inbox.Inbox.layer, Keys.layer, Ledger.layer, Memory.layer, Orgs.layer,
    Outcomes.layer, Sessions.layer
  ).pipe(
    Layer.provideMerge(AuditLog.AuditLog.layer),
    Layer.provideMerge(RunLog.RunLog.layerSql(gates, projections(agents)).pipe(Layer.provide(Telemetry.layerMetrics)))
  )
