/** The core tools: each is made with its handler, and a plugin puts them to an agent. */
export * as SqlQuery from "./Tools/SqlQuery.ts"
export { type Guard, make as sqlGuard, SqlRefused } from "./Tools/SqlGuard.ts"
