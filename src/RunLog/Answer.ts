import { Fenced } from "../Run.ts"
import { type Append, type AppendError, type Gate, granted, type Verdict } from "./Append.ts"
import type { Outcome } from "./Store.ts"

const errorOf = (gates: ReadonlyArray<Gate>, verdict: Extract<Verdict, { refuse: unknown }>, append: Append): AppendError | undefined => {
  for (const gate of gates) {
    const error = gate.refusal(verdict.refuse, append)
    if (error !== undefined) return error
  }
  return undefined
}

/** The outcome of each append of a batch, in order; numbers are places in the batch. */
export const outcomesOf = (
  gates: ReadonlyArray<Gate>,
  batch: ReadonlyArray<Append>,
  fenced: ReadonlyArray<number>,
  verdicts: ReadonlyArray<Verdict>
): ReadonlyArray<Outcome> => {
  const outcomes = batch.map((append): Outcome => ({ _tag: "Appended", append }))
  for (const i of fenced) {
    const append = batch[i]
    if (append !== undefined) outcomes[i] = { _tag: "Refused", error: new Fenced({ run: append.run, epoch: append.epoch }) }
  }
  for (const verdict of verdicts) {
    const append = batch[verdict.append]
    if (append === undefined) continue
    if ("grant" in verdict) {
      outcomes[verdict.append] = { _tag: "Appended", append: granted(append, verdict.grant) }
    } else {
      const error = errorOf(gates, verdict, append)
      if (error !== undefined) outcomes[verdict.append] = { _tag: "Refused", error }
    }
  }
  return outcomes
}
