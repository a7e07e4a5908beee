import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ConductorClient } from "../../src/client.ts"

export const program = Effect.gen(function*() {
  const conductor = yield* ConductorClient
  const { run } = yield* conductor.start({ agent: "assistant", input: "Will it rain in Lisbon?" })
  const live = yield* conductor.watch(run).pipe(
    Stream.filter((item) => "text" in item),
    Stream.runFold(() => "", (text, piece) => text + piece.text)
  )
  const { cost, output } = yield* conductor.waitForCompletion(run)
  return { live, output, cost }
}).pipe(
  Effect.catchTag("BudgetExceeded", (error) => Effect.fail(`Too expensive: ${error.message}`))
)
