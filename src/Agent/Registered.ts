import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as AiTool from "effect/ai/Tool"
import * as SqlClient from "effect/sql/SqlClient"
import type * as Agent from "../Agent.ts"
import * as Model from "../Model.ts"
import * as Plugin from "../Plugin.ts"
import { DefinitionHash, type EffectClass, ModelRef } from "../Run.ts"
import * as Tool from "../Tool.ts"

/** An agent cannot be registered. */
export class RegistrationFailed extends Schema.TaggedError<RegistrationFailed>()("RegistrationFailed", {
  agent: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `The agent "${this.agent}" cannot be registered: ${this.problem}`
  }
}

/** A tool with everything that running it takes, built once. */
export interface RegisteredTool {
  readonly name: string
  readonly plugin: string
  readonly category: string
  readonly effect: EffectClass
  readonly timeout: Duration.Duration
  readonly retry: Schedule.Schedule<unknown, unknown> | undefined
  /** When a person has to approve a call, and the rule's name; nothing where no call needs it. */
  readonly approval: RegisteredApproval | undefined
  /** True where a failure of the tool ends the run. */
  readonly fatal: boolean
  readonly decode: (parameters: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeParameters: (parameters: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeSuccess: (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeFailure: (error: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly decodeFailure: (encoded: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  /**
   * Runs the handler; `services` are what runs of this process are performed with, `sql` is the transaction's client, for a
   * `transactional` tool.
   */
  readonly handle: (
    parameters: unknown,
    call: Tool.Call["Service"],
    services: Context.Context<never>,
    sql?: SqlClient.SqlClient
  ) => Effect.Effect<unknown, unknown>
  /** Asks the other side whether a call happened, for a `reconcilable` tool. */
  readonly reconcile: ((parameters: unknown, call: Tool.Call["Service"]) => Effect.Effect<Tool.Reconciliation<unknown>, unknown>) | undefined
}

/** When a call needs approval, how long a request for it is good, and what the rule is called. */
export interface RegisteredApproval {
  readonly when: (parameters: unknown, call: string) => Effect.Effect<boolean>
  readonly expires: Duration.Duration
  readonly policy: string
}

/** What a model is told and what its tools promise, and the hash that names it. */
export interface Definition {
  readonly hash: DefinitionHash
  readonly text: string
}

/** An agent that can be run: its handlers are built, its schemas compiled. */
export interface Registered {
  readonly agent: Agent.Any
  /** The model that is asked first. */
  readonly model: ModelRef
  /** All of its models, in the order in which they are asked. */
  readonly models: Model.Chain
  /**
   * The model for which the definition writes the schema of the answer: the first that the agent names, and none of the
   * catalogue's where it leaves that to it, so that the definition stays what it is whatever is chosen.
   */
  readonly writtenFor: ModelRef
  readonly definition: Definition
  readonly specs: ReadonlyArray<Model.ToolSpec>
  readonly tools: ReadonlyMap<string, RegisteredTool>
  /** How the answer is asked of a model and read again; nothing for an agent that answers in text. */
  readonly output: ((model: ModelRef) => Output) | undefined
}

/** The agent with some of its tools only: others are unknown to the model, and calls of them are refused. */
export const withTools = (registered: Registered, names: ReadonlyArray<string> | undefined): Registered =>
  names === undefined ? registered : {
    ...registered,
    specs: registered.specs.filter(({ name }) => names.includes(name)),
    tools: new Map([...registered.tools].filter(([name]) => names.includes(name)))
  }

/** A structured answer as one provider is asked for it. */
export interface Output {
  readonly name: string
  readonly schema: object
  readonly decode: (text: string) => Effect.Effect<unknown, Schema.SchemaError>
}

const approvalOf = ({ annotations, needsApproval }: AiTool.Any): RegisteredApproval | undefined => {
  if (needsApproval === undefined || needsApproval === false) return undefined
  return {
    expires: Context.get(annotations, Tool.ApprovalTime),
    policy: Context.get(annotations, Tool.ApprovalPolicy),
    when: needsApproval === true ? () => Effect.succeed(true) : (parameters, toolCallId) =>
      Effect.suspend(() => {
        const needed = needsApproval(parameters, { toolCallId, messages: [] })
        return typeof needed === "boolean" ? Effect.succeed(needed) : needed
        // A rule that breaks must not let a call through.
      }).pipe(Effect.catchCause((cause) => Effect.as(Effect.logWarning("The rule of an approval broke, so approval is asked for", cause), true)))
  }
}

/** A handler may not take longer than this within a transaction, which holds a connection. */
const transactionTime = Duration.seconds(5)

const registerTool = (plugin: Plugin.Any, tool: Tool.Any, handlers: Context.Context<never>): RegisteredTool => {
  // `toLayer` puts each handler under the tool's id; a tool without one is refused before this is called.
  const { context, handler } = handlers.mapUnsafe.get(tool.id) as AiTool.Handler<string>
  const annotations = tool.annotations
  const effect = Context.get(annotations, Tool.Class)
  const timeout = Context.get(annotations, Tool.Timeout)
  const check = handlers.mapUnsafe.get(Plugin.checkKey(tool)) as Plugin.Check<Tool.Any> | undefined // what `Plugin.make` put there
  const given = new WeakMap<Context.Context<never>, ReadonlyArray<readonly [key: string, service: unknown]>>()
  /** The services of the handler that are not those of the runs: they are few, and merging the whole contexts on each call is dear. */
  const ownOf = (services: Context.Context<never>) => {
    const known = given.get(services)
    if (known !== undefined) return known
    const own = [...context.mapUnsafe].filter(([key, service]) => services.mapUnsafe.get(key) !== service)
    given.set(services, own)
    return own
  }
  return {
    name: tool.name,
    plugin: plugin.name,
    category: Context.get(annotations, Tool.Category),
    effect,
    timeout: effect === "transactional" ? Duration.min(timeout, transactionTime) : timeout,
    retry: effect === "unsafe" ? undefined : Context.get(annotations, Tool.Retry),
    approval: approvalOf(tool),
    fatal: tool.failureMode === "error",
    decode: decoder(tool.parametersSchema),
    encodeParameters: encoder(tool.parametersSchema),
    encodeSuccess: encoder(tool.successSchema),
    encodeFailure: encoder(tool.failureSchema),
    decodeFailure: decoder(tool.failureSchema),
    handle: (parameters, call, services, sql) => {
      const preliminary = { toolCallId: call.id, preliminary: (value: unknown) => call.progress(JSON.stringify(value) ?? "") }
      const own = ownOf(services)
      return Effect.updateContext(handler(parameters, preliminary), (fiber: Context.Context<never>) => {
        let mine = Context.add(fiber, Tool.Call, call)
        for (const [key, service] of own) mine = Context.addUnsafe(mine, key, service)
        return sql === undefined ? mine : Context.add(mine, SqlClient.SqlClient, sql)
      })
    },
    reconcile: check === undefined ? undefined : (parameters, call) =>
      Effect.updateContext(
        // The parameters are decoded by this very tool's schema.
        check(parameters as never),
        (fiber: Context.Context<never>) => Context.merge(fiber, Context.add(context, Tool.Call, call))
      )
  }
}

// Schemas of tools need no services: `Tool.make` has no place for them, and a tool of `effect/ai` that does is refused by its type.
const decoder = (schema: Schema.Constraint) =>
  Schema.decodeUnknownEffect(Schema.toCodecJson(schema as Schema.Codec<unknown>)) as RegisteredTool["decode"]
const encoder = (schema: Schema.Constraint) =>
  Schema.encodeUnknownEffect(Schema.toCodecJson(schema as Schema.Codec<unknown>)) as RegisteredTool["encodeSuccess"]

/** JSON without the code fence that models put around it which were asked for it in words; no JSON begins like that. */
const unfenced = (text: string): string => /^\s*```(?:json)?[^\S\n]*\n([\s\S]*?)\s*```\s*$/i.exec(text)?.[1] ?? text

const outputOf = (name: string, schema: Schema.ConstraintCodec<unknown, unknown>) => {
  const known = new Map<string, Output>()
  return (model: ModelRef): Output => {
    const provider = model.slice(0, model.indexOf(":"))
    const found = known.get(provider)
    if (found !== undefined) return found
    const { codec, jsonSchema } = Model.structuredOutput(model)(schema)
    const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(codec))
    const output: Output = { name, schema: jsonSchema, decode: (text) => decode(unfenced(text)) }
    known.set(provider, output)
    return output
  }
}

const describe = (agent: Agent.Any, specs: ReadonlyArray<Model.ToolSpec>, tools: ReadonlyMap<string, RegisteredTool>, output: object | undefined): Definition => {
  const text = JSON.stringify({
    agent: agent.name,
    instructions: agent.instructions,
    tools: specs.map((spec) => ({ ...spec, effect: tools.get(spec.name)?.effect })),
    output: output ?? null
  })
  return { text, hash: DefinitionHash.make(createHash("sha256").update(text).digest("hex")) }
}

const anyModel = ModelRef.make("any:model")

/**
 * Builds an agent's handlers and compiles its schemas, once for the life of the runtime, to be asked of these models. Layers
 * are shared through the memo map, so that a plugin of several agents is built once.
 */
export const register = <A extends Agent.Any>(agent: A, models: Model.Chain, memo: Layer.MemoMap): Effect.Effect<
  Registered,
  Agent.Error<A> | RegistrationFailed,
  Agent.Services<A>
> =>
  Effect.gen(function*() {
    const [model] = models
    const writtenFor = Model.namedFirst(agent.model) ?? anyModel
    const scope = yield* Effect.scope
    const tools = new Map<string, RegisteredTool>()
    const specs: Array<Model.ToolSpec> = []
    for (const plugin of agent.plugins) {
      const handlers = yield* Layer.buildWithMemoMap(plugin.layer, memo, scope)
      for (const tool of plugin.tools) {
        const clash = tools.get(tool.name)
        if (clash !== undefined) {
          const problem = `the plugins "${clash.plugin}" and "${plugin.name}" both have a tool named "${tool.name}"; rename one.`
          return yield* new RegistrationFailed({ agent: agent.name, problem })
        }
        if (!handlers.mapUnsafe.has(tool.id)) {
          const problem = `the tool "${tool.name}" of the plugin "${plugin.name}" has no handler; add one.`
          return yield* new RegistrationFailed({ agent: agent.name, problem })
        }
        if (Context.get(tool.annotations, Tool.Class) === "reconcilable" && !handlers.mapUnsafe.has(Plugin.checkKey(tool))) {
          const problem = `the tool "${tool.name}" of the plugin "${plugin.name}" is reconcilable and has no check; give one to Plugin.make, in reconcile.`
          return yield* new RegistrationFailed({ agent: agent.name, problem })
        }
        tools.set(tool.name, registerTool(plugin, tool, handlers as Context.Context<never>))
        specs.push({ name: tool.name, description: tool.description ?? "", parameters: AiTool.getJsonSchema(tool) })
      }
    }
    const schema = agent.output
    const output = schema === undefined ? undefined : outputOf(agent.name, schema)
    const definition = describe(agent, specs, tools, output?.(writtenFor).schema)
    return { agent, model, models, writtenFor, definition, specs, tools, output }
    // The services of `agent.plugins` and the errors of building them are those of `A`; the loop over plugins loses that.
  }) as never

