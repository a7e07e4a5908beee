import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Conductor } from "../Conductor.ts"
import * as Database from "../Database.ts"
import { RunId, RunNotFound } from "../Run.ts"
import { TakesOver } from "../Runs.ts"
import * as Telemetry from "../Telemetry.ts"
import type { Known } from "./Agents.ts"
import { models } from "./Choice.ts"
import { Output } from "./Output.ts"
import { Within } from "./Within.ts"

/** Telemetry that cannot be exported keeps nobody from anything. */
const telemetry = Telemetry.layer.pipe(
  Layer.catchTag("TelemetryInvalid", (error) => Layer.effectDiscard(Effect.flatMap(Output, (output) => output.note(error.message))))
)

const own = (agents: ReadonlyArray<Known>) =>
  Conductor.layer({ agents, models }).pipe(
    Layer.provide(Layer.succeed(TakesOver, false)),
    Layer.provideMerge(agents.length === 0 ? Layer.empty : telemetry)
  )

/** What a runtime with its database brings. */
export type Services = Layer.Success<ReturnType<typeof own>>

const unlessWithin = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.unwrap(Effect.map(Within, Option.match({
    onNone: () => layer,
    // It has all that any of the layers here brings.
    onSome: (services) => Layer.succeedContext(services as Context.Context<never> as Context.Context<A>)
  })))

/** The database of the settings. Provided around {@link conductor}, it is opened once for several runtimes. */
export const database = unlessWithin(Database.Database.layer)

/**
 * The runtime with some agents on the database of the settings, for the runs that it is told of: a run that an earlier
 * program left goes on with `conductor retry`, not behind somebody's back. Without agents it performs nothing, and exports nothing.
 */
export const conductor = (agents: ReadonlyArray<Known>) => unlessWithin(own(agents))

const uuid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/** Whether a text is the id of a run, which may not be there. */
export const isRunId = (text: string): boolean => uuid.test(text.trim())

/** The id of a run as it was typed; text that is none names no run. */
export const runId = (text: string): Effect.Effect<RunId, RunNotFound> =>
  isRunId(text) ? Effect.succeed(RunId.make(text.trim().toLowerCase())) : Effect.fail(new RunNotFound({ run: text }))

/** The row of a run, found by a runtime that performs nothing. */
export const findRun = Effect.fnUntraced(function*(text: string) {
  const { find } = yield* Conductor
  return yield* find(yield* runId(text))
}, Effect.provide(conductor([])))
