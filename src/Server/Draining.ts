import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { ShuttingDown } from "../Run.ts"

/** Whether the server is about to end: it then starts nothing, and its streams tell their readers to come back. */
export class Draining extends Context.Service<Draining, {
  readonly begin: Effect.Effect<void>
  /** Done once it has begun. */
  readonly begun: Effect.Effect<void>
  /** Fails once it has begun. */
  readonly check: Effect.Effect<void, ShuttingDown>
}>()("conductor-ai/Server/Draining") {
  static readonly layer = Layer.sync(Draining, () => {
    const latch = Latch.makeUnsafe(false)
    let isDraining = false
    return Draining.of({
      begin: Effect.sync(() => {
        isDraining = true
        latch.openUnsafe()
      }),
      begun: latch.await,
      check: Effect.suspend(() => isDraining ? Effect.fail(new ShuttingDown()) : Effect.void)
    })
  })
}
