/** Somebody who approves or denies what needs it, and looks after calls whose outcome nobody knows, but not all of them. */
import { Effect, Schema } from "effect"
import { Conductor, type Run } from "../../src/index.ts"
import { chance } from "../support/chance.ts"
import { say } from "./phases.ts"
import { tell } from "./subject.ts"
import { callName } from "./world.ts"

/** A person at work. */
export interface Person {
  /** Works until it is interrupted. */
  readonly works: Effect.Effect<void, never, Conductor>
  /** True for a run that waits for something that the person will never do. */
  readonly isForsaken: (run: Run.RunId) => Effect.Effect<boolean, Run.RunNotFound | Run.StorageFailed, Conductor>
}

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Struct({ n: Schema.Int, turn: Schema.Int, index: Schema.Int })))

/** What the person says to a request for approval. */
export const verdictOf = (seed: string, call: string): "denied" | "edited" | "approved" => {
  const said = chance(seed, "verdict", call)
  return said < 0.2 ? "denied" : said < 0.4 ? "edited" : "approved"
}

/** Whether the person never looks after a doubtful call. */
export const isForsaken = (seed: string, call: string): boolean => chance(seed, "forsaken", call) < 0.3

const nameOf = (call: { readonly part: { readonly arguments: string } }): string => callName(decode(call.part.arguments))

const doubtful = (state: Run.RunState) => state.open?.calls.filter((call) => call.status === "unknown") ?? []

/** What can be answered to somebody who was late: somebody else was first, or the run is over. */
const late = ["ApprovalAlreadyDecided", "RunConflict"] as const

/** A person who knows the other side of the tools. */
export const makePerson = (seed: string, world: string): Person => {
  const forsaken = new Set<Run.RunId>()

  const decides = Effect.gen(function*() {
    for (const request of yield* Conductor.approvals()) {
      // The run went on since it was listed.
      if (request.parameters === "") continue
      const parameters = decode(request.parameters)
      const verdict = verdictOf(seed, callName(parameters))
      yield* Conductor.decide(request.id, {
        decision: verdict === "denied" ? "denied" : "approved",
        digest: request.digest,
        ...(verdict === "edited" ? { parameters: { ...parameters, note: "edited" } } : {})
      }).pipe(Effect.catchTag(late, () => Effect.void))
    }
  })

  const resolves = Effect.gen(function*() {
    const { list, state } = yield* Conductor
    for (const { run } of yield* list({ status: "parked", limit: 10_000 })) {
      if (forsaken.has(run)) continue
      const calls = doubtful(yield* state(run))
      if (calls.some((call) => isForsaken(seed, nameOf(call)))) {
        forsaken.add(run)
        continue
      }
      for (const call of calls) {
        const name = nameOf(call)
        const { happened } = (yield* tell(world, "/look", { call: name, key: "" })) as { readonly happened: boolean } // the world's own
        const resolution = happened ? "happened" : chance(seed, "again", name) < 0.5 ? "run-again" : "did-not-happen"
        yield* Conductor.resolve(run, call.part.id, { resolution, ...(happened ? { result: "1" } : {}) }).pipe(
          Effect.catchTag("RunConflict", () => Effect.void)
        )
      }
    }
  })

  return {
    works: Effect.andThen(decides, resolves).pipe(
      // A connection was cut: later.
      Effect.catchTag("StorageFailed", () => Effect.void),
      Effect.catchCause((cause) => Effect.sync(() => say(`x the person who decides and resolves could not: ${JSON.stringify(cause)}`))),
      Effect.andThen(Effect.sleep("200 millis")),
      Effect.forever
    ),
    isForsaken: Effect.fnUntraced(function*(run) {
      const { state } = yield* Conductor
      return doubtful(yield* state(run)).some((call) => isForsaken(seed, nameOf(call)))
    })
  }
}
