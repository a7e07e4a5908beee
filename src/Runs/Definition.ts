import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Agent from "../Agent.ts"
import { DefinitionChanged, type RunEvent, type RunState, StorageFailed } from "../Run.ts"
import type { Store } from "../RunLog.ts"

/** How long an agent may think about what becomes of one of its runs. */
const patience = "10 seconds"

/** What a run goes on with, and the event that says so where its agent has changed. */
export interface Continued {
  readonly registered: Agent.Registered
  readonly event: RunEvent | undefined
}

const stored = (text: string) =>
  Effect.mapError(Agent.decodeStored(text), (cause) =>
    new StorageFailed({ operation: "definition", problem: `a stored definition cannot be read (${cause.message.slice(0, 200)}).`, cause }))

/** Decides what a run whose agent has changed goes on with, as the agent says. */
export const continued = Effect.fnUntraced(function*(
  store: Store["Service"],
  state: RunState,
  registered: Agent.Registered
): Effect.fn.Return<Continued, DefinitionChanged | StorageFailed> {
  const { agent, definition } = registered
  if (state.definition === definition.hash) return { registered, event: undefined }
  const changed = { agent: state.agent, started: state.definition, registered: definition.hash }
  const text = yield* store.definition(state.definition)
  if (Option.isNone(text)) return yield* new DefinitionChanged({ ...changed, problem: "the stored definition is gone" })
  const from = yield* stored(text.value)
  const to = yield* stored(definition.text)
  const { upgrade } = agent
  const change = { from: { ...from, hash: state.definition }, to: { ...to, hash: definition.hash }, run: state }
  const answer = yield* Effect.suspend(() => {
    const decided = typeof upgrade === "function" ? upgrade(change) : upgrade
    return Effect.isEffect(decided) ? decided : Effect.succeed(decided)
  }).pipe(
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed(Agent.refuse("its upgrade did not come to a decision in time")) }),
    Effect.catchDefect((defect) =>
      Effect.succeed(Agent.refuse(`its upgrade broke (${defect instanceof Error ? defect.message : String(defect)})`)))
  )
  switch (answer._tag) {
    case "Refuse":
      return yield* new DefinitionChanged(answer.problem === undefined ? changed : { ...changed, problem: answer.problem })
    case "Adopt": {
      const event = { _tag: "DefinitionMigrated", v: 1, from: state.definition, to: definition.hash } as const
      return { registered, event: answer.note === undefined ? event : { ...event, note: answer.note } }
    }
    case "Keep": {
      const problem = Agent.misfit(from, registered, to)
      if (problem !== undefined) return yield* new DefinitionChanged({ ...changed, problem })
      return {
        registered: Agent.asStored(registered, from, state.definition, text.value),
        event: { _tag: "DefinitionKept", v: 1, definition: state.definition, registered: definition.hash }
      }
    }
  }
})
