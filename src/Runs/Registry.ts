import * as Context from "effect/Context"
import type * as Agent from "../Agent.ts"

/** The agents of this process, by name. */
export class Registry extends Context.Service<Registry, ReadonlyMap<string, Agent.Registered>>()("conductor-ai/Runs/Registry") {}

/** What stands between the agents and the runtime that runs their tools: nothing, but where the test kit lets processes die. */
export const BetweenTools = Context.Reference<(agents: Registry["Service"]) => Registry["Service"]>("conductor-ai/Runs/BetweenTools", {
  defaultValue: () => (agents) => agents
})
