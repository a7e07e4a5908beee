/** What the demonstration has from Conductor: the only file of it that imports anything of ours. */
// --- switch this block to "../../index.ts" once it exports `Database` and `SqlQuery` ---
export * as Agent from "../../Agent.ts"
export { asOrg } from "../../Database.ts"
export * as Model from "../../Model.ts"
export * as Plugin from "../../Plugin.ts"
export type { OrgId, Transcript } from "../../Run.ts"
export * as Tool from "../../Tool.ts"
export { SqlQuery } from "../../Tools.ts"
// --- until here ---
