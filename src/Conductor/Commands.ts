import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  Approval, ApprovalAlreadyDecided, ApprovalChanged, type ApprovalError, ApprovalExpired, ApprovalNotFound, ApprovalReplayed,
  ApprovalUnfit, digestOf, type Request
} from "../Approval.ts"
import type { Registered } from "../Agent.ts"
import { type Command, Inbox } from "../Inbox.ts"
import { CurrentOrg, CurrentPrincipal } from "../Org.ts"
import {
  type Approval as Asked, type Call, type InboxId, RunConflict, type RunId, type RunNotFound, type RunState, type StorageFailed, type SteerMode
} from "../Run.ts"
import { RunLog } from "../RunLog.ts"
import { Registry, Runs } from "../Runs.ts"

/** How a message gets to its run. */
export interface SendOptions {
  /** `steer` by default. */
  readonly mode?: SteerMode | "reject"
  /** A second message of the same key for the same run is taken for the first. */
  readonly dedupe?: string
}

/** A person's say about a tool call that waits for approval. */
export interface Decision {
  readonly decision: "approved" | "denied"
  /** Other parameters than the model's, as JSON of the tool's schema. */
  readonly parameters?: unknown
  readonly comment?: string
  /** The digest of the request that was looked at: a decision about any other is refused. */
  readonly digest?: string
}

/** A person's say about a tool call whose outcome nobody knows. */
export interface Resolution {
  /** `run-again` has the tool run once more, at that person's risk. */
  readonly resolution: "happened" | "did-not-happen" | "run-again"
  /** What the model is told that the call gave, where it happened: JSON or a sentence. */
  readonly result?: string
  readonly comment?: string
}

/** A request for approval with what it is about. */
export interface Pending extends Request {
  readonly agent: string
  /** The JSON text that the model wrote. */
  readonly parameters: string
}

/** What is asked of runs. Each is done when it is durable. */
export interface Commands {
  readonly send: (run: RunId, text: string, options?: SendOptions) => Effect.Effect<InboxId, RunNotFound | RunConflict | StorageFailed>
  readonly cancel: (run: RunId, reason?: string) => Effect.Effect<void, RunNotFound | RunConflict | StorageFailed>
  readonly approvals: (options?: { readonly limit?: number }) => Effect.Effect<ReadonlyArray<Pending>, StorageFailed>
  readonly decide: (
    approval: string,
    decision: Decision
  ) => Effect.Effect<RunId, ApprovalError | RunNotFound | RunConflict | StorageFailed>
  readonly resolve: (run: RunId, call: string, resolution: Resolution) => Effect.Effect<void, RunNotFound | RunConflict | StorageFailed>
  /** Lets a failed run go on from its log, under its limits counted anew. */
  readonly attend: (run: RunId) => Effect.Effect<void, RunNotFound | StorageFailed>
  readonly retry: (run: RunId, options?: Partial<Parameters<Runs["Service"]["retry"]>[1]>) => ReturnType<Runs["Service"]["retry"]>
}

const callOf = (state: RunState, approval: string): (Call & { readonly approval: Asked }) | undefined =>
  state.open?.calls.find((call): call is Call & { readonly approval: Asked } => call.approval?.id === approval)

/** Whether a request is about another call than its digest says, as far as this process knows the tool. */
const isChanged = Effect.fnUntraced(function*(request: Request, state: RunState, registered: Registered | undefined) {
  const call = callOf(state, request.id)
  if (call === undefined || call.approval.digest !== request.digest || call.part.id !== request.call) return true
  const tool = registered?.tools.get(call.part.name)
  if (tool === undefined) return false
  const encoded = yield* Effect.try({ try: (): unknown => JSON.parse(call.part.arguments.trim() || "{}"), catch: (error) => error }).pipe(
    Effect.flatMap(tool.decode),
    Effect.flatMap(tool.encodeParameters),
    Effect.option
  )
  if (Option.isNone(encoded)) return true
  const bound = { org: state.org, run: state.run, turn: state.turns, call: call.part.id, tool: tool.name, parameters: encoded.value }
  return digestOf({ ...bound, policy: tool.approval?.policy ?? "" }) !== request.digest
})

/** The commands of a runtime. */
export const makeCommands = Effect.gen(function*() {
  const runs = yield* Runs
  const log = yield* RunLog
  const inbox = yield* Inbox
  const approval = yield* Approval
  const registry = yield* Registry

  /** A run of the current organisation; another's is as if it were not there. */
  const ours = (run: RunId) => Effect.flatMap(CurrentOrg, (org) => log.as(org).find(run))

  /** Puts a command into the inbox of a run that was seen to be of the current organisation. */
  const command = Effect.fnUntraced(function*(run: RunId, command: Command, dedupe?: string) {
    const by = yield* CurrentPrincipal
    const sent = yield* inbox.send(dedupe === undefined ? { run, command, by } : { run, command, by, dedupe })
    // It is durable: what keeps its run from being looked at now is no failure of the command, and the sweep comes by.
    yield* Effect.catch(runs.attend(run), (error) => Effect.logDebug(`Run ${run} was not attended to at once: ${error.message}`))
    return sent
  })

  /** A request that may be decided about now. */
  const decidable = Effect.fnUntraced(function*(id: string, digest: string | undefined) {
    const org = yield* CurrentOrg
    const found = yield* approval.find(org, id)
    if (Option.isNone(found)) return yield* new ApprovalNotFound({ approval: id })
    const request = found.value
    if (request.status === "expired" || (request.status === "pending" && request.expiresAt <= (yield* Clock.currentTimeMillis))) {
      return yield* new ApprovalExpired({ approval: id, expiredAt: request.expiresAt })
    }
    if (request.status !== "pending") {
      return yield* new ApprovalAlreadyDecided({ approval: id, decision: request.status, by: request.decidedBy })
    }
    if (digest !== undefined && digest !== request.digest) return yield* new ApprovalReplayed({ approval: id })
    return request
  })

  const decide = Effect.fn("Conductor.decide")(function*(id: string, { comment, decision, digest, parameters }: Decision) {
    const request = yield* decidable(id, digest)
    const state = yield* log.as(request.org).state(request.run)
    const registered = registry.get(state.agent)
    // The run may have come to somebody else's decision since the request was looked up.
    yield* decidable(id, digest)
    // A call that was tampered with cannot be approved; denying it is always safe.
    if (decision === "approved" && (yield* isChanged(request, state, registered))) return yield* new ApprovalChanged({ approval: id })
    const tool = registered?.tools.get(request.tool)
    if (parameters !== undefined && tool !== undefined) {
      yield* Effect.mapError(tool.decode(parameters), (error) => new ApprovalUnfit({ approval: id, problem: error.message }))
    }
    const { isFirst } = yield* command(request.run, {
      _tag: "Decision",
      approval: request.id,
      digest: request.digest,
      decision,
      parameters: parameters === undefined || decision === "denied" ? null : JSON.stringify(parameters),
      comment: comment ?? null
    }, `decision:${id}:${request.createdAt}`)
    if (!isFirst) return yield* new ApprovalAlreadyDecided({ approval: id, decision: "accepted", by: null })
    return request.run
  })

  const resolve = Effect.fn("Conductor.resolve")(function*(run: RunId, call: string, { comment, resolution, result }: Resolution) {
    const state = yield* log.as(yield* CurrentOrg).state(run)
    if (state.open?.calls.find(({ part }) => part.id === call)?.status !== "unknown") {
      const unknown = state.open?.calls.filter(({ status }) => status === "unknown").map(({ part }) => part.id) ?? []
      const problem = `the outcome of its call "${call}" is not in doubt (in doubt: ${unknown.join(", ") || "none"}).`
      return yield* new RunConflict({ run, problem })
    }
    yield* command(run, { _tag: "Resolve", call, resolution, result: result ?? null, comment: comment ?? null })
  })

  const pending = Effect.fnUntraced(function*(request: Request) {
    const state = yield* log.as(request.org).state(request.run)
    return { ...request, agent: state.agent, parameters: callOf(state, request.id)?.part.arguments ?? "" }
  })

  const commands: Commands = {
    send: Effect.fn("Conductor.send")(function*(run, text, options) {
      const mode = options?.mode ?? "steer"
      const { status } = yield* ours(run)
      if (mode === "reject" && status === "running") {
        // It may be what that was accepted for.
        const known = options?.dedupe === undefined ? Option.none() : yield* inbox.accepted({ run }, options.dedupe)
        if (Option.isSome(known)) return known.value.id
        return yield* new RunConflict({ run, problem: "it is at work and takes no message now; wait, or send with another mode." })
      }
      const message = { _tag: "Message", text } as const
      const isPlain = mode === "steer" || mode === "reject"
      return (yield* command(run, isPlain ? message : { ...message, mode }, options?.dedupe)).id
    }),
    cancel: Effect.fn("Conductor.cancel")(function*(run, reason) {
      // Many cancels are one, but one of before a retry is none of after it.
      const { epoch } = yield* ours(run)
      yield* command(run, { _tag: "Cancel", reason: reason ?? null }, `cancel:${epoch}`)
    }),
    approvals: Effect.fn("Conductor.approvals")(function*(options) {
      const requests = yield* approval.pending(yield* CurrentOrg, options?.limit ?? 100)
      return yield* Effect.forEach(requests, (request) =>
        Effect.catchTag(pending(request), "RunNotFound", () => Effect.succeed({ ...request, agent: "", parameters: "" })))
    }),
    decide,
    resolve,
    attend: Effect.fn("Conductor.attend")(function*(run) {
      yield* ours(run)
      yield* runs.attend(run)
    }),
    retry: Effect.fn("Conductor.retry")(function*(run, options) {
      yield* ours(run)
      yield* runs.retry(run, { principal: yield* CurrentPrincipal, ...options })
    })
  }
  return commands
})
