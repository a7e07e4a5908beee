/**
 * What is measured: an agent of ten steps, each a turn of the model that asks for one tool, and then its answer; and
 * beside it the same work written by hand.
 */
import { type Duration, Effect, Option, Schema, Stream } from "effect"
import { Agent, Conductor, Model, Plugin, type Run, Tool } from "../../src/index.ts"
import * as RunLog from "../../src/RunLog.ts"
import { models } from "../../src/testing.ts"

/** Turns that ask for a tool; one more answers. */
export const steps = 10

const Parameters = Schema.Struct({ city: Schema.String, days: Schema.Int, unit: Schema.Literals(["celsius", "fahrenheit"]) })
const Success = Schema.Struct({ city: Schema.String, sky: Schema.String, degrees: Schema.Array(Schema.Finite) })

const forecast = ({ city, days }: typeof Parameters.Type): typeof Success.Type => ({
  city,
  sky: "rain",
  degrees: Array.from({ length: days }, (_, day) => 12 + day)
})

const Forecast = Tool.make("forecast", {
  description: "The forecast of the weather in a city.",
  parameters: Parameters,
  success: Success,
  effect: "pure"
})

const weather = Plugin.make("weather", {
  tools: [Forecast],
  handlers: { forecast: (parameters) => Effect.succeed(forecast(parameters)) }
})

/** The agent. A budget of its own for each run, so that every request is reserved and settled. */
export const agent = Agent.make("bench", {
  instructions: "Answer in one sentence.",
  model: "scripted:bench",
  plugins: [weather],
  limits: { cost: "0.50 USD", turns: 20 }
})

/** The same agent, whose requests no budget admits. */
export const unlimited = Agent.make("unlimited", {
  instructions: "Answer in one sentence.",
  model: "scripted:bench",
  plugins: [weather],
  limits: { turns: 20 }
})

const script = (delay: Duration.Input | undefined) => {
  const wait = delay === undefined ? {} : { delay }
  const turns: Array<Model.Scripted.Turn> = Array.from({ length: steps }, (_, index) => ({
    ...wait,
    text: `Step ${index + 1}: I ask for the forecast.`,
    toolCalls: [{ name: "forecast", params: { city: "Lisbon", days: 3, unit: "celsius" } }]
  }))
  return [...turns, { ...wait, text: "It will rain in Lisbon." }]
}

/** The scripted model: it answers at once, or after a delay. */
export const providerOf = (delay?: Duration.Input): Model.Provider => Model.Scripted.make(script(delay))

/** What every runtime is built with. */
export const optionsOf = (delay?: Duration.Input) => ({ agents: [agent, unlimited], models: models(providerOf(delay)) }) as const

/** Performs so many runs, so many at the same time. */
export const conductorRuns = (runs: number, concurrency: number, performer: typeof agent = agent) =>
  Effect.forEach(Array.from({ length: runs }), () => Conductor.run(performer, "Will it rain in Lisbon?"), { concurrency, discard: true })

/** Whether runs write an audit trail: the first version of the runtime had none. */
export const isAudited = Effect.map(
  Effect.serviceOption(RunLog.Tables),
  Option.exists((tables) => tables.get<unknown>("audit_logs", () => undefined) !== undefined)
)

const request: Omit<Model.Request, "messages"> = {
  model: "bench",
  system: "Answer in one sentence.",
  tools: [],
  maxOutput: 8_192
}

const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(Parameters))
const encode = Schema.encodeUnknownEffect(Schema.toCodecJson(Success))

type Message = Run.Transcript.Message

/**
 * The same run as a loop written by hand in Effect: the stream, the decoder of the parameters, a time-out of the tool, the
 * encoder of its success, and a span for each turn and each tool. `keep` is called with what each turn came to.
 */
export const effectLoop = <E = never, R = never>(
  provider: Model.Provider,
  keep?: (turn: number, message: Message, result: Message | undefined) => Effect.Effect<unknown, E, R>
) =>
  Effect.gen(function*() {
    const messages: Array<Message> = [{ role: "user", text: "Will it rain in Lisbon?" }]
    for (let turn = 1;; turn++) {
      let text = ""
      const calls = new Map<string, { readonly name: string; arguments: string }>()
      yield* provider({ ...request, messages }).pipe(
        Stream.runForEachArray((parts) =>
          Effect.sync(() => {
            for (const part of parts) {
              if (part.type === "text-delta") text += part.delta
              if (part.type === "tool-params-start") calls.set(part.id, { name: part.name, arguments: "" })
              if (part.type === "tool-params-delta") {
                const call = calls.get(part.id)
                if (call !== undefined) call.arguments += part.delta
              }
            }
          })
        ),
        Effect.withSpan("chat bench", { kind: "client", attributes: { "gen_ai.operation.name": "chat" } }, { captureStackTrace: false })
      )
      const message: Message = {
        role: "assistant",
        model: "scripted:bench",
        parts: [
          { type: "text", text },
          ...[...calls].map(([id, call]) => ({ type: "tool-call" as const, id, ...call }))
        ]
      }
      messages.push(message)
      if (calls.size === 0) {
        if (keep !== undefined) yield* keep(turn, message, undefined)
        return text
      }
      const results: Array<Run.Transcript.ToolResult> = []
      for (const [id, call] of calls) {
        const encoded = yield* decode(JSON.parse(call.arguments)).pipe(
          Effect.flatMap((parameters) => Effect.succeed(forecast(parameters))),
          Effect.flatMap(encode),
          Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die("the tool did not finish") }),
          Effect.withSpan("execute_tool forecast", { attributes: { "gen_ai.tool.name": call.name } }, { captureStackTrace: false })
        )
        results.push({ id, name: call.name, isFailure: false, result: JSON.stringify(encoded) })
      }
      const result: Message = { role: "tool", results }
      messages.push(result)
      if (keep !== undefined) yield* keep(turn, message, result)
    }
  })

type Parts = ReadonlyArray<Stream.Success<ReturnType<Model.Provider>>>

/** What the scripted model streams, turn by turn, for a loop without Effect. */
export const partsOf = (): ReadonlyArray<Parts> => {
  const provider = providerOf()
  const messages: Array<Message> = []
  return Array.from({ length: steps + 1 }, () => {
    const parts = Effect.runSync(Stream.runCollect(provider({ ...request, messages })))
    messages.push({ role: "assistant", model: "scripted:bench", parts: [] })
    return parts
  })
}

const checked = (given: unknown): typeof Parameters.Type => {
  if (typeof given !== "object" || given === null) throw new Error("not an object")
  const { city, days, unit } = given as Record<string, unknown> // an object's fields, each checked below
  if (typeof city !== "string" || !Number.isSafeInteger(days) || (unit !== "celsius" && unit !== "fahrenheit")) throw new Error("wrong fields")
  return { city, days: Number(days), unit }
}

async function* streamed(parts: Parts) {
  yield parts
}

/** The same run as a plain async loop, its parameters checked by hand, without time-outs and spans. */
export const plainLoop = async (turns: ReadonlyArray<Parts>): Promise<string> => {
  const messages: Array<Message> = [{ role: "user", text: "Will it rain in Lisbon?" }]
  for (const turn of turns) {
    let text = ""
    const calls = new Map<string, { readonly name: string; arguments: string }>()
    for await (const parts of streamed(turn)) {
      for (const part of parts) {
        if (part.type === "text-delta") text += part.delta
        if (part.type === "tool-params-start") calls.set(part.id, { name: part.name, arguments: "" })
        if (part.type === "tool-params-delta") {
          const call = calls.get(part.id)
          if (call !== undefined) call.arguments += part.delta
        }
      }
    }
    messages.push({
      role: "assistant",
      model: "scripted:bench",
      parts: [{ type: "text", text }, ...[...calls].map(([id, call]) => ({ type: "tool-call" as const, id, ...call }))]
    })
    if (calls.size === 0) return text
    const results: Array<Run.Transcript.ToolResult> = []
    for (const [id, call] of calls) {
      const success = await Promise.resolve(forecast(checked(JSON.parse(call.arguments))))
      results.push({ id, name: call.name, isFailure: false, result: JSON.stringify(success) })
    }
    messages.push({ role: "tool", results })
  }
  throw new Error("The script is over")
}
