/**
 * Conductor's SDK. Five names are enough for a plugin, an agent and a program: {@link Agent}, {@link Conductor},
 * {@link Model}, {@link Plugin} and {@link Tool}.
 */
export * as Agent from "./Agent.ts"
export {
  Conductor, type Decision, type Pending, type Provided, type Resolution, type RunOptions, type RunResult, type SendOptions, type Watched
} from "./Conductor.ts"
export * as Model from "./Model.ts"
export * as Plugin from "./Plugin.ts"
export * as Tool from "./Tool.ts"

export * as Approval from "./Approval.ts"
export { AuditLog } from "./AuditLog.ts"
export {
  AttemptNotFound, type Balance, Budget, type Corrected as CostCorrected, type Period as BudgetPeriod, type Report as CostReport
} from "./Budget.ts"
export { asOrg } from "./Database.ts"
export * as Ledger from "./Ledger.ts"
export * as Memory from "./Memory.ts"
export * as Money from "./Money.ts"
export { CurrentOrg, CurrentPrincipal } from "./Org.ts"
export * as Org from "./Org.ts"
export * as Run from "./Run.ts"
export { FlushPatience, LeaseRenewal, LeaseTime } from "./RunLog.ts"
export { DrainTime, type Drained, TakesOver } from "./Runs.ts"
export * as Telemetry from "./Telemetry.ts"
export { SqlQuery } from "./Tools.ts"
