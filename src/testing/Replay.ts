import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Agent from "../Agent.ts"
import { Inbox } from "../Inbox.ts"
import * as Model from "../Model.ts"
import * as Plugin from "../Plugin.ts"
import {
  AgentNotRegistered, type DefinitionHash, type InvalidInput, type Logged, type RunEvent, type RunState
} from "../Run.ts"
import { type Reading, RunLog } from "../RunLog.ts"
import { encodeInput } from "../Runs.ts"
import { wholeOf } from "../Runs/Conversation.ts"
import { type Journal, makeJournal } from "../Runs/Journal.ts"
import { failRun, performRun } from "../Runs/Loop.ts"
import { requestText } from "./Difference.ts"
import { type Export, historyOf, logOf } from "./Export.ts"
import { recordedAgent, recordedModel, recordedRouter, unresolved } from "./Recorded.ts"
import { makeScore } from "./Score.ts"
import { makeTime, realNow } from "./Time.ts"

/** The agent as it is now does not do what the log says. */
export class ReplayDiffers extends Schema.TaggedError<ReplayDiffers>()("ReplayDiffers", {
  run: Schema.String,
  /** The place in the log: the number of the first event that is not the same. */
  seq: Schema.Int,
  /** What is not the same, in a few words. */
  what: Schema.String,
  /** Line by line: `-` was then, `+` is now. */
  difference: Schema.String
}) {
  override get message() {
    return `Run ${this.run} differs from its log at event ${this.seq}: ${this.what} (- then, + now)\n${this.difference}`
  }
}

/** How a run is replayed. */
export interface Options<A extends ReadonlyArray<Agent.Any>> {
  /** The agents as they are now; the one of the run is found by its name. */
  readonly agents: A
  /** `run` runs the handlers of pure tools and compares their results; every result is from the log by default. */
  readonly handlers?: "recorded" | "run"
}

/** A run that was the same again. */
export interface Replayed {
  readonly state: RunState
  readonly events: ReadonlyArray<Logged>
}

/** Why an agent could not be replayed at all. */
export type NotReplayable<A extends ReadonlyArray<Agent.Any>> =
  | AgentNotRegistered
  | Agent.RegistrationFailed
  | Agent.Error<A[number]>

/** The tools of a plugin without what their handlers need: nobody calls these. */
const withoutHandlers = (plugin: Plugin.Any): Plugin.Any => {
  const idle = { context: Context.empty(), handler: () => Effect.never }
  const entries = plugin.tools.flatMap((tool) => [[tool.id, idle], [Plugin.checkKey(tool), () => Effect.never]] as const)
  return { ...plugin, layer: Layer.succeedContext(Context.makeUnsafe(new Map<string, unknown>(entries))) }
}

/** Milliseconds by which timers may have been early. */
const slack = 5

/** Seconds, by the real clock, that handlers may take while nothing else goes on. */
const patience = 30_000

/** What a run goes on with after a definition that is not the last one: as it was then, with today's handlers. */
const definitionOf = Effect.fnUntraced(function*(document: Export, hash: DefinitionHash, now: Agent.Registered) {
  const text = document.definitions[hash]
  const stored = text === undefined ? Option.none() : yield* Effect.option(Agent.decodeStored(text))
  return Option.map(stored, (stored) => ({ stored, as: Agent.asStored(now, stored, hash, text ?? "") }))
})

/**
 * Runs an agent again on a stored run: the answers of the model, the results of tools, commands, ids and the clock are from
 * the log, and the runtime is the real one, so that it takes neither network nor keys. Fails with {@link ReplayDiffers} at
 * the first request that is another than then, or the first event that is.
 *
 * Events are compared as they are stored, but for what the world measured or the budgets granted: times, durations, costs
 * and reservations, the names of processes and price lists, and the limits, which are the run's own. Where another process
 * took the run over, it is taken over at the same place. Calls that ran at the same time are compared call by call.
 */
export const run = <const A extends ReadonlyArray<Agent.Any>, const O extends Options<A>>(
  document: Export,
  options: O & { readonly agents: A }
): Effect.Effect<
  Replayed,
  ReplayDiffers | NotReplayable<A>,
  O extends { readonly handlers: "run" } ? Agent.Services<A[number]> : never
> =>
  Effect.scoped(Effect.gen(function*() {
    const log = logOf(document.run, document.events)
    const started = log[0]?.event
    if (started?._tag !== "RunStarted") return yield* Effect.die(new Error("a stored run begins with RunStarted"))
    const found = options.agents.find((one) => one.name === started.agent)
    if (found === undefined) {
      return yield* new AgentNotRegistered({ agent: started.agent, registered: options.agents.map((one) => one.name) })
    }
    const runs = options.handlers === "run"
    const agent = runs ? found : { ...found, plugins: found.plugins.map(withoutHandlers) }
    // What it needs is in the type of this; its model is the run's.
    const now = yield* Agent.register(agent as Agent.Agent<unknown, unknown, []>, [started.model], yield* Layer.makeMemoMap)

    const time = makeTime(log[0]?.at ?? 0)
    const score = makeScore(log, { onTime: time.set })
    const history = historyOf(document)
    const last = log.reduce((hash, { event }) => event._tag === "DefinitionMigrated" ? event.to : hash, started.definition)
    const definition = () => score.state()?.definition ?? started.definition

    /** The request that was made then, as far as the log tells: what the model was told about is in the stored definition. */
    const requestThen = Effect.fnUntraced(function*(request: Model.Request) {
      const known = yield* definitionOf(document, definition(), now)
      const state = score.state()
      // What is asked for a summary follows from the conversation, which the log has, and the log does not tell it.
      if (Option.isNone(known) || state === undefined || state.compacting !== null) return request
      const { instructions, output, tools } = known.value.stored
      const { output: asked, ...rest } = request
      const then: Model.Request = {
        ...rest,
        system: instructions,
        tools: tools.filter(({ name }) => started.tools?.includes(name) ?? true).map(({ description, name, parameters }) => ({ name, description, parameters })),
        messages: wholeOf(history, state, definition())
      }
      // For another provider than the definition's own a schema is written otherwise than there.
      const schema = asked !== undefined && state.model.split(":")[0] !== now.writtenFor.split(":")[0] ? asked.schema : output
      return schema === null ? then : { ...then, output: { name: started.agent, schema } }
    })

    const onRequest = Effect.fnUntraced(function*(request: Model.Request) {
      const [then, today] = [requestText(yield* requestThen(request)), requestText(request)]
      if (then !== today) score.diverge("the request to the model is another one", then, today)
      return then === today
    })

    const services = yield* Effect.context<never>()
    const unread: Reading = {
      read: () => Stream.never,
      state: () => Effect.never,
      watch: () => Stream.never,
      find: () => Effect.never,
      list: () => Effect.never
    }
    const doubles = Context.make(RunLog, {
      ...unread,
      as: () => unread,
      submit: score.submit,
      transaction: undefined,
      announce: () => {},
      isWatched: () => false,
      fly: () => {},
      append: () => Effect.never
    }).pipe(
      Context.add(Inbox, {
        send: () => Effect.never,
        waiting: () => Effect.sync(score.waiting),
        accepted: () => Effect.succeedNone,
        addressed: Effect.succeed([]),
        arrivals: Effect.flatMap(PubSub.unbounded<never>(), PubSub.subscribe)
      }),
      Context.add(Model.Router, recordedRouter(score)),
      Context.add(Model.Models, {
        providers: new Map(),
        resolve: (ref) => {
          const failure = unresolved(score.next()?.event)
          const id = ref.slice(ref.indexOf(":") + 1)
          const stream: Model.Provider = (request) =>
            Stream.unwrap(Effect.map(onRequest(request), (same) => same ? recordedModel(score, time)(request) : Stream.never))
          return Option.isSome(failure) ? Effect.fail(failure.value) : Effect.succeed({ ref, stream, id, entry: Option.none(), prices: null })
        }
      })
    )

    /** The events with which the next process takes the run over; at first, the start as the agent makes it now. */
    const entry = Effect.fnUntraced(function*(): Effect.fn.Return<ReadonlyArray<RunEvent>, InvalidInput> {
      const events: Array<RunEvent> = []
      for (const { event } of log.slice(score.state()?.seq ?? 0)) {
        if (!["RunStarted", "RunRetried", "RunClaimed", "DefinitionKept", "DefinitionMigrated"].includes(event._tag)) break
        if (event._tag === "RunClaimed" && events.some((one) => one._tag === "RunClaimed")) break
        events.push(event)
      }
      if (score.state() !== undefined) return events
      const input = yield* Effect.orDie(Schema.decodeUnknownEffect(Schema.toCodecJson(found.input))(JSON.parse(started.input)))
      const { prompt: _, ...rest } = started
      const encoded = yield* encodeInput(found, input)
      const first = { ...rest, input: encoded.input }
      return [encoded.prompt === undefined ? first : { ...first, prompt: encoded.prompt }, ...events.slice(1)]
    })

    /** What a process did with the run, from where it took it over. */
    const segment = Effect.gen(function*() {
      const epoch = score.next()?.epoch ?? 1
      const [first, ...more] = yield* entry()
      if (first === undefined) return score.diverge("the log cannot be followed", "", "")
      const kept = yield* definitionOf(document, definition(), now)
      const migrated = more.find((event) => event._tag === "DefinitionMigrated")
      const hash = migrated?.to ?? definition()
      const registered = hash === last || Option.isNone(kept) ? now : kept.value.as
      const journal: Journal = yield* time.within(makeJournal({
        run: document.run,
        epoch,
        registered: recordedAgent(Agent.withTools(registered, started.tools), score, runs),
        history,
        state: score.state(),
        services
      }))
      const entered = score.enter(epoch, journal.deliver)
      const ended = yield* Effect.exit(journal.commit([first, ...more]))
      entered()
      if (Exit.isFailure(ended)) return
      journal.deliver(score.waiting())
      const ahead = score.next()?.event
      const refused = log.slice(score.state()?.seq ?? 0).find(({ event }) => event._tag === "RunFailed" || event._tag === "RunClaimed")?.event
      const isRefused = refused?._tag === "RunFailed" && refused.error._tag === "DefinitionChanged" && ahead !== undefined
      const fiber = yield* Effect.forkChild(time.within(isRefused ? failRun(journal, refused.error) : performRun(journal)))
      yield* follow(journal)
      fiber.interruptUnsafe()
    })

    /** Lets the run go on until another process takes it over, or to the end: whatever it waits for happens as the log says. */
    const follow = Effect.fnUntraced(function*(journal: Journal) {
      let before = -1
      let since = realNow()
      while (!score.isOut()) {
        yield* time.quiet
        const next = score.next()
        if (score.isOut() || next === undefined) return
        if (next.seq !== before) {
          before = next.seq
          since = realNow()
          const halt = score.halt()
          if (halt === "shutdown") journal.halt("shutdown")
          else if (halt !== undefined) journal.deliver([halt])
          else time.advanceTo(next.at + slack)
        } else if (!runs || realNow() - since > patience) {
          return score.diverge(`the log says that ${next.event._tag} comes, and it does not`, next.event._tag, "nothing")
        }
      }
    })

    const whole = Effect.gen(function*() {
      while (score.next() !== undefined && score.divergence() === undefined) yield* Effect.scoped(segment)
    }).pipe(Effect.provideContext(doubles), Effect.provideService(References.MinimumLogLevel, "None"))
    const exit = yield* Effect.exit(whole)
    const divergence = score.divergence()
    if (divergence !== undefined) return yield* new ReplayDiffers({ run: document.run, ...divergence })
    const state = score.state()
    if (Exit.isFailure(exit) || state === undefined) return yield* Effect.die(exit)
    return { state, events: score.played }
  })) as never // what agents need and fail with is what their types say
