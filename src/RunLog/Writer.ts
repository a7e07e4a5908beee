import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type { Append, AppendError } from "./Append.ts"
import type { Hub } from "./Hub.ts"
import type { Outcome, Store } from "./Store.ts"

/** An append on its way: done with the append as it was written, or with why it was not. */
export type Pending = Deferred.Deferred<Append, AppendError>

interface Item {
  readonly append: Append
  readonly pending: Pending
}

/** Appends of one flush at most; more wait for the next. */
const batchSize = 500

/**
 * The group commit: while one transaction is under way the appends of all runs gather, and the next takes them all.
 * An append that the database refuses for its data fails alone: its batch is split until it stands by itself.
 */
export const makeWriter = Effect.fnUntraced(function*(store: Store["Service"], hub: Hub) {
  let gathered: Array<Item> = []
  const ready = yield* Latch.make(false)

  const settle = (item: Item, outcome: Outcome) => {
    if (outcome._tag === "Appended") {
      if (hub.isHeard(item.append.run)) {
        const events = outcome.append.steps.map((step) => step.logged)
        hub.publish(item.append.run, { _tag: "Events", events })
      }
      Deferred.doneUnsafe(item.pending, Effect.succeed(outcome.append))
    } else {
      Deferred.doneUnsafe(item.pending, Effect.fail(outcome.error))
    }
  }

  const write = (items: ReadonlyArray<Item>): Effect.Effect<void> =>
    store.flush(items.map((item) => item.append)).pipe(
      Effect.matchEffect({
        onSuccess: (outcomes) =>
          Effect.sync(() =>
            items.forEach((item, index) => {
              const outcome = outcomes[index]
              if (outcome !== undefined) settle(item, outcome)
            })
          ),
        onFailure: (failure) => {
          if (failure._tag === "BadBatch" && items.length > 1) {
            const [first, second] = Arr.splitAt(items, items.length >> 1)
            return Effect.andThen(write(first), write(second))
          }
          const error = failure._tag === "BadBatch" ? failure.error : failure
          return Effect.sync(() => items.forEach((item) => settle(item, { _tag: "Refused", error })))
        }
      })
    )

  yield* Effect.forever(Effect.gen(function*() {
    yield* ready.await
    const items = gathered.slice(0, batchSize)
    gathered = gathered.slice(batchSize)
    if (gathered.length === 0) ready.closeUnsafe()
    yield* write(items)
  })).pipe(Effect.forkScoped)

  return (append: Append): Pending => {
    const pending: Pending = Deferred.makeUnsafe()
    gathered.push({ append, pending })
    ready.openUnsafe()
    return pending
  }
})
