import * as Result from "effect/Result"
import type { ForbiddenModel, ModelRef, UnknownModel } from "../Run.ts"
import type { Entry } from "./Catalog.ts"
import { of } from "./Ref.ts"
import { type NoModelFits, pick, type Selected, type Usable } from "./Select.ts"

/** Several models, of which the next is asked where the one before cannot answer. */
export interface Fallback {
  readonly _tag: "Fallback"
  readonly choices: ReadonlyArray<Choice>
}

/** What an agent says about its model: one by its reference, what it is to be good at, or several in order of preference. */
export type Choice = Result.Result<ModelRef, ForbiddenModel | UnknownModel> | Fallback | Selected

/** The models of a choice in the order in which they are asked, each once. */
export type Chain = readonly [ModelRef, ...Array<ModelRef>]

/** The given models in order: the next one is asked where the one before cannot answer. Text is read as by `Model.of`. */
export const fallback = (first: string | Choice, ...more: ReadonlyArray<string | Choice>): Fallback => ({
  _tag: "Fallback",
  choices: [first, ...more].map(choiceOf)
})

/** A choice as it is written in an agent's definition. */
export const choiceOf = (choice: string | Choice): Choice => typeof choice === "string" ? of(choice) : choice

/** The models of a choice, with those that are selected taken from a catalogue; the first one that cannot be used is the failure. */
export const chainOf = (
  choice: Choice,
  entries: ReadonlyArray<Entry>,
  usable?: Usable
): Result.Result<Chain, ForbiddenModel | UnknownModel | NoModelFits> =>
  Result.gen(function*() {
    switch (choice._tag) {
      case "Selected": {
        const { entry } = yield* pick(choice.criteria, entries, usable)
        return [entry.ref] as const
      }
      case "Fallback": {
        const refs = new Set<ModelRef>()
        for (const one of choice.choices) for (const ref of yield* chainOf(one, entries, usable)) refs.add(ref)
        const [first, ...more] = refs
        // A fallback has at least one choice, and every choice at least one model.
        return [first as ModelRef, ...more] as const
      }
      default:
        return [yield* choice] as const
    }
  })

/** The model that a choice names before all others; nothing where it leaves that to the catalogue. */
export const namedFirst = (choice: Choice): ModelRef | undefined => {
  switch (choice._tag) {
    case "Selected":
    case "Failure":
      return undefined
    case "Success":
      return choice.success
    case "Fallback":
      return choice.choices[0] === undefined ? undefined : namedFirst(choice.choices[0])
  }
}
