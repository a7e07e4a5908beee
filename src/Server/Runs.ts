import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Agent from "../Agent.ts"
import { Api, BadRequest, IdempotencyKeyReused, StartRun, type Started } from "../Api.ts"
import { Conductor, type StartOptions } from "../Conductor.ts"
import { fingerprintOf, Idempotency } from "../Idempotency.ts"
import { Inbox } from "../Inbox.ts"
import * as Model from "../Model.ts"
import { CurrentOrg } from "../Org.ts"
import { type AgentName, clean, isOver, RunId, RunNotFound, SessionId } from "../Run.ts"
import * as RunLog from "../RunLog.ts"
import { problemsOf } from "./Answer.ts"
import { Draining } from "./Draining.ts"
import { eventsOf } from "./Events.ts"
import { isAbout } from "./Request.ts"
import { makeView, rowOf } from "./View.ts"

const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/** The id of a run as a path has it; text that is none names no run. */
export const runId = (text: string): Effect.Effect<RunId, RunNotFound> =>
  uuid.test(text) ? Effect.succeed(RunId.make(text.toLowerCase())) : Effect.fail(new RunNotFound({ run: text.slice(0, 100) }))

const startedOf = ({ run, session, status }: Pick<Started, "run" | "session" | "status">): Started => ({
  run,
  session,
  status,
  links: { self: `/v1/runs/${run}`, events: `/v1/runs/${run}/events`, messages: `/v1/runs/${run}/messages`, cancel: `/v1/runs/${run}/cancel` }
})

const encodeStart = Schema.encodeSync(StartRun)

/** The input as the agent takes it: as it is given, or the last thing that was said. */
const inputOf = (agent: Agent.Any | undefined, { input = "", messages }: StartRun) => {
  if (messages !== undefined) {
    const last = messages.at(-1)
    return last?.role === "user"
      ? Effect.succeed(last.content)
      : Effect.fail(new BadRequest({ problems: [{ path: ["payload", "messages"], message: "the last message has to be by the user" }] }))
  }
  if (agent === undefined) return Effect.succeed(input)
  return Schema.decodeUnknownEffect(Schema.toCodecJson(agent.input))(input, { errors: "all" }).pipe(
    Effect.mapError((error) => problemsOf(["payload", "input"], error))
  )
}

/** What was said before the last message. */
const saidIn = (messages: StartRun["messages"] = []): Pick<StartOptions, "history"> => ({
  history: messages.slice(0, -1).map(({ content, role }) =>
    role === "user"
      ? { role, text: content }
      // No model here has said it, so that nothing of it is bound to one.
      : { role, model: "outside:unknown", parts: [{ type: "text", text: content }] })
})

/** Handlers of runs. */
export const layer = HttpApiBuilder.group(Api, "runs", Effect.fnUntraced(function*(handlers) {
  const conductor = yield* Conductor
  const log = yield* RunLog.RunLog
  const random = yield* SecureRandom.SecureRandom
  const draining = yield* Draining
  const idempotency = yield* Idempotency
  const inbox = yield* Inbox
  const models = yield* Model.Models
  const [first] = conductor.agents
  const known = new Map(conductor.agents.map((registered) => [registered.agent.name as string, registered]))

  /** A run of the current organisation; another's is as if it were not there. */
  const ours = Effect.fnUntraced(function*(text: string) {
    const run = yield* runId(text)
    yield* isAbout({ run })
    return yield* conductor.find(run)
  })

  /** What starts a run as it was asked for; what cannot be used is refused before anything is kept of it. */
  const prepare = Effect.fnUntraced(function*(request: StartRun) {
    const { agent: named, input: _, messages, ...options } = request
    const agent = named ?? first?.agent.name ?? ""
    const input = yield* inputOf(known.get(agent)?.agent, request)
    if (request.model !== undefined) yield* models.resolve(request.model)
    return (more: Pick<StartOptions, "run" | "dedupe" | "session" | "opensSession">) =>
      conductor.start(agent, input, { ...options, ...more, ...saidIn(messages), sourceProject: "api" })
  })

  /** Has a key stand for a request about a run; a key of another request is refused. */
  const keep = Effect.fnUntraced(function*(key: string, request: unknown, run: RunId) {
    const keyed = { org: yield* CurrentOrg, key, fingerprint: fingerprintOf(request) }
    const claimed = yield* idempotency.claim(keyed, run)
    return claimed.isSame ? { ...claimed, keyed } : yield* new IdempotencyKeyReused({ key })
  })

  /** The run that a key stands for, which is started unless it was. */
  const once = Effect.fnUntraced(function*(key: string, request: StartRun, named: Pick<StartOptions, "session" | "opensSession">) {
    const begin = yield* prepare(request)
    const { isFirst, keyed, run } = yield* keep(key, encodeStart(request), yield* conductor.newRun)
    const isThere = (run: RunId) => Effect.as(conductor.find(run), true).pipe(Effect.catchTag("RunNotFound", () => Effect.succeed(false)))
    const dedupe = `api:${key}`
    if (!isFirst) {
      if (yield* isThere(run)) return { run, isNew: false }
      // A run under way may have heard it from a process that then ended.
      const session = request.session === undefined ? undefined : SessionId.make(clean(request.session))
      const heard = session === undefined ? Option.none() : yield* inbox.accepted({ org: keyed.org, session }, dedupe)
      if (Option.isSome(heard)) {
        yield* idempotency.settle(keyed, run, heard.value.run)
        return { run: heard.value.run, isNew: false }
      }
    }
    const started = yield* begin({ ...named, run, dedupe }).pipe(
      Effect.map((begun) => ({ run: begun, isNew: begun === run })),
      // Somebody else may have started it at the same time, and it may even be over.
      Effect.catchTag(["RunConflict", "Fenced"], (refused) =>
        Effect.flatMap(isThere(run), (there) => there ? Effect.succeed({ run, isNew: false }) : Effect.fail(refused)))
    )
    if (started.run !== run) yield* idempotency.settle(keyed, run, started.run)
    return started
  })

  return handlers.handleAll({
    start: Effect.fn("Api.start")(function*({ headers, payload }) {
      yield* draining.check
      const key = headers["idempotency-key"]
      const session = payload.session ?? (yield* random.uuidV7())
      const named = payload.session === undefined ? { session, opensSession: true } : { session }
      const isMessage = payload.whenBusy !== undefined && payload.whenBusy !== "reject"
      const { isNew, run } = yield* key === undefined
        ? Effect.map(Effect.flatMap(prepare(payload), (begin) => begin(named)), (begun) => ({ run: begun, isNew: !isMessage }))
        : once(key, payload, named)
      yield* isAbout({ run })
      return startedOf(
        isNew
          ? { run, session: SessionId.make(clean(session)), status: "running" }
          // It was just seen to be there.
          : yield* Effect.catchTag(conductor.find(run), "RunNotFound", Effect.die)
      )
    }),
    list: Effect.fn("Api.runs")(function*({ query: { agent, before, limit = 50, session, status } }) {
      const rows = yield* conductor.list({
        limit: limit + 1,
        ...(before === undefined ? {} : { before }),
        ...(agent === undefined ? {} : { agent: agent as AgentName }),
        ...(session === undefined ? {} : { session: SessionId.make(session) }),
        ...(status === undefined ? {} : { status })
      })
      const runs = rows.slice(0, limit).map(rowOf)
      return { runs, next: rows.length > limit ? runs.at(-1)?.run ?? null : null }
    }),
    get: Effect.fn("Api.run")(function*({ params }) {
      const { org, run } = yield* ours(params.run)
      const { learn, view } = makeView()
      yield* Stream.runForEach(log.as(org).read(run), (logged) => Effect.sync(() => learn(logged)))
      return view((agent) => known.get(agent)?.output !== undefined) ?? (yield* new RunNotFound({ run }))
    }),
    events: Effect.fn("Api.events")(function*({ headers, params, query }) {
      yield* draining.check
      const row = yield* ours(params.run)
      // Nobody has seen what is not there yet: who says so is told what comes next.
      const after = Math.min(headers["last-event-id"] ?? query.after ?? 0, row.seq)
      if (isOver(row.status) && row.seq <= after) return HttpServerResponse.empty({ status: 204 })
      return yield* Effect.provideService(eventsOf(log.as(row.org).watch(row.run, after, undefined, true)), Draining, draining)
    }),
    send: Effect.fn("Api.send")(function*({ headers, params, payload: { mode, text } }) {
      const { run } = yield* ours(params.run)
      const how = mode === undefined ? {} : { mode }
      const key = headers["idempotency-key"]
      if (key === undefined) return { message: yield* conductor.send(run, text, how) }
      const { keyed } = yield* keep(key, { run, text, ...how }, run)
      // A key may be used again after its time, and then for something else.
      return { message: yield* conductor.send(run, text, { ...how, dedupe: `api:${key}:${keyed.fingerprint.slice(0, 16)}` }) }
    }),
    cancel: Effect.fn("Api.cancel")(function*({ params, payload }) {
      const { run } = yield* ours(params.run)
      const conflict = yield* Effect.as(conductor.cancel(run, payload?.reason), undefined).pipe(Effect.catchTag("RunConflict", Effect.succeed))
      const { status } = yield* conductor.find(run)
      // What is cancelled already is as it was wanted.
      if (conflict !== undefined && status !== "cancelled") return yield* conflict
      return { run, status }
    })
  })
}))
