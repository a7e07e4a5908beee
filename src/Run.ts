/** The vocabulary of a run: ids, limits, events, errors, the transcript, and the pure fold and decision over its log. */
export * from "./Run/Ids.ts"
export * from "./Run/Error.ts"
export * from "./Run/Event.ts"
export * from "./Run/Text.ts"
export * as Transcript from "./Run/Transcript.ts"
export * from "./Run/State.ts"
export * from "./Run/Fold.ts"
export * from "./Run/Decide.ts"
