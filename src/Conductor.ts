import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Agent from "./Agent.ts"
import type * as Approval from "./Approval.ts"
import type * as AuditLog from "./AuditLog.ts"
import type * as Budget from "./Budget.ts"
import * as Database from "./Database.ts"
import type { Idempotency } from "./Idempotency.ts"
import type * as Inbox from "./Inbox.ts"
import type { Ledger } from "./Ledger.ts"
import type { Memory } from "./Memory.ts"
import * as Model from "./Model.ts"
import type * as Money from "./Money.ts"
import { CurrentOrg, type Keys, type Orgs } from "./Org.ts"
import { type Commands, type Decision, makeCommands, type Resolution, type SendOptions } from "./Conductor/Commands.ts"
import { makeStart, type RunOptions, type StartOptions } from "./Conductor/Start.ts"
import { inDatabase, inTables } from "./Conductor/Services.ts"
import { type Agents, registry } from "./Conductor/Wiring.ts"
import {
  answerOf, cacheHitRate, Cancelled, type Logged, type RunError, RunId, type RunNotFound, type RunState, type SessionId, type StorageFailed, type Usage,
  waitingOf
} from "./Run.ts"
import type { Outcomes } from "./Outcomes.ts"
import * as RunLog from "./RunLog.ts"
import { Registry, Runs, type StartError } from "./Runs.ts"
import type { Sessions } from "./Session.ts"

export type { RunOptions, StartOptions } from "./Conductor/Start.ts"
export type { RegistrationError } from "./Conductor/Wiring.ts"
export type { Decision, Pending, Resolution, SendOptions } from "./Conductor/Commands.ts"

/** What a finished run has to say. */
export interface RunResult<Out> {
  readonly run: RunId
  readonly session: SessionId
  /** The answer: text, or what the agent's output schema decodes it to. */
  readonly output: Out
  /** The answer as the model wrote it. */
  readonly text: string
  readonly turns: number
  readonly usage: Usage
  /** Which part of the input tokens the providers' caches had, from 0 to 1. */
  readonly cacheHitRate: number
  /** Dollars for all attempts of the run. */
  readonly cost: Money.Money
  /** False where an attempt had no known price, so that the true cost is more than `cost`. */
  readonly priced: boolean
}

/** An event of a run, or what is live between events. */
export type Watched = Logged | RunLog.Live

type Input<A extends Agent.Any> = A extends Agent.Agent<infer In, infer _Out, infer _Plugins> ? In : never
type Output<A extends Agent.Any> = A extends Agent.Agent<infer _In, infer Out, infer _Plugins> ? Out : never

/** The services that the runtime itself brings; handlers of agents may use them. */
export type Provided =
  | Conductor
  | Approval.Approval
  | AuditLog.AuditLog
  | Budget.Budget
  | Idempotency
  | Inbox.Inbox
  | Keys
  | Ledger
  | Memory
  | Orgs
  | Outcomes
  | Sessions
  | RunLog.RunLog
  | RunLog.Store
  | Runs
  | Registry
  | Model.Models
  | Model.Catalog
  | Model.Router
  | SecureRandom.SecureRandom

/** Options of the layers of {@link Conductor}. */
export interface Options<A extends Agents, E = Model.CatalogInvalid | Config.ConfigError> {
  readonly agents: A
  /** The models there are; by default those of the providers that Conductor brings, configured from the environment. */
  readonly models?: Layer.Layer<Model.Models | Model.Catalog, E>
}

const models = Model.Models.layer.pipe(
  Layer.provideMerge(Model.Catalog.layer),
  Layer.provide(NodeFileSystem.layer)
)

/** The runtime: starts, watches, cancels and answers for runs of the registered agents. */
export class Conductor extends Context.Service<Conductor, {
  readonly start: (agent: Agent.Any | string, input: unknown, options?: StartOptions) => Effect.Effect<RunId, StartError>
  readonly result: (run: RunId) => Effect.Effect<RunResult<unknown>, RunError>
  readonly watch: RunLog.Watch
  /** An id for a run that is to be watched from before it starts. */
  readonly newRun: Effect.Effect<RunId>
  readonly send: Commands["send"]
  readonly cancel: Commands["cancel"]
  readonly approvals: Commands["approvals"]
  readonly decide: Commands["decide"]
  readonly resolve: Commands["resolve"]
  readonly drain: Runs["Service"]["drain"]
  readonly retry: Commands["retry"]
  /** Goes on with an unfinished run that nobody performs, as soon as its last owner's lease has ended. */
  readonly attend: Commands["attend"]
  readonly find: RunLog.Reading["find"]
  readonly list: RunLog.Reading["list"]
  readonly state: RunLog.Reading["state"]
  readonly agents: ReadonlyArray<Agent.Registered>
}>()("conductor-ai/Conductor") {
  /** The runtime over any store, models and registry. */
  static readonly layerRuntime = Layer.effect(Conductor, Effect.gen(function*() {
    const runs = yield* Runs
    const log = yield* RunLog.RunLog
    const commands = yield* makeCommands
    const random = yield* SecureRandom.SecureRandom
    const registered = yield* Registry

    const start = yield* makeStart(commands.send)

    /** Reads as the current organisation: what is another's is not there. */
    const as = <A, E>(read: (log: RunLog.Reading) => Effect.Effect<A, E>) => Effect.flatMap(CurrentOrg, (org) => read(log.as(org)))

    const decodeOutput = Effect.fnUntraced(function*(state: RunState) {
      const text = answerOf(state)
      const output = registered.get(state.agent)?.output?.(state.model)
      // The run completed, so its answer was decoded once; only another process's agent of that name could disagree.
      return output === undefined ? text : yield* Effect.orDie(output.decode(text))
    })

    const result = Effect.fn("Conductor.result")(function*(run: RunId): Effect.fn.Return<RunResult<unknown>, RunError> {
      const state = yield* runs.settled(run)
      if (state.status === "cancelled") {
        return yield* new Cancelled({ by: state.cancel?.by ?? "unknown", reason: state.cancel?.reason ?? null })
      }
      if (state.failure !== null) return yield* state.failure
      if (state.status !== "completed") return yield* waitingOf(state)
      return {
        run,
        session: state.session,
        output: yield* decodeOutput(state),
        text: answerOf(state),
        turns: state.turns,
        usage: state.usage,
        cacheHitRate: cacheHitRate(state.usage),
        cost: state.cost,
        priced: state.priced
      }
    })

    return Conductor.of({
      start,
      result,
      watch: (run, after, first) => Stream.unwrap(Effect.map(CurrentOrg, (org) => log.as(org).watch(run, after, first))),
      newRun: Effect.map(random.uuidV7(), (id) => RunId.make(id)),
      ...commands,
      drain: runs.drain,
      find: (run) => as((log) => log.find(run)),
      list: (filter) => as((log) => log.list(filter)),
      state: (run) => as((log) => log.state(run)),
      agents: [...registered.values()]
    })
  }))

  /** Durable, on the Postgres of `DATABASE_URL` or `SUPABASE_DB_URL`, else embedded in `CONDUCTOR_DATA_DIR` (`.conductor`). */
  static readonly layer = <const A extends Agents, E = Model.CatalogInvalid | Config.ConfigError>(options: Options<A, E>) =>
    durable(options, Database.Database.layer)

  /** Durable, on an embedded database: in a directory, or in memory without one. */
  static readonly layerEmbedded = <const A extends Agents, E = Model.CatalogInvalid | Config.ConfigError>(
    options: Options<A, E> & { readonly dir?: string }
  ) => durable(options, Database.Database.layerEmbedded(options.dir === undefined ? {} : { dir: options.dir }))

  /** Durable, on a Postgres. */
  static readonly layerPostgres = <const A extends Agents, E = Model.CatalogInvalid | Config.ConfigError>(
    options: Options<A, E> & Parameters<typeof Database.Database.layerPostgres>[0]
  ) => durable(options, Database.Database.layerPostgres(options))

  /** In process memory: nothing outlives the layer. The same rules, fences, budgets and audit as on a database. */
  static readonly layerMemory = <const A extends Agents, E = Model.CatalogInvalid | Config.ConfigError>(options: Options<A, E>) =>
    Conductor.layerTables(options).pipe(Layer.provideMerge(RunLog.Tables.layer))

  /** In tables of this process that are there already: the next runtime over them finds what this one leaves. */
  static readonly layerTables = <const A extends Agents, E = Model.CatalogInvalid | Config.ConfigError>(options: Options<A, E>) =>
    runtime(options.agents).pipe(
      Layer.provideMerge(inTables(options.agents)),
      Layer.provideMerge(options.models ?? (models as Layer.Layer<Model.Models | Model.Catalog, E>)), // `E` is its default where `models` is absent
      Layer.provideMerge(SecureRandom.layerWebCrypto)
    )

  /** Durable, on the database of a layer, such as one that several runtimes share. */
  static readonly layerDatabase = <const A extends Agents, E2, E = Model.CatalogInvalid | Config.ConfigError>(
    options: Options<A, E> & { readonly database: Database.DatabaseLayer<E2> }
  ) => durable(options, options.database)

  /** Runs an agent and waits for its answer. A tool failure that ends the run is failed with as itself. */
  static run<A extends Agent.Any>(
    agent: A,
    input: Input<A>,
    options?: RunOptions
  ): Effect.Effect<RunResult<Output<A>>, RunError | Agent.Failure<A>, Conductor>
  static run(agent: string, input: unknown, options?: RunOptions): Effect.Effect<RunResult<unknown>, RunError, Conductor>
  static run(agent: Agent.Any | string, input: unknown, options?: RunOptions): Effect.Effect<RunResult<unknown>, unknown, Conductor> {
    return Effect.gen(function*() {
      const conductor = yield* Conductor
      const run = yield* conductor.start(agent, input, options)
      return yield* conductor.result(run).pipe(
        Effect.catchTag("ToolFailed", (error) => {
          if (typeof agent === "string") return Effect.fail(error)
          const tool = conductor.agents.find((one) => one.agent.name === agent.name)?.tools.get(error.tool)
          return tool === undefined
            ? Effect.fail(error)
            : Effect.matchEffect(tool.decodeFailure(JSON.parse(error.failure)), {
              onSuccess: Effect.fail,
              onFailure: () => Effect.fail(error)
            })
        })
      )
    })
  }

  /** Starts a run and returns as soon as it is durable. */
  static start<A extends Agent.Any>(agent: A, input: Input<A>, options?: RunOptions): Effect.Effect<RunId, StartError, Conductor>
  static start(agent: string, input: unknown, options?: RunOptions): Effect.Effect<RunId, StartError, Conductor>
  static start(agent: Agent.Any | string, input: unknown, options?: RunOptions): Effect.Effect<RunId, StartError, Conductor> {
    return Effect.flatMap(Conductor, (conductor) => conductor.start(agent, input, options))
  }

  /** Starts a run and streams its events and what is live, until it is over. */
  static stream<A extends Agent.Any>(
    agent: A,
    input: Input<A>,
    options?: RunOptions
  ): Stream.Stream<Watched, StartError | RunNotFound | StorageFailed, Conductor> {
    return Stream.unwrap(Effect.gen(function*() {
      const conductor = yield* Conductor
      // A run that is there already may hear the input, so that its id is not known before.
      if (options?.whenBusy !== undefined && options.whenBusy !== "reject") {
        return conductor.watch(yield* conductor.start(agent, input, options))
      }
      const run = yield* conductor.newRun
      return conductor.watch(run, 0, conductor.start(agent, input, { ...options, run }))
    }))
  }

  /** The events of a run after a sequence number as they come, and what is live between them, until it is over. */
  static watch(run: RunId, after?: number): Stream.Stream<Watched, RunNotFound | StorageFailed, Conductor> {
    return Stream.unwrap(Effect.map(Conductor, (conductor) => conductor.watch(run, after)))
  }

  /** Waits for the answer of a run. */
  static result(run: RunId): Effect.Effect<RunResult<unknown>, RunError, Conductor> {
    return Effect.flatMap(Conductor, (conductor) => conductor.result(run))
  }

  /**
   * Says something to a run that is under way; done when that is durable. By its mode it is heard before the next turn
   * (`steer`, the default), once the model has nothing more to do (`queue`), at once, breaking off what is under way
   * (`interrupt`), or is not wanted where the run is not parked (`reject`).
   */
  static send(run: RunId, text: string, options?: SendOptions) {
    return Effect.flatMap(Conductor, (conductor) => conductor.send(run, text, options))
  }

  /** The requests for approval of the current organisation that wait for a decision, oldest first. */
  static approvals(options?: { readonly limit?: number }) {
    return Effect.flatMap(Conductor, (conductor) => conductor.approvals(options))
  }

  /** Decides about a tool call that waits for approval. Done when the decision is durable; the run then goes on. */
  static decide(approval: string, decision: Decision) {
    return Effect.flatMap(Conductor, (conductor) => conductor.decide(approval, decision))
  }

  /** Says what became of a tool call whose outcome nobody knows. Done when that is durable; the run then goes on. */
  static resolve(run: RunId, call: string, resolution: Resolution) {
    return Effect.flatMap(Conductor, (conductor) => conductor.resolve(run, call, resolution))
  }

  /** Starts no more runs here, gives those under way some time, and parks the others for the next process. */
  static drain(within: Duration.Input) {
    return Effect.flatMap(Conductor, (conductor) => conductor.drain(within))
  }

  /** Cancels a run. Done when the command is durable; the run's end is seen by {@link Conductor.watch} or `result`. */
  static cancel(run: RunId, reason?: string) {
    return Effect.flatMap(Conductor, (conductor) => conductor.cancel(run, reason))
  }
}

const runtime = <const A extends Agents>(agents: A) =>
  Conductor.layerRuntime.pipe(
    Layer.provideMerge(Runs.layer),
    Layer.provideMerge(registry(agents)),
    Layer.provideMerge(Model.Router.layer)
  )

const durable = <const A extends Agents, E, E2>(options: Options<A, E>, database: Database.DatabaseLayer<E2>) =>
  runtime(options.agents).pipe(
    Layer.provideMerge(inDatabase(options.agents)),
    Layer.provideMerge(options.models ?? (models as Layer.Layer<Model.Models | Model.Catalog, E>)), // `E` is its default where `models` is absent
    Layer.provideMerge(database),
    Layer.provideMerge(SecureRandom.layerWebCrypto)
  )

