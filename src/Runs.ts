import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Agent from "./Agent.ts"
import { Inbox } from "./Inbox.ts"
import { CurrentOrg } from "./Org.ts"
import {
  type AgentNotRegistered, clean, type Fenced, InvalidInput, isOver, type Limits, maxText, type ModelRef, type OrgId, RunConflict, RunId,
  type RunNotFound, type RunState, SessionId, type ShuttingDown, StorageFailed, type Transcript
} from "./Run.ts"
import { RunLog, Store } from "./RunLog.ts"
import { type Drained, makeClaims, storage } from "./Runs/Claim.ts"
import { Registry } from "./Runs/Registry.ts"
import { keepUp } from "./Runs/Upkeep.ts"
import * as Telemetry from "./Telemetry.ts"

export { BetweenTools, Registry } from "./Runs/Registry.ts"
export { TakesOver } from "./Runs/Upkeep.ts"

export type { Drained } from "./Runs/Claim.ts"

/** How long runs under way may go on when the runtime's layer closes, before they are parked; not at all by default. */
export const DrainTime = Context.Reference<Duration.Duration>("conductor-ai/Runs/DrainTime", { defaultValue: () => Duration.zero })

/** The longest name of a session, in characters. */
const maxSession = 200

/** What may be chosen of a run. */
export interface Chosen {
  /** The conversation to go on with: any name, or the id of an earlier one. A new conversation by default. */
  readonly session?: string
  /** Another model than the agent's, without those that the agent asks after it. */
  readonly model?: ModelRef
  /** The models that are asked after it, in their order; the agent's by default, where it is the agent's model. */
  readonly fallback?: ReadonlyArray<ModelRef>
  /** Limits that replace the agent's. */
  readonly limits?: Partial<Limits>
  /** What was said before, without tool calls. */
  readonly history?: ReadonlyArray<Transcript.Message>
  /** The agent's tools that the run may use; all of them by default. */
  readonly tools?: ReadonlyArray<string>
  /** What is kept with the run. */
  readonly metadata?: Readonly<Record<string, string>>
  /** The project that the audit log files the run under. */
  readonly sourceProject?: string
}

/** What a run is started with. */
export interface Start extends Chosen {
  /** The id of the run, a UUIDv7; made here by default. */
  readonly run?: RunId
  readonly agent: string
  /** The decoded input. */
  readonly input: unknown
  readonly org: OrgId
  readonly principal: string
  /** True where the session's name was just made up, so that there is no earlier run of it to look for. */
  readonly opensSession?: boolean
}

/** Why a run could not be started. */
export type StartError = AgentNotRegistered | InvalidInput | RunConflict | ShuttingDown | StorageFailed | Fenced

/** Starts runs, performs those that this process owns, and takes over those that nobody performs. */
export class Runs extends Context.Service<Runs, {
  /** Starts a run; when this returns, it is durable and under way. */
  readonly start: (start: Start) => Effect.Effect<RunId, StartError>
  /** Waits until a run of the current organisation is over or parked. */
  readonly settled: (run: RunId) => Effect.Effect<RunState, RunNotFound | StorageFailed | Fenced>
  /** Lets a failed run go on from its log, under its limits counted anew. */
  readonly retry: (run: RunId, options: { readonly principal: string; readonly limits?: Partial<Limits> }) => Effect.Effect<
    void,
    RunNotFound | RunConflict | AgentNotRegistered | StorageFailed | Fenced
  >
  /** Takes a run over if it needs somebody and its agent is registered here. */
  readonly attend: (run: RunId) => Effect.Effect<void, StorageFailed>
  /** Starts no more runs, gives those under way some time, and parks the others; which runs became what. */
  readonly drain: (within: Duration.Input) => Effect.Effect<Drained>
}>()("conductor-ai/Runs") {
  static readonly layer = Layer.effect(Runs, Effect.gen(function*() {
    const log = yield* RunLog
    const store = yield* Store
    const registry = yield* Registry
    const random = yield* SecureRandom.SecureRandom
    const inbox = yield* Inbox
    const claims = yield* makeClaims
    yield* Telemetry.showRuns(() => claims.performed().length)

    for (const { agent, definition, tools } of registry.values()) {
      const tool = [...tools.values()].find(({ effect }) => effect === "transactional")
      if (tool !== undefined && store.transaction === undefined) {
        const problem = `its tool "${tool.name}" is transactional and there is no database in memory; use Conductor.layerEmbedded or layerPostgres.`
        return yield* new Agent.RegistrationFailed({ agent: agent.name, problem })
      }
      yield* store.define(definition.hash, agent.name, definition.text)
    }

    /** True within a transaction of the caller, which would be waited for by what it waits for. */
    const isInTransaction = store.transaction === undefined
      ? Effect.succeed(false)
      : Effect.map(Effect.serviceOption(store.transaction.sql.transactionService), Option.isSome)
    const outside = Effect.flatMap(isInTransaction, (isInside) =>
      isInside
        ? Effect.fail(new StorageFailed({
          operation: "start",
          problem: "a run cannot be started or retried within a transaction, of which it could not be a part: do it after the COMMIT."
        }))
        : Effect.void)

    const start = Effect.fn("Runs.start")(function*(options: Start) {
      yield* outside
      const registered = yield* claims.find(options.agent)
      const { agent, definition } = registered
      const { input, prompt } = yield* encodeInput(agent, options.input)
      const stranger = options.tools?.find((name) => !registered.tools.has(name))
      if (stranger !== undefined) {
        const problem = `it has no tool "${stranger}" (its tools: ${[...registered.tools.keys()].join(", ") || "none"}).`
        return yield* new InvalidInput({ agent: agent.name, problem })
      }
      const run = options.run ?? RunId.make(yield* random.uuidV7())
      const session = SessionId.make(yield* sessionOf(agent, options.session ?? (yield* random.uuidV7())))
      const before = options.session === undefined || options.opensSession === true ? Option.none() : yield* store.latest(options.org, session)
      const after = Option.isSome(before) ? { run: before.value.run, seq: before.value.seq } : null
      const { fallback, model } = chainOf(registered, options)
      const started = {
        _tag: "RunStarted",
        v: 1,
        org: options.org,
        session,
        agent: agent.name,
        definition: definition.hash,
        model,
        ...(fallback.length === 0 ? {} : { fallback }),
        input,
        limits: { ...agent.limits, ...options.limits },
        principal: clean(options.principal),
        after,
        ...extras(options),
        sourceProject: options.sourceProject === undefined ? null : clean(options.sourceProject)
      } as const
      yield* claims.begin(run, registered, prompt === undefined ? started : { ...started, prompt })
      return run
    })

    /** Waits for the log to say that a run is over or parked, from the state that it has now. */
    const followed = Effect.fnUntraced(function*(run: RunId) {
      let state = yield* log.state(run)
      // A run that was parked because its process ended goes on in another.
      while (!isOver(state.status) && (state.status !== "parked" || state.parked === "shutdown")) {
        yield* log.watch(run, state.seq).pipe(
          Stream.takeUntil((item) => "event" in item && item.event._tag === "RunParked"),
          Stream.runDrain
        )
        state = yield* log.state(run)
      }
      return state
    })

    const settled = Effect.fn("Runs.settled")(function*(run: RunId) {
      const org = yield* CurrentOrg
      yield* claims.claimed(run)
      // The look keeps what is another's away; of a run that is performed here it is known whose it is.
      if (claims.orgOf(run) !== org) yield* log.as(org).find(run)
      // A command that nobody has heard yet is about to wake it up.
      if (claims.stopped(run) === undefined && (yield* inbox.waiting(run)).length > 0) yield* claims.attend(run)
      const stopped = claims.stopped(run)
      // A run that another process has taken over goes on there.
      return yield* stopped === undefined
        ? followed(run)
        : Effect.catchTag(Deferred.await(stopped), "Fenced", () => followed(run))
    })

    const retry = Effect.fn("Runs.retry")(function*(run: RunId, options: { readonly principal: string; readonly limits?: Partial<Limits> }) {
      yield* outside
      const state = yield* log.state(run)
      const { agent } = yield* claims.find(state.agent)
      if (state.status !== "failed") {
        return yield* new RunConflict({ run, problem: `it is ${state.status}, and only a failed run can be retried.` })
      }
      const limits = { ...agent.limits, cost: state.limits.cost, ...options.limits }
      const taken = yield* claims.takeOver(run, { _tag: "RunRetried", v: 1, limits, by: clean(options.principal) }).pipe(
        Effect.mapError((error) =>
          error._tag === "RunConflict" || error._tag === "RunNotFound" || error._tag === "AgentNotRegistered" ? error : storage(error)
        )
      )
      if (!taken) return yield* new RunConflict({ run, problem: "another process is working on it." })
    })

    const keptUp = yield* keepUp(claims)
    // What is sent within a transaction is heard after its COMMIT.
    const attend = (run: RunId) => Effect.flatMap(isInTransaction, (isInside) => isInside ? Effect.void : keptUp(run))
    const drain = Effect.fn("Runs.drain")((within: Duration.Input) => claims.drain(Duration.fromInputUnsafe(within)))
    const drainTime = yield* DrainTime
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(drain(drainTime), ({ parked }) =>
        parked.length === 0 ? Effect.void : Effect.logInfo(`Parked for the next process: ${parked.join(", ")}`)))
    return Runs.of({ start, settled, retry, attend, drain })
  }))
}

/** The models of a run, each once. */
const chainOf = ({ models: [first, ...more] }: Agent.Registered, options: Pick<Start, "model" | "fallback">) => {
  const model = options.model ?? first
  const fallback = options.fallback ?? (options.model === undefined ? more : [])
  return { model, fallback: [...new Set(fallback)].filter((one) => one !== model) }
}

/** What a starter may leave out, as it can be stored. */
const extras = ({ history, metadata, tools }: Start) => ({
  ...(history === undefined || history.length === 0 ? {} : { history: history.map(cleaned) }),
  ...(tools === undefined ? {} : { tools }),
  ...(metadata === undefined || Object.keys(metadata).length === 0
    ? {}
    : { metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [clean(name), clean(value)])) })
})

const cleaned = (message: Transcript.Message): Transcript.Message => {
  if (message.role === "user") return { ...message, text: clean(message.text) }
  if (message.role === "tool") return message
  return { ...message, parts: message.parts.map((part) => part.type === "tool-call" ? part : { ...part, text: clean(part.text) }) }
}

/** The name of a session as it can be stored. */
const sessionOf = (agent: Agent.Any, name: string): Effect.Effect<string, InvalidInput> => {
  const problem = name.trim() === ""
    ? "the name of its session is empty; leave it out for a new one."
    : name.length > maxSession
    ? `the name of its session has ${name.length} characters, and ${maxSession} is the most.`
    : undefined
  return problem === undefined ? Effect.succeed(clean(name)) : Effect.fail(new InvalidInput({ agent: agent.name, problem }))
}

/** The message that an agent asks its model with, from its input. */
export const promptOf = (agent: Agent.Any, value: unknown): Effect.Effect<string, InvalidInput> =>
  Effect.map(encodeInput(agent, value), ({ input, prompt }) => prompt ?? String(JSON.parse(input)))

/** The input as JSON text, and the message that the model is asked with where that is another text. */
export const encodeInput = (agent: Agent.Any, input: unknown): Effect.Effect<
  { readonly input: string; readonly prompt: string | undefined },
  InvalidInput
> =>
  Effect.gen(function*() {
    const invalid = (problem: string) => new InvalidInput({ agent: agent.name, problem })
    const encoded = yield* Schema.encodeUnknownEffect(Schema.toCodecJson(agent.input))(input).pipe(
      Effect.mapError((error) => invalid(`it does not fit its input schema: ${error.message}`))
    )
    const text = clean(typeof encoded === "string" ? encoded : JSON.stringify(encoded))
    const prompt = agent.prompt === undefined ? text : clean(agent.prompt(input))
    if (prompt.trim() === "") return yield* invalid("it is empty; say what the agent is to do.")
    if (text.length > maxText || prompt.length > maxText) {
      const size = `${(Math.max(text.length, prompt.length) / 1e6).toFixed(1)} million characters`
      return yield* invalid(
        `it has ${size}, and ${maxText / 1e6} million is the most; put long material where a tool of the agent can read it.`
      )
    }
    const same = typeof encoded === "string" && agent.prompt === undefined
    return { input: same ? JSON.stringify(text) : JSON.stringify(encoded), prompt: same ? undefined : prompt }
  })
