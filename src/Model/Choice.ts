import * as Result from "effect/Result"
import type { ForbiddenModel, ModelRef, UnknownModel } from "../Run.ts"
import { of } from "./Ref.ts"

/** Several models, of which the next is asked where the one before cannot answer. */
export interface Fallback {
  readonly _tag: "Fallback"
  readonly choices: ReadonlyArray<Choice>
}

/** What an agent says about its model: one by its reference, or several in order of preference. */
export type Choice = Result.Result<ModelRef, ForbiddenModel | UnknownModel> | Fallback

/** The models of a choice in the order in which they are asked, each once. */
export type Chain = readonly [ModelRef, ...Array<ModelRef>]

/** The given models in order: the next one is asked where the one before cannot answer. Text is read as by `Model.of`. */
export const fallback = (first: string | Choice, ...more: ReadonlyArray<string | Choice>): Fallback => ({
  _tag: "Fallback",
  choices: [first, ...more].map(choiceOf)
})

/** A choice as it is written in an agent's definition. */
export const choiceOf = (choice: string | Choice): Choice => typeof choice === "string" ? of(choice) : choice

/** The models of a choice; the first one that cannot be used is the failure. */
export const chainOf = (choice: Choice): Result.Result<Chain, ForbiddenModel | UnknownModel> =>
  Result.gen(function*() {
    if (choice._tag !== "Fallback") return [yield* choice] as const
    const refs = new Set<ModelRef>()
    for (const one of choice.choices) for (const ref of yield* chainOf(one)) refs.add(ref)
    const [first, ...more] = refs
    // A fallback has at least one choice, and every choice at least one model.
    return [first as ModelRef, ...more] as const
  })
