import * as Effect from "effect/Effect"
import type * as Agent from "../Agent.ts"
import { CurrentOrg, CurrentPrincipal } from "../Org.ts"
import { clean, isOver, type RunConflict, type RunId, SessionId, type SteerMode } from "../Run.ts"
import { RunLog } from "../RunLog.ts"
import { type Chosen, promptOf, Registry, Runs, type StartError } from "../Runs.ts"
import type { Commands } from "./Commands.ts"

/** How a run is started. */
export interface RunOptions extends Chosen {
  /**
   * What becomes of the input where the session has an unfinished run: that run hears it as a message (see `Conductor.send`),
   * and it is the run that is answered with; or the input is rejected with `RunConflict`, which is the default.
   */
  readonly whenBusy?: SteerMode | "reject"
}

/** How a run is started within the runtime. */
export interface StartOptions extends RunOptions {
  /** The id of the run; made by the runtime by default. */
  readonly run?: RunId
  /** True where the session's name was just made up, so that there is no earlier run of it to look for. */
  readonly opensSession?: boolean
  /** An input of the same key that a run hears as a message is heard once. */
  readonly dedupe?: string
}

/** How often the unfinished run of a session may end just before it is sent something. */
const patience = 5

/** Starts runs, or says it to the run that is under way. */
export const makeStart = Effect.fnUntraced(function*(send: Commands["send"]) {
  const runs = yield* Runs
  const log = yield* RunLog
  const registry = yield* Registry

  return Effect.fn("Conductor.start")(function*(
    agent: Agent.Any | string,
    input: unknown,
    options?: StartOptions
  ): Effect.fn.Return<RunId, StartError> {
    const { dedupe, whenBusy = "reject", ...more } = options ?? {}
    const name = typeof agent === "string" ? agent : agent.name
    const org = yield* CurrentOrg
    const start = runs.start({ agent: name, input, org, principal: yield* CurrentPrincipal, ...more })
    if (whenBusy === "reject" || more.session === undefined) return yield* start
    const { session } = more
    const say = Effect.fnUntraced(function*(conflict: RunConflict): Effect.fn.Return<RunId, StartError> {
      const [busy] = yield* log.as(org).list({ session: SessionId.make(clean(session)), limit: 1 })
      const registered = registry.get(name)
      if (busy === undefined || isOver(busy.status) || registered === undefined) return yield* conflict
      const text = yield* promptOf(registered.agent, input)
      yield* Effect.catchTag(send(busy.run, text, dedupe === undefined ? { mode: whenBusy } : { mode: whenBusy, dedupe }), "RunNotFound", () => Effect.fail(conflict))
      return busy.run
    })
    return yield* Effect.retry(Effect.catchTag(start, "RunConflict", say), {
      times: patience,
      while: (error) => error._tag === "RunConflict"
    })
  })
})
