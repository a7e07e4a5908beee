import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import * as Agent from "../Agent.ts"
import * as Plugin from "../Plugin.ts"
import { dealersAgent, dealersPlugin } from "../plugins/demo.ts"
import * as Tool from "../Tool.ts"
import { SqlQuery } from "../Tools.ts"
import { usage } from "./Failure.ts"

const sqlQuery = SqlQuery.make()

/** The core tools, each as a plugin of its own, so that `--tools` can pick among them. */
const core = [
  Plugin.make("sql_query", { tools: [sqlQuery.tool], handlers: Effect.map(sqlQuery.handler, (handler) => ({ sql_query: handler })) })
] as const

type Core = (typeof core)[number]

/** The names of the core tools. */
export const coreTools: ReadonlyArray<string> = core.map((plugin) => plugin.name)

/** The names of the agents. */
export const agentNames: ReadonlyArray<string> = ["assistant", "dealers"]

const instructions = "You are a careful assistant. Answer the question that you are asked, in plain words and no more of them than it " +
  "needs. Look up with your tools what you do not know, call several at once where they do not depend on each other, and never " +
  "make up a fact or a number. If something cannot be found out, say so."

/** The agents with fewer tools have names of their own, because a run goes on only with the tools that it was started with. */
const nameOf = (tools: ReadonlyArray<string>): string =>
  tools.length === core.length ? "assistant" : `assistant[${tools.join(",")}]`

/** The general agent with some of the core tools. */
export const assistant = (model: string, plugins: ReadonlyArray<Core> = core) =>
  Agent.make(nameOf(plugins.map((plugin) => plugin.name)), { instructions, model, plugins })

/** An agent that the program can have: it takes and gives text, and the runtime brings all that its tools need. */
export interface Known extends Agent.Agent<string, string, ReadonlyArray<Plugin.Plugin<ReadonlyArray<Tool.Any>, never, SqlClient>>> {}

/** The core tools of a list such as `sql_query,web_fetch`; all without one. */
export const pick = Effect.fnUntraced(function*(list: string | undefined) {
  if (list === undefined) return core
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "")
  const unknown = names.find((name) => !coreTools.includes(name))
  if (unknown !== undefined) return yield* usage(`There is no tool "${unknown}": choose among ${coreTools.join(", ")}.`)
  return core.filter((plugin) => names.includes(plugin.name))
})

/** The agent under whose name a run was started by this program; nothing for the agents of other programs. */
export const agentOfRun = (name: string, model: string): Known | undefined => {
  if (name === "dealers") return dealersAgent(model)
  const tools = name === "assistant" ? coreTools : /^assistant\[(.*)\]$/.exec(name)?.[1]?.split(",")
  if (tools === undefined || tools.some((tool) => tool !== "" && !coreTools.includes(tool))) return undefined
  return assistant(model, core.filter((plugin) => tools.includes(plugin.name)))
}

/** The agent of the program under whose name a run was started, with a model; nothing for the agents of other programs. */
export const Agents = Context.Reference<(name: string, model: string) => Known | undefined>("conductor-ai/Cli/Agents", {
  defaultValue: () => agentOfRun
})

/** The agent of a name, with a model and perhaps fewer tools. */
export const agentOf = Effect.fnUntraced(function*(name: string, model: string, tools: string | undefined) {
  if (name === "assistant") return assistant(model, yield* pick(tools))
  const agent = (yield* Agents)(name, model)
  if (agent === undefined) return yield* usage(`There is no agent "${name}": choose ${agentNames.join(" or ")}.`)
  if (tools !== undefined) return yield* usage(`The agent "${name}" has its own tools: leave --tools out, or use --agent assistant.`)
  return agent
})

/** A tool as lists show it. */
export interface ToolRow {
  readonly name: string
  readonly category: string
  readonly effect: string
  readonly agent: string
  readonly description: string
}

const rowsOf = (agent: string, plugins: ReadonlyArray<Plugin.Any>): ReadonlyArray<ToolRow> =>
  plugins.flatMap((plugin) =>
    plugin.tools.map((tool) => ({
      name: tool.name,
      category: Context.get(tool.annotations, Tool.Category),
      effect: Context.get(tool.annotations, Tool.Class),
      agent,
      description: tool.description ?? ""
    }))
  )

/** Every tool of the program's agents. */
export const toolRows: ReadonlyArray<ToolRow> = [...rowsOf("assistant", core), ...rowsOf("dealers", [dealersPlugin])]
