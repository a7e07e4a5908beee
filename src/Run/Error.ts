import * as Schema from "effect/Schema"
import { RunFailure } from "./Failure.ts"
import { ApprovalId, RunId } from "./Ids.ts"

/** An agent of that name is not registered in this process. */
export class AgentNotRegistered extends Schema.TaggedError<AgentNotRegistered>()("AgentNotRegistered", {
  agent: Schema.String,
  registered: Schema.Array(Schema.String)
}) {
  override get message() {
    return `The agent "${this.agent}" is not registered here (registered: ${this.registered.join(", ") || "none"}): list it in the agents of Conductor.layer.`
  }
}

/** The run was cancelled. */
export class Cancelled extends Schema.TaggedError<Cancelled>()("Cancelled", {
  by: Schema.String,
  reason: Schema.NullOr(Schema.String)
}) {
  override get message() {
    return `The run was cancelled by ${this.by}${this.reason === null ? "" : `: ${this.reason}`}`
  }
}

/** No run has that id. */
export class RunNotFound extends Schema.TaggedError<RunNotFound>()("RunNotFound", { run: Schema.String }) {
  override get message() {
    return `There is no run "${this.run}".`
  }
}

/** The session has a run that is not over, or the run is in a state that does not allow the command. */
export class RunConflict extends Schema.TaggedError<RunConflict>()("RunConflict", {
  run: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `Run ${this.run}: ${this.problem}`
  }
}

/** This process takes no new work, because it is about to end. */
export class ShuttingDown extends Schema.TaggedError<ShuttingDown>()("ShuttingDown", {}) {
  override get message() {
    return "This process is shutting down and starts no runs any more: start it in another one."
  }
}

/** A text as a word of a shell command. */
const word = (text: string): string => /^[\w.:][\w.:-]*$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/** The run is parked and waits: for a person's decision, for word of what a call did, or for a process. */
export class RunWaiting extends Schema.TaggedError<RunWaiting>()("RunWaiting", {
  run: RunId,
  /** `approval`, `unknown-tool-outcome` or `shutdown`. */
  reason: Schema.String,
  /** The requests for approval that nobody has decided about. */
  approvals: Schema.optionalKey(Schema.Array(Schema.Struct({ approval: ApprovalId, tool: Schema.String }))),
  /** The calls of which nobody knows whether they happened. */
  unknown: Schema.optionalKey(Schema.Array(Schema.Struct({ call: Schema.String, tool: Schema.String })))
}) {
  override get message() {
    const [asked, ...more] = this.approvals ?? []
    const [doubt] = this.unknown ?? []
    if (this.reason === "approval" && asked !== undefined) {
      const all = more.length === 0 ? "" : `, which is the first of ${more.length + 1} (see "conductor approvals")`
      return `Run ${this.run} is parked until somebody decides about its call of ${asked.tool}: conductor approve ${asked.approval}, or conductor deny ${asked.approval}${all}.`
    }
    if (this.reason === "unknown-tool-outcome" && doubt !== undefined) {
      return `Run ${this.run} is parked because nobody knows whether its call of ${doubt.tool} happened: find out, then conductor resolve ${this.run} ${word(doubt.call)} --happened (or --did-not-happen, or --run-again).`
    }
    if (this.reason === "shutdown") return `Run ${this.run} is parked because its process ended: go on with it with conductor retry ${this.run}.`
    return `Run ${this.run} is parked (${this.reason}): see it with "conductor show ${this.run}".`
  }
}

/** The store of runs could not be read or written. */
export class StorageFailed extends Schema.TaggedError<StorageFailed>()("StorageFailed", {
  operation: Schema.String,
  problem: Schema.String,
  /** True where what was to be written was refused for what it is, as by a constraint, and would be again. */
  refused: Schema.optionalKey(Schema.Boolean),
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message() {
    return `The database failed (${this.operation}): ${this.problem}`
  }
}

/** Another process took the run over. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", { run: Schema.String, epoch: Schema.Int }) {
  override get message() {
    return `Run ${this.run} now belongs to another process (this one held epoch ${this.epoch}): watch it there.`
  }
}

/** Everything that running an agent can fail with, closed: the same union in types, streams and bodies. */
export const RunError = Schema.Union([
  AgentNotRegistered, ...RunFailure.members, Cancelled, RunNotFound, RunConflict, RunWaiting, ShuttingDown, StorageFailed, Fenced
])
export type RunError = typeof RunError.Type
