import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { redactText } from "../AuditLog.ts"
import * as Model from "../Model.ts"
import { AttemptId, type AttemptError, type Bill, type RunEvent, type RunState, type Transcript } from "../Run.ts"
import type { AppendError } from "../RunLog.ts"
import { type Attempt, billFor, type Charge, boundOf, chargeOf, expectedOf, lostBill, reserveOf, uncounted } from "./Bill.ts"
import { wholeOf } from "./Conversation.ts"
import type { Journal } from "./Journal.ts"
import { closeChat, inChat } from "./Spans.ts"

const requestOf = (journal: Journal, state: RunState, resolved: Model.Resolved): Model.Request => {
  const output = journal.registered.output?.(resolved.ref)
  const limit = state.limits.outputTokens
  const maxOutput = Option.match(resolved.entry, { onNone: () => limit, onSome: (entry) => Math.min(limit, entry.maxOutput) })
  const request: Model.Request = {
    model: resolved.id,
    system: journal.registered.agent.instructions,
    messages: wholeOf(journal.history, state, journal.registered.definition.hash),
    tools: journal.registered.specs,
    maxOutput
  }
  return output === undefined ? request : { ...request, output: { name: output.name, schema: output.schema } }
}

/** What a model is asked for. */
export interface Task {
  readonly request: Model.Request
  /** What is known of the tokens of the request's beginning. */
  readonly measured: Model.Measured | undefined
  /** What else than an answer of the run it is. */
  readonly purpose?: "compaction"
  /** The event that its answer becomes, or why it cannot be used. */
  readonly eventOf: (answer: Model.Answer.Answer, bill: Bill, attemptId: AttemptId, turn: number) => RunEvent | AttemptError
}

/** Asks for the run's next answer. */
const answerOf = (journal: Journal) => (resolved: Model.Resolved): Task => {
  const state = journal.state()
  const { measured, messages, model } = state
  const request = requestOf(journal, state, resolved)
  return {
    request,
    // What this model's last bill tells, with all that goes before the run's own messages.
    measured: measured === null || model !== resolved.ref
      ? undefined
      : { ...measured, messages: measured.messages + request.messages.length - messages.length },
    eventOf: ({ finish, note, parts }, bill, attemptId, turn) => ({ _tag: "TurnCompleted", v: 1, turn, attemptId, parts, finish, note, bill })
  }
}

const bytesOf = (part: Response.StreamPartEncoded): number =>
  part.type === "text-delta" || part.type === "reasoning-delta" || part.type === "tool-params-delta"
    ? Buffer.byteLength(part.delta, "utf8")
    : 0

/** Waits until an attempt has taken longer than one of the run's limits, and says which; for ever where it has none of them. */
const overdue = (state: RunState, attempt: Attempt, clock: Clock.Clock): Effect.Effect<AttemptError> => {
  const { firstTokenMs, idleMs, turnMs } = state.limits
  const failure = (reason: string, message: string, retryable: boolean): AttemptError => ({ reason, message, retryable, retryAfterMs: 0 })
  const next = (): { readonly at: number; readonly error: AttemptError } => {
    const turn = turnMs === undefined ? Infinity : state.turnSince + turnMs
    const isSilent = attempt.bytes === 0
    const piece = isSilent
      ? firstTokenMs === undefined ? Infinity : attempt.startedAt + firstTokenMs
      : idleMs === undefined ? Infinity : attempt.lastAt + idleMs
    if (turn <= piece) return { at: turn, error: failure("TurnTimedOut", `the turn took longer than ${turnMs} ms`, false) }
    return isSilent
      ? { at: piece, error: failure("FirstTokenTimedOut", `the model said nothing within ${firstTokenMs} ms`, true) }
      : { at: piece, error: failure("StreamStalled", `the model fell silent for ${idleMs} ms`, true) }
  }
  return Effect.gen(function*() {
    for (;;) {
      const { at, error } = next()
      const left = at - clock.currentTimeMillisUnsafe()
      if (left <= 0) return error
      yield* Number.isFinite(left) ? Effect.sleep(left) : Effect.never
    }
  })
}

/** Asks a model for one answer, the run's next one by default, and writes down how that ended. How it failed, if it did. */
export const attemptAt = Effect.fnUntraced(function*(
  journal: Journal,
  resolved: Model.Resolved,
  number: number,
  waitedMs: number,
  taskOf: (resolved: Model.Resolved) => Task = answerOf(journal)
): Effect.fn.Return<AttemptError | undefined, AppendError> {
  const { clock, log } = journal
  const before = journal.state()
  const { firstTokenMs, idleMs, turnMs } = before.limits
  const { eventOf, measured, purpose, request } = taskOf(resolved)
  const input = yield* Model.inputTokens(resolved, request, measured)
  // The place of its first event names an attempt for good.
  const attemptId = AttemptId.make(`${journal.run}.${before.seq + 1}`)
  const turn = before.turns + 1

  const attempt: Attempt = {
    resolved,
    startedAt: clock.currentTimeMillisUnsafe(),
    sent: false,
    firstAt: null,
    lastAt: 0,
    bytes: 0,
    inputBound: input
  }
  const collector = Model.Answer.collect(takenIn(request.messages))
  /** What the provider counted, where it did, and else what that can have cost. */
  const charged = (state: RunState, answer: Model.Answer.Answer): Charge => ({ ...chargeOf(resolved, answer), ...uncounted(state, attempt, answer) })
  const failed = (on: Journal, { requestId, ...told }: AttemptError & { readonly requestId: string | null }) => {
    // Providers may repeat what they were sent, keys among it.
    const error = { ...told, message: redactText(told.message) }
    return Effect.as(Effect.suspend(() => {
      journal.broken = undefined
      const state = journal.state()
      // It has ended already, or never began.
      if (state.attempt?.id !== attemptId) return Effect.void
      const host = collector.host()
      const bill = billFor(state, attempt, clock.currentTimeMillisUnsafe(), {
        ...Option.match(collector.end(), {
          onNone: () => boundOf(state, attempt, error.reason),
          onSome: (answer) => charged(state, answer)
        }),
        requestId: requestId ?? collector.requestId(),
        ...(host === null ? {} : { host })
      })
      if (attempt.bytes > 0 && purpose === undefined) log.announce(journal.run, { _tag: "Reset", turn })
      closeChat(attempt, bill, { error: error.reason })
      return on.emit([{ _tag: "AttemptFailed", v: 1, turn, attemptId, error, bill }])
    }), error)
  }

  const reserve = reserveOf(resolved, request, input)
  journal.broken = (on, error) => Effect.asVoid(failed(on, { ...error, requestId: null }))
  const started: Extract<RunEvent, { _tag: "TurnStarted" }> = {
    _tag: "TurnStarted",
    v: 1,
    turn,
    attempt: number,
    attemptId,
    model: resolved.ref,
    ...(purpose === undefined ? {} : { purpose }),
    maxOutput: request.maxOutput,
    ...expectedOf(before, reserve, journal.scopes),
    prices: resolved.prices
  }
  yield* Effect.onError(
    journal.commit([waitedMs > 0 ? { ...started, waitedMs } : started], { reserve }),
    () => Effect.sync(() => journal.broken = undefined)
  )
  attempt.sent = true
  journal.scopes = journal.state().attempt?.scopes
  const granted = journal.state().attempt?.maxOutput ?? request.maxOutput
  /** What was said so far, by kind: the pieces' order among the kinds is not kept. */
  const said = { reasoning: "", text: "" }
  if (purpose === undefined) log.fly(journal.run, () =>
    (["reasoning", "text"] as const).flatMap((kind) => said[kind] === "" ? [] : [{ _tag: "Delta", turn, kind, text: said[kind] }]))
  const take = (parts: ReadonlyArray<Response.StreamPartEncoded>) => {
    const watched = purpose === undefined && log.isWatched(journal.run)
    attempt.lastAt = clock.currentTimeMillisUnsafe()
    for (const part of parts) {
      attempt.firstAt ??= attempt.lastAt
      attempt.bytes += bytesOf(part)
      collector.add(part)
      if (part.type === "text-delta" || part.type === "reasoning-delta") {
        const kind = part.type === "text-delta" ? "text" : "reasoning"
        said[kind] += part.delta
        if (watched) log.announce(journal.run, { _tag: "Delta", turn, kind, text: part.delta })
      }
    }
  }

  const answering = Stream.runForEachArray(resolved.stream({ ...request, maxOutput: granted }), (parts) => Effect.sync(() => take(parts)))
  const isLimited = firstTokenMs !== undefined || idleMs !== undefined || turnMs !== undefined
  const failure = yield* (isLimited ? Effect.raceFirst(answering, overdue(journal.state(), attempt, clock)) : answering).pipe(
    Effect.matchCauseEffect({
      onSuccess: (late: AttemptError | void) =>
        late !== undefined ? failed(journal, { ...late, requestId: null }) : Option.match(collector.end(), {
          onNone: () =>
            failed(journal, {
              reason: "InvalidResponseError",
              message: "the answer ended before it was complete",
              retryable: true,
              retryAfterMs: null,
              requestId: null
            }),
          onSome: (answer) => {
            if (answer.servedModel !== null && Model.isForbidden(answer.servedModel)) {
              return failed(journal, forbiddenAnswer(answer.servedModel))
            }
            const state = journal.state()
            const bill = billFor(state, attempt, clock.currentTimeMillisUnsafe(), charged(state, answer))
            const event = eventOf(answer, bill, attemptId, turn)
            if (!("_tag" in event)) return failed(journal, { ...event, requestId: null })
            closeChat(attempt, bill, { finish: answer.finish })
            return Effect.as(journal.emit([event]), undefined)
          }
        }),
      onFailure: (cause) => {
        const { unsent, ...failure } = failureOf(cause)
        attempt.sent = !unsent
        return failed(journal, failure)
      }
    }),
    Effect.ensuring(Effect.sync(() => log.fly(journal.run, undefined))),
    inChat(journal.state(), attempt, { turn, attempt: number, maxOutput: granted, isStructured: request.output !== undefined })
  )
  journal.broken = undefined
  return failure
})

/** Writes down an attempt whose end nobody saw: it is charged all that was reserved for it. */
export const settleLost = (journal: Journal, attempt: NonNullable<RunState["attempt"]>): Effect.Effect<void> =>
  journal.emit([{
    _tag: "AttemptFailed",
    v: 1,
    turn: journal.state().turns + 1,
    attemptId: attempt.id,
    error: { reason: "Lost", message: "the process ended before the answer did", retryable: true, retryAfterMs: 0 },
    bill: lostBill(attempt)
  }])

/** A provider's failure as the log keeps it; a defect of an adapter counts as a response that cannot be used. */
const failureOf = (cause: Cause.Cause<AiError.AiError>): Model.Failure =>
  Option.match(Cause.findErrorOption(cause), {
    onSome: Model.describe,
    onNone: () => ({
      reason: "InvalidResponseError",
      message: Cause.pretty(cause).split("\n")[0] ?? "the adapter failed",
      retryable: false,
      retryAfterMs: null,
      requestId: null,
      unsent: false
    })
  })

/** A provider answered with a model that nobody may use: its answer is not taken, though it is paid for. */
const forbiddenAnswer = (model: string): AttemptError & { readonly requestId: null } => ({
  reason: "ForbiddenModel",
  message: `it had "${model}" answer, which is an OpenAI model or may choose one`,
  retryable: false,
  retryAfterMs: null,
  requestId: null
})

/** Ids of calls are given once in a conversation, those of the session's earlier runs included. */
const takenIn = (messages: ReadonlyArray<Transcript.Message>) => (id: string): boolean =>
  messages.some((message) => message.role === "tool" && message.results.some((result) => result.id === id))
