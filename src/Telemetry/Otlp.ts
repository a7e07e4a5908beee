import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Otlp from "effect/observability/Otlp"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import { redactText } from "../AuditLog.ts"

/** How many milliseconds the last export of each signal may take where `OTEL_EXPORTER_OTLP_TIMEOUT` does not say. */
const lastExport = 1_000

/** A value of the export with every text in it without what looks like a secret. */
const clean = (value: unknown): unknown => {
  if (typeof value === "string") return redactText(value)
  if (Array.isArray(value)) return value.map(clean)
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value)
    ? Object.fromEntries(Object.entries(value).map(([name, part]) => [name, clean(part)]))
    : value
}

type Traces = Parameters<OtlpSerialization.OtlpSerialization["Service"]["traces"]>[0]
type Span = Traces["resourceSpans"][number]["scopeSpans"][number]["spans"][number]

/** What kind of error ended a span, without its sentence, which may tell of prompts and answers. */
const bare = (span: Span): Span => ({
  ...span,
  status: span.status.message !== undefined && /^[\w-]+$/.test(span.status.message) ? span.status : { code: span.status.code },
  events: span.events.map((event) =>
    event.name === "exception" ? { ...event, attributes: event.attributes.filter(({ key }) => key === "exception.type") } : event)
})

const bareTraces = ({ resourceSpans }: Traces): Traces => ({
  resourceSpans: resourceSpans.map((resource) => ({
    ...resource,
    scopeSpans: resource.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map(bare) }))
  }))
})

/** The format, with secrets taken out of whatever is exported: logs tell what others said. */
const redacting = (format: Layer.Layer<OtlpSerialization.OtlpSerialization>) =>
  Layer.effect(OtlpSerialization.OtlpSerialization, Effect.map(OtlpSerialization.OtlpSerialization, ({ logs, metrics, traces }) => ({
    metrics,
    // What is cleaned has the shape that it had.
    traces: (data) => traces(clean(bareTraces(data)) as typeof data),
    logs: (data) => logs(clean(data) as typeof data)
  }))).pipe(Layer.provide(format))

/** The telemetry cannot be exported as it is set. */
export class TelemetryInvalid extends Schema.TaggedError<TelemetryInvalid>()("TelemetryInvalid", { problem: Schema.String }) {
  override get message() {
    return `Telemetry cannot be exported (${this.problem}): correct the settings that begin with OTEL_, or set OTEL_SDK_DISABLED=true.`
  }
}

/** What holds where nothing is set: all three signals are exported, as the specification of OpenTelemetry says. */
const defaults = (isNamed: boolean) =>
  ConfigProvider.fromEnv({
    env: {
      OTEL_TRACES_EXPORTER: "otlp",
      OTEL_METRICS_EXPORTER: "otlp",
      OTEL_LOGS_EXPORTER: "otlp",
      OTEL_EXPORTER_OTLP_TIMEOUT: String(lastExport),
      ...(isNamed ? {} : { OTEL_SERVICE_NAME: "conductor" })
    }
  })

const protocol = Config.Literals(["http/json", "http/protobuf"], "OTEL_EXPORTER_OTLP_PROTOCOL").pipe(
  Config.withDefault("http/json" as const)
)
const attributes = Config.String("OTEL_RESOURCE_ATTRIBUTES").pipe(Config.withDefault(""))

const invalid = (cause: Cause.Cause<unknown>): TelemetryInvalid => {
  const error = Cause.squash(cause)
  const problem = error instanceof Config.ConfigError ? error.cause.message : error instanceof Error ? error.message : String(error)
  return new TelemetryInvalid({ problem: redactText(problem).replace(/\s*\n\s*/g, " ").slice(0, 300) })
}

/** Exports as the environment says. */
export const layer: Layer.Layer<never, TelemetryInvalid> = Layer.unwrap(Effect.gen(function*() {
  const format = (yield* protocol) === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf
  const isNamed = /(^|,)\s*service\.name\s*=/.test(yield* attributes)
  const provider = ConfigProvider.orElse(yield* ConfigProvider.ConfigProvider, defaults(isNamed))
  return Otlp.layerFromConfig().pipe(
    Layer.provide(redacting(format)),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(Layer.succeed(ConfigProvider.ConfigProvider, provider))
  )
})).pipe(Layer.catchCause((cause) => Layer.effectDiscard(Effect.fail(invalid(cause)))))
