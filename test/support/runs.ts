/**
 * Valid logs of runs, for tests of what is written from them.
 *
 * ```ts
 * const run = makeRun({ org: "acme" })
 * yield* log.append(run.append(run.started(), ...run.turn({ calls: [{ id: "a", name: "weather", arguments: "{}" }] })))
 * yield* log.append(run.append(...run.tool("a", { result: "\"rain\"" }), run.completed()))
 * ```
 */
import { randomUUID } from "node:crypto"
import * as Money from "../../src/Money.ts"
import {
  AgentName, AttemptId, type Bill, DefinitionHash, type EffectClass, fold, InboxId, ModelRef, OrgId, type RunEvent, RunId, type RunState, SessionId,
  type ToolOutcome
} from "../../src/Run.ts"
import type { Append, Step } from "../../src/RunLog.ts"

type Event<Tag extends RunEvent["_tag"]> = Extract<RunEvent, { readonly _tag: Tag }>

/** What a run is made of, where it matters to the test. */
export interface RunOptions {
  readonly org?: string
  readonly session?: string
  readonly agent?: string
  readonly principal?: string
  readonly model?: string
  readonly input?: string
  readonly sourceProject?: string | null
  /** Milliseconds since 1970 of the first event; each later one is 10 ms after the one before. */
  readonly at?: number
}

/** What a turn of the model is made of. */
export interface TurnOptions {
  readonly text?: string
  readonly calls?: ReadonlyArray<{ readonly id: string; readonly name: string; readonly arguments: string }>
  readonly cost?: string
  /** What else its bill says. */
  readonly bill?: Partial<Bill>
}

/** A run that grows by the events that it is given, with its state at each step. */
export const makeRun = (options: RunOptions = {}) => {
  const run = RunId.make(randomUUID())
  const org = OrgId.make(options.org ?? `org-${randomUUID()}`)
  const session = SessionId.make(options.session ?? randomUUID())
  const model = ModelRef.make(options.model ?? "scripted:model")
  const begun = options.at ?? 1_790_000_000_000
  let state: RunState | undefined
  let before: RunState | undefined
  let turn = 0
  let attempt = AttemptId.make(randomUUID())

  const bill = (cost = "0.001"): Event<"TurnCompleted">["bill"] => ({
    model,
    usage: { uncached: 100, cacheRead: 20, cacheWrite: 0, cacheWriteHour: 0, output: 30, reasoning: 0 },
    cost: Money.usd(cost),
    source: "priced",
    latencyMs: 250,
    firstTokenMs: 80,
    requestId: null
  })

  const turnStarted = (): Event<"TurnStarted"> => {
    attempt = AttemptId.make(randomUUID())
    return {
      _tag: "TurnStarted",
      v: 1,
      turn: turn + 1,
      attempt: 1,
      attemptId: attempt,
      model,
      maxOutput: 8_192,
      reserved: Money.zero,
      scopes: [],
      prices: "test"
    }
  }

  const turnCompleted = ({ bill: more, calls = [], cost, text = "Well." }: TurnOptions = {}): Event<"TurnCompleted"> => ({
    _tag: "TurnCompleted",
    v: 1,
    turn: ++turn,
    attemptId: attempt,
    parts: [{ type: "text", text }, ...calls.map((call) => ({ type: "tool-call" as const, ...call }))],
    finish: calls.length > 0 ? "tool-calls" : "stop",
    note: null,
    bill: { ...bill(cost), ...more }
  })

  return {
    run,
    org,
    session,
    bill,
    turnStarted,
    turnCompleted,
    /** The state after the last event. */
    state: (): RunState | undefined => state,
    /** Takes the last append back, which was refused. */
    retract: () => {
      state = before
    },
    /** The next append: these events, one after the other. */
    append: (first: RunEvent, ...rest: ReadonlyArray<RunEvent>): Append => {
      before = state
      const step = (event: RunEvent): Step => {
        const earlier = state
        const seq = (earlier?.seq ?? 0) + 1
        const logged = { run, seq, epoch: 1, at: begun + seq * 10, event }
        const after = fold(earlier, logged)
        state = after
        return { logged, before: earlier, after }
      }
      return { run, epoch: 1, steps: [step(first), ...rest.map(step)], consumes: [] }
    },
    started: (): Event<"RunStarted"> => ({
      _tag: "RunStarted",
      v: 1,
      org,
      session,
      agent: AgentName.make(options.agent ?? "assistant"),
      definition: DefinitionHash.make("d".repeat(64)),
      model,
      input: JSON.stringify(options.input ?? "Hello."),
      limits: { turns: 20, attempts: 3, cost: null, timeMs: 600_000, toolConcurrency: 8, outputTokens: 8_192 },
      principal: options.principal ?? "user:1",
      after: null,
      sourceProject: options.sourceProject ?? null
    }),
    /** An attempt that answered: `TurnStarted`, `TurnCompleted`. */
    turn: (answer: TurnOptions = {}): readonly [Event<"TurnStarted">, Event<"TurnCompleted">] => [turnStarted(), turnCompleted(answer)],
    attemptFailed: (reason = "RateLimitError", message = "Too many requests.", more: Partial<Bill> = {}): Event<"AttemptFailed"> => ({
      _tag: "AttemptFailed",
      v: 1,
      turn: turn + 1,
      attemptId: attempt,
      error: { reason, message, retryable: true, retryAfterMs: null },
      bill: { ...bill("0"), ...more }
    }),
    /** A call of the open turn that ran: `ToolStarted`, `ToolCompleted`. */
    tool: (call: string, options: {
      readonly name?: string
      readonly result?: string
      readonly outcome?: ToolOutcome
      readonly effect?: EffectClass
      readonly durationMs?: number
    } = {}): readonly [Event<"ToolStarted">, Event<"ToolCompleted">] => {
      const name = options.name ?? state?.open?.calls.find(({ part }) => part.id === call)?.part.name ?? "tool"
      return [
        { _tag: "ToolStarted", v: 1, turn, call, name, effect: options.effect ?? "pure", key: `${run}/${call}` },
        {
          _tag: "ToolCompleted",
          v: 1,
          turn,
          call,
          name,
          outcome: options.outcome ?? "success",
          result: options.result ?? "null",
          durationMs: options.durationMs ?? 5
        }
      ]
    },
    message: (text: string, by = "user:2"): Event<"MessageReceived"> => ({
      _tag: "MessageReceived",
      v: 1,
      message: InboxId.make(randomUUID()),
      text,
      by
    }),
    completed: (): Event<"RunCompleted"> => ({ _tag: "RunCompleted", v: 1 })
  }
}

/** A run from start to end with one call of one tool, in one append. */
export const wholeRun = (options: RunOptions & { readonly arguments?: string; readonly result?: string; readonly tool?: string } = {}) => {
  const run = makeRun(options)
  const name = options.tool ?? "weather"
  const append = run.append(
    run.started(),
    ...run.turn({ calls: [{ id: "call-1", name, arguments: options.arguments ?? "{\"city\":\"Lisbon\"}" }] }),
    ...run.tool("call-1", { name, result: options.result ?? "\"rain\"" }),
    ...run.turn({ text: "It will rain." }),
    run.completed()
  )
  return { ...run, written: append }
}
