import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Tracer from "effect/Tracer"
import type { Attributes } from "./Attributes.ts"

/** What is known of a span's subject at its end; `failure` is why it failed, in a word. */
export interface End {
  readonly attributes: Attributes
  readonly failure?: string
}

/** What a span is opened with. Its name and attributes are put together only where somebody traces. */
export interface About {
  readonly name: () => string
  readonly kind?: Tracer.SpanKind
  readonly attributes: () => Attributes
  /** The parent where it is not the span around. */
  readonly parent?: Tracer.AnySpan | undefined
  /** What is known at the end. */
  readonly end?: () => End
  /** Given what ends the span, once; whoever has it ends the span of something that is interrupted. */
  readonly opened?: (close: (end: End) => void) => void
}

/**
 * Does something within a span of its own where somebody traces, and nothing more than it where nobody does. The span never tells
 * an error's sentence or cause: what a provider or a tool says may be anything.
 */
export const within = <A, E, R>(about: About, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    if (fiber.cache.tracer === undefined) return effect
    const clock = fiber.getRef(Clock.Clock)
    const options: Tracer.SpanOptionsNoTrace = {
      kind: about.kind ?? "internal",
      attributes: about.attributes(),
      ...(about.parent === undefined ? {} : { parent: about.parent })
    }
    return Effect.flatMap(Effect.makeSpan(about.name(), options), (span) => {
      const close = (end: End | undefined, exit: Exit.Exit<unknown, unknown>) => {
        if (span.status._tag === "Ended") return
        for (const [name, value] of Object.entries(end?.attributes ?? {})) span.attribute(name, value)
        span.end(clock.currentTimeNanosUnsafe(), end?.failure === undefined ? exit : Exit.fail(end.failure))
      }
      about.opened?.((end) => close(end, Exit.void))
      return effect.pipe(
        Effect.withParentSpan(span, { captureStackTrace: false }),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) return close(about.end?.(), Exit.void)
            const isInterrupted = Cause.hasInterruptsOnly(exit.cause)
            if (about.opened === undefined || !isInterrupted) close(about.end?.(), isInterrupted ? exit : Exit.fail("failed"))
          })
        )
      )
    })
  })
