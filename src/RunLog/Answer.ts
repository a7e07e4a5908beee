import { Fenced } from "../Run.ts"
import type { Append, Gate, Json } from "./Append.ts"
import type { Outcome } from "./Store.ts"

/** What a flush says where not everything was appended as it was sent; numbers are places in the batch. */
export interface Answer {
  readonly fenced: ReadonlyArray<number>
  readonly refused: ReadonlyArray<{ readonly append: number; readonly refuse: { readonly [key: string]: Json } }>
  readonly patched: ReadonlyArray<{ readonly append: number; readonly patch: { readonly [key: string]: Json } }>
}

const first = <A, B>(all: ReadonlyArray<A>, pick: (one: A) => B | undefined): B | undefined => {
  for (const one of all) {
    const found = pick(one)
    if (found !== undefined) return found
  }
  return undefined
}

/** The outcome of each append of a batch, in order. */
export const outcomesOf = (
  gates: ReadonlyArray<Gate>,
  batch: ReadonlyArray<Append>,
  answer: Answer | null
): ReadonlyArray<Outcome> => {
  if (answer === null) return batch.map((append) => ({ _tag: "Appended", append }))
  const fenced = new Set(answer.fenced)
  const refused = new Map(answer.refused.map((verdict) => [verdict.append, verdict.refuse]))
  const patched = new Map(answer.patched.map((verdict) => [verdict.append, verdict.patch]))
  return batch.map((append, i): Outcome => {
    if (fenced.has(i)) return { _tag: "Refused", error: new Fenced({ run: append.run, epoch: append.epoch }) }
    const refuse = refused.get(i)
    const error = refuse && first(gates, (gate) => gate.refusal(refuse, append))
    if (error !== undefined) return { _tag: "Refused", error }
    const patch = patched.get(i)
    return { _tag: "Appended", append: (patch && first(gates, (gate) => gate.patch(patch, append))) ?? append }
  })
}
