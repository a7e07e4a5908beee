import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import * as Money from "../Money.ts"
import { AgentName, DefinitionHash, EffectClass, Limits, ModelRef } from "../Run.ts"
import { Authorization, Needs } from "./Authorization.ts"
import { text } from "./Common.ts"

/** An agent that runs can be started of. */
export const AgentRow = Schema.Struct({
  name: AgentName,
  /** The model that is asked first, and those after it where it cannot answer. */
  models: Schema.Array(ModelRef),
  tools: Schema.Array(Schema.String),
  limits: Limits,
  definition: DefinitionHash,
  /** JSON Schema of what it takes and what it answers; null for text. */
  input: Schema.Json,
  output: Schema.Json
})
export type AgentRow = typeof AgentRow.Type

/** A tool of some agents. */
export const ToolRow = Schema.Struct({
  name: Schema.String,
  description: Schema.String,
  category: Schema.String,
  /** How it treats the world, and so how it is recovered after a crash. */
  effect: EffectClass,
  /** True where a person may have to approve a call. */
  approval: Schema.Boolean,
  agents: Schema.Array(AgentName),
  /** JSON Schema. */
  parameters: Schema.Json
})
export type ToolRow = typeof ToolRow.Type

/** A model of the catalogue. Prices are dollars per million tokens as decimal strings. */
export const ModelRow = Schema.Struct({
  model: ModelRef,
  /** Whether there is a key for its provider here. */
  usable: Schema.Boolean,
  context: Schema.Int,
  maxOutput: Schema.Int,
  tools: Schema.Boolean,
  vision: Schema.Boolean,
  structuredOutput: Schema.Boolean,
  thinking: Schema.String,
  budget: Schema.NullOr(Schema.String),
  prices: Schema.NullOr(Schema.Struct({ input: Money.FromString, output: Money.FromString, cacheRead: Schema.NullOr(Money.FromString) }))
})
export type ModelRow = typeof ModelRow.Type

/** What there is to run. */
export const Catalogue = HttpApiGroup.make("catalogue").add(
  HttpApiEndpoint.get("agents", "/v1/agents", {
    success: Schema.Struct({ agents: Schema.Array(AgentRow) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List the agents"),
  HttpApiEndpoint.get("tools", "/v1/tools", {
    query: { category: Schema.optionalKey(text(100)) },
    success: Schema.Struct({ tools: Schema.Array(ToolRow) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List the tools of the agents"),
  HttpApiEndpoint.get("models", "/v1/models", {
    success: Schema.Struct({ version: Schema.String, models: Schema.Array(ModelRow) })
  }).annotate(Needs, "runs:read").annotate(OpenApi.Summary, "List the models of the catalogue")
).middleware(Authorization)
