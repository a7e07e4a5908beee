import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Observer } from "./RunLog.ts"
import type { TelemetryInvalid } from "./Telemetry/Otlp.ts"
import { count, showActive } from "./Telemetry/Metrics.ts"

export { agentEndOf, agentOf, type Asked, type Attributes, chatEndOf, chatOf, toolOf } from "./Telemetry/Attributes.ts"
export type { TelemetryInvalid } from "./Telemetry/Otlp.ts"
export { type About, type End, within } from "./Telemetry/Spans.ts"

const endpoints = ["", "TRACES_", "METRICS_", "LOGS_"].map((signal) =>
  Config.option(Config.String(`OTEL_EXPORTER_OTLP_${signal}ENDPOINT`)))

/**
 * Exports spans, metrics and logs by OTLP over HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT`, with the other settings of OpenTelemetry
 * (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, …), and the rest once more when it closes; where
 * no endpoint is set it does nothing. Put it around the layer of the runtime: `Layer.provideMerge(Telemetry.layer)`. Who does not
 * answer is left alone for a while, and what was for him is lost. Whatever looks like a secret is taken out, and of an error that
 * ends a span only its kind is told.
 */
export const layer: Layer.Layer<never, TelemetryInvalid> = Layer.unwrap(Effect.gen(function*() {
  const set = yield* Effect.forEach(endpoints, (endpoint) => Effect.orElseSucceed(endpoint, Option.none))
  if (set.every(Option.isNone)) return Layer.empty
  // Nobody else waits for it to be loaded.
  const { layer } = yield* Effect.promise(() => import("./Telemetry/Otlp.ts"))
  return layer
}))

/** All metrics of this process in the text format of Prometheus. */
export const prometheus: Effect.Effect<string> = Effect.flatMap(
  Effect.promise(() => import("effect/observability/PrometheusMetrics")),
  ({ format }) => format()
)

/**
 * Counts what this process writes down of its runs, in the metrics of Effect's registry. Their labels are few: organisations, sessions
 * and runs, of which there is no end, are in the spans and in the ledger.
 */
export const layerMetrics: Layer.Layer<never> = Layer.effect(Observer, Effect.map(Effect.context<never>(), count))

/** Shows how many runs somebody performs, until the scope closes. */
export const showRuns = (performed: () => number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.context<never>(), (context) =>
    Effect.acquireRelease(Effect.sync(() => showActive(context, performed)), (stop) => Effect.sync(stop))).pipe(Effect.asVoid)
