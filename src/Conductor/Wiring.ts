import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Agent from "../Agent.ts"
import * as Approval from "../Approval.ts"
import * as AuditLog from "../AuditLog.ts"
import * as Budget from "../Budget.ts"
import * as Inbox from "../Inbox.ts"
import * as Model from "../Model.ts"
import type { ForbiddenModel, UnknownModel } from "../Run.ts"
import type * as RunLog from "../RunLog.ts"
import { BetweenTools, Registry } from "../Runs.ts"
import * as Tool from "../Tool.ts"

/** The agents of a runtime. */
export type Agents = ReadonlyArray<Agent.Any>

/** Why agents could not be registered. */
export type RegistrationError<A extends Agents> =
  | Agent.Error<A[number]>
  | Agent.RegistrationFailed
  | ForbiddenModel
  | UnknownModel
  | Model.NoModelFits

/** What decides within a flush. */
export const gates = [Inbox.gate, Budget.gate]

/** What the definitions of the agents' tools say about their parameters: which are secret, and what a call is about. */
const facts = (agents: Agents): AuditLog.Lookup => {
  const known = new Map<string, AuditLog.ToolFacts>()
  for (const agent of agents) {
    for (const tool of agent.plugins.flatMap((plugin) => plugin.tools)) {
      const target = Context.get(tool.annotations, Tool.Target)
      // Schemas of tools need no services; see `Agent.register`.
      const decode = Schema.decodeUnknownSync(Schema.toCodecJson(tool.parametersSchema as Schema.Codec<unknown>))
      known.set(`${agent.name}/${tool.name}`, {
        sensitive: AuditLog.sensitivePaths(tool.parametersSchema),
        target: (parameters) => target === undefined ? null : target(decode(parameters))
      })
    }
  }
  return (agent, tool) => known.get(`${agent}/${tool}`)
}

/** What is written with events. */
export const projections = (agents: Agents): ReadonlyArray<RunLog.Projection> => [
  Inbox.projection,
  Approval.projection,
  Budget.projection,
  AuditLog.projectionOf(facts(agents))
]

/** Registers the agents: chooses their models, builds their handlers, and refuses two agents of one name. */
export const registry = <const A extends Agents>(agents: A): Layer.Layer<
  Registry,
  RegistrationError<A>,
  Agent.Services<A[number]> | Model.Models | Model.Catalog
> =>
  Layer.effect(Registry, Effect.gen(function*() {
    const memo = yield* Layer.makeMemoMap
    const { entries } = yield* Model.Catalog
    const { providers } = yield* Model.Models
    const registered = new Map<string, Agent.Registered>()
    for (const agent of agents) {
      if (registered.has(agent.name)) {
        const problem = "another agent of that name is registered already; give one of them another name."
        return yield* new Agent.RegistrationFailed({ agent: agent.name, problem })
      }
      const chain = yield* Effect.fromResult(Model.chainOf(agent.model, entries, providers))
      registered.set(agent.name, yield* Agent.register(agent, chain, memo))
    }
    return (yield* BetweenTools)(registered)
    // The loop over agents loses which errors and services are whose; together they are those of `A`.
  })) as never

