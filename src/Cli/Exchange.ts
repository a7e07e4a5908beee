import * as Schema from "effect/Schema"

/** Where a server takes commands of other processes of its user. */
export const path = "/internal/commands"

/** A command as a process hands it on that found its data directory held by a server. */
export const Handed = Schema.Struct({
  /** Names it, for signals. */
  id: Schema.String.check(Schema.isMinLength(16), Schema.isMaxLength(64)),
  args: Schema.Array(Schema.String),
  /** What came on standard input, where the command reads it. */
  stdin: Schema.String,
  /** Whether its output is to have colours. */
  isColoured: Schema.Boolean
})
export type Handed = typeof Handed.Type

/** What comes of it, a line of JSON each. */
export const Piece = Schema.Union([
  Schema.Struct({ out: Schema.String }),
  Schema.Struct({ err: Schema.String }),
  Schema.Struct({ code: Schema.Int })
])
export type Piece = typeof Piece.Type

/** Commands that a server carries out for others: those that need nothing of their own process but its output. */
const handed = new Set([
  "run", "runs", "show", "send", "cancel", "retry", "approvals", "approve", "deny", "resolve", "export",
  "cost", "budgets", "audit", "memories", "keys", "orgs", "prune", "dashboard"
])

/** Whether a server carries out this command for another process. */
export const isHanded = (args: ReadonlyArray<string>): boolean => {
  const name = args.find((arg) => !arg.startsWith("-"))
  return name !== undefined && handed.has(name) && !(name === "export" && args.some((arg) => arg.startsWith("--out")))
}
