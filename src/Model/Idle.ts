import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** How long a provider may send nothing, not even a keep-alive, before its answer counts as lost; 60 s by default. */
export const IdleTimeout = Context.Reference<Duration.Duration>("conductor-ai/Model/IdleTimeout", {
  defaultValue: () => Duration.seconds(60)
})

/** Ends one exchange with a provider when its scope closes, or when the provider has been silent for too long. */
export interface Watch {
  readonly signal: AbortSignal
  /** Waits for a promise of the provider's; the time between two such waits is the reader's and does not count. */
  readonly waitFor: <A>(next: () => Promise<A>) => Promise<A>
  /** Gives the rest of a finished exchange a second to come before the connection is closed, so that it can be used again. */
  readonly leave: (rest: () => Promise<unknown>) => void
  /** Whether silence ended the exchange. */
  readonly expired: () => boolean
  readonly timeoutMs: number
}

/** Watches one exchange, by the fiber's clock. */
export const watch: Effect.Effect<Watch, never, Scope.Scope> = Effect.gen(function*() {
  const timeoutMs = Duration.toMillis(yield* IdleTimeout)
  const clock = yield* Clock.Clock
  let rest: Effect.Effect<unknown, unknown> = Effect.void
  const controller = yield* Effect.acquireRelease(
    Effect.sync(() => new AbortController()),
    (controller) => Effect.forkDetach(Effect.ensuring(Effect.ignore(rest), Effect.sync(() => controller.abort())), { startImmediately: true })
  )
  let since: number | undefined
  let expired = false
  yield* Effect.forkScoped(Effect.gen(function*() {
    while (true) {
      const left = since === undefined ? timeoutMs : since + timeoutMs - clock.currentTimeMillisUnsafe()
      if (left <= 0) break
      yield* Effect.sleep(left)
    }
    expired = true
    controller.abort()
  }))
  return {
    signal: controller.signal,
    waitFor: async (next) => {
      since = clock.currentTimeMillisUnsafe()
      try {
        return await next()
      } finally {
        since = undefined
      }
    },
    leave: (left) => {
      rest = Effect.timeoutOption(Effect.tryPromise(left), "1 second")
    },
    expired: () => expired,
    timeoutMs
  }
})
