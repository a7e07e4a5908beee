import * as Context from "effect/Context"
import type * as Agent from "../Agent.ts"

/** The agents of this process, by name. */
export class Registry extends Context.Service<Registry, ReadonlyMap<string, Agent.Registered>>()("conductor-ai/Runs/Registry") {}
