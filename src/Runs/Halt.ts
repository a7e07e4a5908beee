import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

/** Why what a run is doing is stopped, the weightiest first. */
const reasons = ["cancelled", "shutdown", "interrupted"] as const

/** Why what a run is doing is stopped: its end, the end of the process, or a message that it has to hear at once. */
export type Halt = (typeof reasons)[number]

/** Reasons to stop, asked for by anybody, heard by the fiber that performs the run. */
export const makeHalts = () => {
  const asked = new Set<Halt>()
  let signal = Deferred.makeUnsafe<void>()
  return {
    halt: (reason: Halt) => {
      asked.add(reason)
      Deferred.doneUnsafe(signal, Effect.void)
    },
    isAsked: (reason: Halt) => asked.has(reason),
    isHalting: () => asked.size > 0,
    /** The weightiest reason, as soon as there is one. An interruption is over once it is heard. */
    halted: Effect.suspend(() => Deferred.await(signal)).pipe(Effect.map((): Halt => {
      const reason = reasons.find((one) => asked.has(one)) ?? "interrupted"
      if (reason === "interrupted") {
        asked.delete(reason)
        signal = Deferred.makeUnsafe()
      }
      return reason
    }))
  }
}
