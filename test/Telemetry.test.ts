import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Exit, Layer, Logger, Metric, Option, Redacted, Schema, Tracer } from "effect"
import * as AiError from "effect/ai/AiError"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { Agent, Conductor, Model, Money, Plugin, Telemetry, Tool } from "../src/index.ts"
import { layer as conductor, script } from "../src/testing.ts"
import * as RunLog from "../src/RunLog.ts"
import { errorBody } from "./support/anthropic.ts"
import { conductor as cli, queries, says } from "./support/cli.ts"
import { collector, fieldsOf } from "./support/collector.ts"
import { freshPostgres } from "./support/databases.ts"
import { replay } from "./support/replay.ts"
import { makeRun } from "./support/runs.ts"

const secret = "sk-ant-api03-not-a-real-key-0123456789"

const weather = Tool.make("weather", {
  description: "The weather.",
  parameters: Schema.Struct({ city: Schema.String.annotate({ description: "Where" }) }),
  success: Schema.String,
  effect: "pure"
})
const plugin = Plugin.make("weather", {
  tools: [weather],
  handlers: { weather: ({ city }) => city === "Atlantis" ? Effect.die(new Error(`sunk with ${secret}`)) : Effect.succeed("rain") }
})
const assistant = Agent.make("assistant", { instructions: "Private instructions.", model: "anthropic:claude-haiku-4-5", plugins: [plugin] })

/** Two calls, one of which breaks, after an attempt that fails with words that are nobody's business. */
const model = () => {
  let asked = 0
  const failure = AiError.make({ module: "Test", method: "stream", reason: new AiError.RateLimitError({ metadata: { anthropic: { description: `slow down, ${secret}` } } }) })
  return script(() =>
    [
      { fail: failure },
      {
        toolCalls: [{ name: "weather", params: { city: "Lisbon" } }, { name: "weather", params: { city: "Atlantis" } }],
        servedModel: "claude-haiku-4-5-20251001",
        usage: { uncached: 10, cacheRead: 70, cacheWrite: 15, cacheWriteHour: 5, output: 40, reasoning: 25 },
        metadata: { cost: "0.0125", requestId: "req_7", nativeFinish: "tool_use", host: "upstream" }
      },
      { text: "It will rain, privately." }
    ][asked++] ?? "over")
}

/** A tracer that keeps what it is told. */
const recorder = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const layer = Layer.succeed(Tracer.Tracer, Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  }))
  const named = (name: string) => spans.filter((span) => span.name === name)
  return { spans, layer, named, of: (name: string) => named(name).map((span) => Object.fromEntries(span.attributes)) }
}

const asked = Conductor.run(assistant, "Will it rain in private?", { session: "talk" })

/** A run with everything around it, and the metrics that it leaves. */
const observed = Effect.gen(function*() {
  const tracer = recorder()
  const text = yield* Effect.gen(function*() {
    yield* Effect.provide(asked, conductor({ agents: [assistant], model: model() }))
    return yield* Telemetry.prometheus
  }).pipe(Effect.provide(tracer.layer), Effect.provideService(Metric.MetricRegistry, new Map()))
  return { tracer, text }
})

/** All that the spans of agents, models and tools tell. */
const told = ({ spans }: ReturnType<typeof recorder>) =>
  spans.filter((span) => span.attributes.has("gen_ai.operation.name")).map((span) => JSON.stringify([
    span.name, [...span.attributes], span.events, span.status._tag === "Ended" && Exit.isFailure(span.status.exit) ? String(span.status.exit.cause) : ""
  ])).join("\n")

/** The settings of a process. */
const settings = (env: Readonly<Record<string, string>>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

const parentOf = (span: Tracer.NativeSpan | undefined) => span === undefined ? undefined : Option.getOrUndefined(span.parent)

describe("Spans", () => {
  it.live("follow the conventions: the agent, below it each attempt and each execution of a tool, with what they cost", () =>
    Effect.gen(function*() {
      const { tracer } = yield* observed
      const [agent] = tracer.named("invoke_agent assistant")
      assert.deepInclude(tracer.of("invoke_agent assistant")[0], {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "assistant",
        "gen_ai.conversation.id": "talk",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-4-5",
        "conductor.org": "local",
        "conductor.run.status": "completed",
        "conductor.run.turns": 2,
        "gen_ai.usage.input_tokens": 110,
        "gen_ai.usage.output_tokens": 45
      })
      const chats = tracer.named("chat claude-haiku-4-5")
      assert.strictEqual(chats.length, 3)
      for (const span of [...chats, ...tracer.named("execute_tool weather")]) assert.strictEqual(parentOf(span), agent)
      assert.deepStrictEqual(chats.map((span) => [span.kind, span.status._tag]), [["client", "Ended"], ["client", "Ended"], ["client", "Ended"]])
      const [failed, first, second] = tracer.of("chat claude-haiku-4-5")
      assert.deepInclude(failed, { "conductor.attempt": 1, "conductor.turn": 1, "error.type": "RateLimitError", "conductor.cost_usd": 0, "conductor.cost_source": "priced" })
      assert.deepInclude(first, {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-haiku-4-5",
        "gen_ai.request.max_tokens": 8192,
        "gen_ai.response.model": "claude-haiku-4-5-20251001",
        "gen_ai.response.id": "req_7",
        "gen_ai.response.finish_reasons": ["tool_use"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 70,
        "gen_ai.usage.cache_creation.input_tokens": 20,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 25,
        "conductor.attempt": 2,
        "conductor.cost_usd": 0.0125,
        "conductor.cost_source": "reported",
        "conductor.host": "upstream"
      })
      assert.deepInclude(second, { "conductor.turn": 2, "gen_ai.response.model": "claude-haiku-4-5", "gen_ai.response.finish_reasons": ["stop"], "conductor.cost_source": "priced" })
      assert.match(String(second?.["conductor.price_list"]), /./)
      const tools = tracer.of("execute_tool weather")
      assert.deepInclude(tools[0], { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather", "gen_ai.tool.call.id": "call_1_1", "gen_ai.tool.type": "function", "conductor.tool.effect": "pure" })
      assert.deepStrictEqual(tools.map((tool) => tool["error.type"]), [undefined, "defect"])
      // What asked for the run is above it.
      assert.strictEqual(parentOf(agent)?._tag === "Span" ? parentOf(agent) : undefined, tracer.named("Runs.start")[0])
    }))

  it.live("tell nothing of what was said, and no secret", () =>
    Effect.gen(function*() {
      const { text, tracer } = yield* observed
      const spans = told(tracer)
      for (const part of [spans, text]) {
        assert.notInclude(part, secret)
        assert.notMatch(part, /private|Lisbon|Atlantis|\brain\b/i)
      }
      assert.include(spans, "RateLimitError")
    }))

  for (const [ref, variables] of [
    ["anthropic:claude-haiku-4-5", { key: "ANTHROPIC_API_KEY", url: "ANTHROPIC_BASE_URL" }],
    ["openrouter:deepseek/deepseek-chat", { key: "OPENROUTER_API_KEY", url: "OPENROUTER_BASE_URL" }],
    ["google:gemini-2.5-flash", { key: "GEMINI_API_KEY", url: "GEMINI_BASE_URL" }]
  ] as const) {
    it.live(`tell nothing of the key that ${ref} was asked with, not even where it is told back`, () =>
      Effect.gen(function*() {
        const tracer = recorder()
        const server = yield* replay({
          status: 401,
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ error: { type: "authentication_error", status: "UNAUTHENTICATED", code: 401, message: `no such key: ${secret}` } })
        })
        const models = Model.Models.layer.pipe(
          Layer.provideMerge(Model.Catalog.layerShipped),
          Layer.orDie,
          Layer.provide(settings({ [variables.key]: secret, [variables.url]: server.url }))
        )
        const asker = Agent.make("asker", { instructions: "", model: ref })
        const error = yield* Effect.flip(Conductor.run(asker, "Hello.")).pipe(
          Effect.provide(Conductor.layerMemory({ agents: [asker], models })),
          Effect.provide(tracer.layer)
        )
        assert.strictEqual(error._tag, "ModelFailed")
        assert.strictEqual(server.received.length, 1)
        assert.include(JSON.stringify(server.received[0]?.headers), secret)
        assert.isUndefined(server.received[0]?.headers["traceparent"])
        assert.strictEqual(tracer.of(`chat ${ref.slice(ref.indexOf(":") + 1)}`)[0]?.["error.type"], "AuthenticationError")
        assert.notInclude(told(tracer), secret)
      }))
  }

  it.live("end with the bill where an attempt was broken off", () =>
    Effect.gen(function*() {
      const tracer = recorder()
      const began = yield* Deferred.make<void>()
      const hanging = script(() => Effect.as(Deferred.succeed(began, undefined), { text: "Never", hang: true }))
      yield* Effect.gen(function*() {
        const run = yield* Conductor.start(assistant, "Wait.")
        yield* Deferred.await(began)
        yield* Conductor.cancel(run)
        yield* Effect.exit(Conductor.result(run))
      }).pipe(Effect.provide(conductor({ agents: [assistant], model: hanging })), Effect.provide(tracer.layer))
      const [chat, ...more] = tracer.of("chat claude-haiku-4-5")
      assert.deepInclude(chat, { "error.type": "Cancelled", "conductor.cost_source": "bound" })
      assert.deepStrictEqual(more, [])
      assert.strictEqual(tracer.of("invoke_agent assistant")[0]?.["conductor.run.status"], "cancelled")
      assert.deepStrictEqual(tracer.spans.filter((span) => span.status._tag !== "Ended").map((span) => span.name), [])
    }))
})

describe("Metrics", () => {
  it.live("count tokens, time, dollars, attempts, tools and runs, by names that do not grow with organisations", () =>
    Effect.gen(function*() {
      const { text } = yield* observed
      const value = (name: string, labels: ReadonlyArray<string>) =>
        text.split("\n").find((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))?.split(" ").at(-1)
      const haiku = ["gen_ai_request_model=\"claude-haiku-4-5\"", "gen_ai_provider_name=\"anthropic\""]
      assert.strictEqual(value("gen_ai_client_token_usage_sum", [...haiku, "gen_ai_token_type=\"input\""]), "110")
      assert.strictEqual(value("gen_ai_client_token_usage_sum", [...haiku, "gen_ai_token_type=\"output\""]), "45")
      assert.strictEqual(value("gen_ai_client_operation_duration_count", [...haiku, "error_type=\"RateLimitError\""]), "1")
      assert.strictEqual(value("conductor_cost_usd_total", ["provider=\"anthropic\"", "model=\"claude-haiku-4-5\"", "source=\"reported\""]), "0.0125")
      assert.strictEqual(value("conductor_model_attempts_total", ["outcome=\"success\""]), "2")
      assert.strictEqual(value("conductor_model_attempts_total", ["outcome=\"RateLimitError\""]), "1")
      assert.strictEqual(value("conductor_tool_calls_total", ["outcome=\"success\"", "tool=\"weather\""]), "1")
      assert.strictEqual(value("conductor_tool_calls_total", ["outcome=\"defect\""]), "1")
      assert.strictEqual(value("conductor_runs_total", ["status=\"completed\""]), "1")
      assert.match(text, /# TYPE conductor_cost_usd_total counter/)
      assert.match(text, /# TYPE gen_ai_client_operation_duration histogram/)
      assert.notMatch(text, /org|local|session|talk/)
    }))

  it.live("show the runs under way, and the refusals of budgets", () =>
    Effect.gen(function*() {
      const [during, after] = yield* Effect.gen(function*() {
        const run = yield* Conductor.start(assistant, "Wait.")
        const during = yield* Telemetry.prometheus
        yield* Conductor.cancel(run)
        yield* Effect.exit(Conductor.result(run))
        yield* Effect.exit(Conductor.run(assistant, "Too dear.", { limits: { cost: Money.usd("0.000001") } }))
        return [during, yield* Telemetry.prometheus] as const
      }).pipe(
        Effect.provide(conductor({ agents: [assistant], model: script([{ text: "Never", hang: true }]) })),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.match(during, /^conductor_runs_active 1$/m)
      assert.match(after, /^conductor_runs_active 0$/m)
      assert.match(after, /^conductor_budget_refusals_total\{reason="BudgetExceeded",scope="run"\} 1$/m)
      assert.match(after, /^conductor_runs_total\{status="failed"\} 1$/m)
      assert.match(after, /^conductor_runs_total\{status="cancelled"\} 1$/m)
    }))
})

describe("Metrics of the log", () => {
  it.effect("count what is written, and nothing that was refused", () =>
    Effect.gen(function*() {
      const text = yield* Effect.gen(function*() {
        const log = yield* RunLog.RunLog
        const run = makeRun()
        const begin = run.append(run.started())
        yield* log.append(begin)
        const budget = { limit: Money.usd("1"), spent: Money.usd("0.8"), reserved: Money.usd("0.1") }
        const warned = { ...run.turnStarted(), warnings: [{ scope: `org:${run.org}`, ...budget }, { scope: `run:${run.run}`, ...budget }] }
        yield* log.append(run.append(warned, run.turnCompleted(), run.completed()))
        assert.strictEqual((yield* Effect.flip(log.append(begin)))._tag, "Fenced")
        const bogus = makeRun()
        bogus.append(bogus.started())
        assert.strictEqual((yield* Effect.flip(log.append(bogus.append(bogus.completed()))))._tag, "Fenced")
        return yield* Telemetry.prometheus
      }).pipe(
        Effect.provide(RunLog.RunLog.layerMemory([], []).pipe(Layer.provide(Telemetry.layerMetrics), Layer.provide(SecureRandom.layerWebCrypto))),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.match(text, /^conductor_runs_total\{status="completed"\} 1$/m)
      assert.match(text, /^conductor_budget_warnings_total\{scope="org"\} 1$/m)
      assert.match(text, /^conductor_budget_warnings_total\{scope="run"\} 1$/m)
    }))
})

describe("OTLP", () => {
  it.live("exports spans, metrics and logs to a collector when the layer closes, with the settings of OpenTelemetry", () =>
    Effect.gen(function*() {
      const { resource, sent, spans, url } = yield* collector()
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: url,
        OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=acme",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test"
      }
      yield* Effect.gen(function*() {
        yield* Effect.logError(`It broke with ${secret} on ${url}`)
        yield* Effect.ignore(Effect.withSpan(Effect.fail(new Error("the private prompt")), "outer"))
        yield* asked
      }).pipe(
        Effect.provide(conductor({ agents: [assistant], model: model() }).pipe(
          Layer.provideMerge(Telemetry.layer),
          Layer.provideMerge(Logger.layer([])),
          Layer.provide(settings(env))
        )),
        Effect.provideService(Metric.MetricRegistry, new Map())
      )
      assert.deepStrictEqual([...new Set(sent.map(({ path }) => path))].toSorted(), ["/v1/logs", "/v1/metrics", "/v1/traces"])
      assert.deepStrictEqual([...new Set(sent.map(({ headers }) => `${headers["x-tenant"]} ${headers["content-type"]}`))], ["acme application/json"])
      assert.deepInclude(resource(), { "service.name": "conductor", "deployment.environment.name": "test" })
      const agent = spans().find((span) => span.name === "invoke_agent assistant")
      const chats = spans().filter((span) => span.name === "chat claude-haiku-4-5")
      assert.strictEqual(chats.length, 3)
      for (const chat of chats) {
        assert.strictEqual(chat.parentSpanId, agent?.spanId)
        assert.strictEqual(chat.traceId, agent?.traceId)
        assert.strictEqual(chat.kind, 3)
      }
      assert.deepStrictEqual(chats.map((chat) => chat.status.code), [2, 1, 1])
      assert.deepInclude(fieldsOf(chats[1]?.attributes ?? []), { "conductor.cost_usd": 0.0125, "gen_ai.usage.input_tokens": 100, "gen_ai.response.finish_reasons": ["tool_use"] })
      const all = sent.map(({ body }) => body).join("\n")
      assert.include(all, "conductor_cost_usd_total")
      assert.include(all, "It broke with [REDACTED] on ")
      assert.notInclude(all, secret)
      assert.notInclude(all, "private")
      assert.deepStrictEqual(spans().filter((span) => span.name === "outer").map((span) => span.status), [{ code: 2 }])
    }))

  it.live("does nothing without an endpoint, and says in one sentence what is wrong with a setting", () =>
    Effect.gen(function*() {
      const built = (env: Readonly<Record<string, string>>) =>
        Effect.exit(Effect.scoped(Layer.build(Telemetry.layer.pipe(Layer.provide(settings(env))))))
      assert.isTrue(Exit.isSuccess(yield* built({})))
      for (const env of [
        { OTEL_EXPORTER_OTLP_ENDPOINT: "not a url" },
        { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
        { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" }
      ]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Telemetry.layer.pipe(Layer.provide(settings(env))))))
        assert.strictEqual(error._tag, "TelemetryInvalid")
        assert.match(error.message, /^Telemetry cannot be exported \([^\n]+\): correct the settings that begin with OTEL_, or set OTEL_SDK_DISABLED=true\.$/)
      }
    }))

  for (const [what, answer] of [["is not there", undefined], ["says nothing", "silent"], ["fails", 500]] as const) {
    it.live(`neither fails nor holds up a run where the collector ${what}`, () =>
      Effect.gen(function*() {
        const url = answer === undefined ? "http://127.0.0.1:9" : (yield* collector(answer)).url
        const since = performance.now()
        const { text } = yield* Effect.provide(asked, conductor({ agents: [assistant], model: model() }).pipe(
          Layer.provideMerge(Telemetry.layer),
          Layer.provide(settings({ OTEL_EXPORTER_OTLP_ENDPOINT: url }))
        ))
        assert.strictEqual(text, "It will rain, privately.")
        assert.isBelow(performance.now() - since, 5_000)
      }))
  }
})

describe("conductor run", () => {
  it.live("exports what it did, and nothing of the key, when the provider refuses it", () =>
    Effect.gen(function*() {
      const { sent, spans, url } = yield* collector()
      const server = yield* replay(
        queries("SELECT 1"),
        says("One."),
        { status: 401, headers: { "content-type": "application/json" }, body: errorBody("authentication_error", `invalid x-api-key ${secret}`) }
      )
      const env = { DATABASE_URL: Redacted.value((yield* freshPostgres()).url), ANTHROPIC_API_KEY: secret, ANTHROPIC_BASE_URL: server.url, OTEL_EXPORTER_OTLP_ENDPOINT: url }
      const first = yield* cli(["run", "How many?"], { env })
      assert.deepStrictEqual([first.code, first.err], [0, ""])
      const second = yield* cli(["run", "Again?"], { env })
      assert.strictEqual(second.code, 1)
      const chats = spans().filter((span) => span.name.startsWith("chat "))
      assert.strictEqual(chats.length, 3)
      assert.isAbove(Number(fieldsOf(chats[0]?.attributes ?? [])["conductor.cost_usd"]), 0)
      assert.strictEqual(fieldsOf(chats[2]?.attributes ?? [])["error.type"], "AuthenticationError")
      assert.notInclude(sent.map(({ body }) => body).join("\n"), secret)
    }))

  it.live("runs all the same where telemetry cannot be exported, and says so", () =>
    Effect.gen(function*() {
      const server = yield* replay(says("One."))
      const env = { DATABASE_URL: Redacted.value((yield* freshPostgres()).url), ANTHROPIC_API_KEY: secret, ANTHROPIC_BASE_URL: server.url, OTEL_EXPORTER_OTLP_ENDPOINT: "nowhere" }
      const ran = yield* cli(["run", "How many?"], { env })
      assert.strictEqual(ran.code, 0)
      assert.match(ran.err, /^Telemetry cannot be exported \([^\n]+\): [^\n]+\n$/)
    }))
})
