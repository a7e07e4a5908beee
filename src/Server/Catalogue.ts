import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type * as Agent from "../Agent.ts"
import { type AgentRow, Api, type ModelRow, type ToolRow } from "../Api.ts"
import { Conductor } from "../Conductor.ts"
import * as Model from "../Model.ts"

/** JSON Schema of what an agent takes or gives; null for text, and for what has none. */
const schemaOf = (schema: Schema.Constraint | undefined): Schema.Json => {
  if (schema === undefined || schema.ast._tag === "String") return null
  const made = Option.liftThrowable(() => Schema.toJsonSchemaDocument(schema).schema)()
  return Option.getOrElse(Option.map(made, (document) => JSON.parse(JSON.stringify(document))), () => null)
}

const agentOf = ({ agent, definition, models, tools }: Agent.Registered): AgentRow => ({
  name: agent.name,
  models: [...models],
  tools: [...tools.keys()],
  limits: agent.limits,
  definition: definition.hash,
  input: schemaOf(agent.input),
  output: schemaOf(agent.output)
})

/** Each tool once, with the agents that have it. */
const toolsOf = (agents: ReadonlyArray<Agent.Registered>): ReadonlyArray<ToolRow> => {
  const rows = new Map<string, ToolRow>()
  for (const { agent, specs, tools } of agents) {
    for (const { description, name, parameters } of specs) {
      const tool = tools.get(name)
      if (tool === undefined) continue
      const key = JSON.stringify([name, description, tool.category])
      const known = rows.get(key)
      rows.set(key, {
        name,
        description,
        category: tool.category,
        effect: tool.effect,
        approval: tool.approval !== undefined,
        agents: [...known?.agents ?? [], agent.name],
        parameters: JSON.parse(JSON.stringify(parameters))
      })
    }
  }
  return [...rows.values()].toSorted((a, b) => a.name < b.name ? -1 : 1)
}

const modelOf = (usable: ReadonlyMap<string, boolean>) => (entry: Model.Entry): ModelRow => ({
  model: entry.ref,
  usable: usable.get(entry.ref.slice(0, entry.ref.indexOf(":"))) === true,
  context: entry.context,
  maxOutput: entry.maxOutput,
  tools: entry.tools,
  vision: entry.vision,
  structuredOutput: entry.structuredOutput,
  thinking: entry.thinking,
  budget: entry.budget ?? null,
  prices: entry.prices === undefined
    ? null
    : { input: entry.prices.input, output: entry.prices.output, cacheRead: entry.prices.cacheRead ?? null }
})

/** Handlers of what there is to run. */
export const layer = HttpApiBuilder.group(Api, "catalogue", Effect.fnUntraced(function*(handlers) {
  const { agents } = yield* Conductor
  const catalog = yield* Model.Catalog
  const { providers } = yield* Model.Models
  const tools = toolsOf(agents)
  return handlers.handleAll({
    agents: () => Effect.succeed({ agents: agents.map(agentOf) }),
    tools: ({ query: { category } }) =>
      Effect.succeed({ tools: category === undefined ? tools : tools.filter((tool) => tool.category === category) }),
    models: () =>
      Effect.succeed({
        version: catalog.version,
        models: catalog.entries.filter(({ ref }) => !Model.isForbidden(ref)).map(modelOf(providers))
      })
  })
}))
