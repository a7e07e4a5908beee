import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RegisteredApproval, RegisteredTool } from "../Agent.ts"
import { digestOf } from "../Approval.ts"
import { type Approval, ApprovalId, type Call, clean } from "../Run.ts"
import { json } from "./Execution.ts"
import type { Journal } from "./Journal.ts"

/** Whether a call may be made now. */
export type Admission =
  | {
    readonly _tag: "Admitted"
    readonly parameters: unknown
    /** What the model is told of the call's end, by how it ended. */
    readonly told: (result: string, isSuccess: boolean) => string
  }
  /** Approval is asked for. */
  | { readonly _tag: "Waits" }
  | { readonly _tag: "Refused"; readonly sentence: string }

/** Milliseconds since 1970 of the year 9999, for requests that never expire. */
const lastExpiry = 253_370_764_800_000

const asIs = (result: string): string => result

const refused = (sentence: string): Admission => ({ _tag: "Refused", sentence })

/** Names a request: its run, its turn, and the number of its call. */
const idOf = (journal: Journal, call: Call): ApprovalId => {
  const { open, turns } = journal.state()
  const number = (open?.calls.findIndex(({ part }) => part.id === call.part.id) ?? -1) + 1
  return ApprovalId.make(`${journal.run}.${turns}.${number}`)
}

/** What approval of this call is bound to. */
const digest = Effect.fnUntraced(function*(journal: Journal, tool: RegisteredTool, call: Call, parameters: unknown, policy: string) {
  const { org, turns } = journal.state()
  // They were decoded by this very tool, so they can be encoded.
  const encoded = yield* Effect.orDie(tool.encodeParameters(parameters))
  return digestOf({ org, run: journal.run, turn: turns, call: call.part.id, tool: tool.name, parameters: encoded, policy })
})

const ask = Effect.fnUntraced(function*(
  journal: Journal,
  tool: RegisteredTool,
  call: Call,
  parameters: unknown,
  { expires, policy, when }: RegisteredApproval
): Effect.fn.Return<Admission> {
  if (!(yield* when(parameters, call.part.id))) return { _tag: "Admitted", parameters, told: asIs }
  const now = yield* Clock.currentTimeMillis
  yield* journal.emit([{
    _tag: "ApprovalRequested",
    v: 1,
    approval: idOf(journal, call),
    call: call.part.id,
    name: tool.name,
    digest: yield* digest(journal, tool, call, parameters, policy),
    policy: clean(policy),
    expiresAt: Math.ceil(Math.min(now + Duration.toMillis(expires), lastExpiry))
  }])
  return { _tag: "Waits" }
})

const answered = Effect.fnUntraced(function*(
  journal: Journal,
  tool: RegisteredTool,
  call: Call,
  parameters: unknown,
  approval: Approval
): Effect.fn.Return<Admission> {
  if (approval.decision === "expired") return refused("Nobody approved this call in time, which counts as a denial.")
  if (approval.decision !== "approved") {
    return refused(`This call was denied by ${approval.by ?? "somebody"}${approval.comment === null ? "." : `: ${approval.comment}`}`)
  }
  const policy = tool.approval?.policy ?? ""
  // A call that has begun was let through before: to call it denied now would be a lie.
  if (call.status !== "started" && approval.digest !== (yield* digest(journal, tool, call, parameters, policy))) {
    return refused("This call is not the one that was approved: it, or the rule for it, has changed. Ask again with a new call.")
  }
  const { parameters: edited } = approval
  if (edited === null) return { _tag: "Admitted", parameters, told: asIs }
  return yield* Effect.try({ try: (): unknown => JSON.parse(edited), catch: () => "they are not JSON" }).pipe(
    Effect.flatMap(tool.decode),
    Effect.match({
      onSuccess: (changed): Admission => ({
        _tag: "Admitted",
        parameters: changed,
        told: (result, isSuccess) =>
          isSuccess
            ? `{"parametersChangedBy":${json(approval.by)},"parameters":${edited},"result":${result}}`
            : `${result} (${approval.by ?? "Somebody"} had changed the parameters to ${edited}.)`
      }),
      onFailure: () => refused(`This call was approved by ${approval.by ?? "somebody"} with parameters that do not fit the tool, so it was not made.`)
    })
  )
})

/** Says whether a call that may need a person's approval may be made, and asks for it where it is needed. */
export const admit = (journal: Journal, tool: RegisteredTool, call: Call, parameters: unknown): Effect.Effect<Admission> => {
  // Before a call begins it is decided; one that has begun was.
  if (call.approval !== null) return answered(journal, tool, call, parameters, call.approval)
  return tool.approval === undefined || call.status === "started"
    ? Effect.succeed({ _tag: "Admitted", parameters, told: asIs })
    : ask(journal, tool, call, parameters, tool.approval)
}
