import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Conductor } from "../../src/index.ts"
import { assistant, program } from "./first-agent.ts"

// In an Effect app: the runtime is a layer among yours.
export const main = program.pipe(Effect.provide(Conductor.layer({ agents: [assistant] })))

// From promises: one runtime for the life of the process.
export const runtime = ManagedRuntime.make(Conductor.layerEmbedded({ agents: [assistant], dir: "data" }))
export const ask = (question: string, signal?: AbortSignal): Promise<string> =>
  runtime.runPromise(Effect.map(Conductor.run(assistant, question), (result) => result.output), signal === undefined ? {} : { signal })
