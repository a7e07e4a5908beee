import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"

/** There is no such request for approval. */
export class ApprovalNotFound extends Schema.TaggedError<ApprovalNotFound>()("ApprovalNotFound", { approval: Schema.String }) {
  override get message() {
    return `There is no request for approval "${this.approval}": see "conductor approvals".`
  }
}

/** Nobody decided in time, which counts as a denial. */
export class ApprovalExpired extends Schema.TaggedError<ApprovalExpired>()("ApprovalExpired", {
  approval: Schema.String,
  /** Milliseconds since 1970. */
  expiredAt: Schema.Int
}) {
  override get message() {
    return `The request for approval "${this.approval}" expired at ${DateTime.formatIso(DateTime.makeUnsafe(this.expiredAt))} and counts as denied.`
  }
}

/** A decision about the request was made before. */
export class ApprovalAlreadyDecided extends Schema.TaggedError<ApprovalAlreadyDecided>()("ApprovalAlreadyDecided", {
  approval: Schema.String,
  /** What was decided, or `accepted` where the decision has not reached the run yet. */
  decision: Schema.String,
  by: Schema.NullOr(Schema.String)
}) {
  override get message() {
    return `The request for approval "${this.approval}" was decided already (${this.decision}${this.by === null ? "" : ` by ${this.by}`}), and one decision is all that it takes.`
  }
}

/** The decision was made about another request. */
export class ApprovalReplayed extends Schema.TaggedError<ApprovalReplayed>()("ApprovalReplayed", { approval: Schema.String }) {
  override get message() {
    return `This decision was made about another request than "${this.approval}": look at the request and decide about it.`
  }
}

/** What is to be approved is not what approval was asked for. */
export class ApprovalChanged extends Schema.TaggedError<ApprovalChanged>()("ApprovalChanged", { approval: Schema.String }) {
  override get message() {
    return `The call that "${this.approval}" asks about, or its tool's rule, was changed after approval was asked for: it cannot be approved. Deny it, so that the agent asks anew, and find out what was changed.`
  }
}

/** The edited parameters do not fit the tool. */
export class ApprovalUnfit extends Schema.TaggedError<ApprovalUnfit>()("ApprovalUnfit", {
  approval: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The parameters for "${this.approval}" cannot be used: ${this.problem}`
  }
}

/** Why a decision about a tool call is refused. */
export const ApprovalError = Schema.Union([
  ApprovalNotFound, ApprovalExpired, ApprovalAlreadyDecided, ApprovalReplayed, ApprovalChanged, ApprovalUnfit
])
export type ApprovalError = typeof ApprovalError.Type
