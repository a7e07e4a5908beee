import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Schema from "effect/Schema"
import { plain } from "./Output.ts"

/** Ends the program with an exit code, and a sentence for standard error unless that is empty. */
export class Ended extends Schema.TaggedError<Ended>()("Ended", {
  code: Schema.Int,
  sentence: Schema.String
}) {
  override get message() {
    return this.sentence
  }
}

/** The command cannot be understood. */
export const usage = (sentence: string): Ended => new Ended({ code: 2, sentence })

/** Something did not work. */
export const failed = (sentence: string): Ended => new Ended({ code: 1, sentence })

/** How the program ends: its exit code, and what standard error says about it. */
export interface Report {
  readonly code: number
  readonly sentence: string
}

/** Failures that are about what was typed. */
const aboutTheCommand = new Set(["UnknownModel", "ForbiddenModel", "AgentNotRegistered", "InvalidInput", "OrgInvalid", "KeyInvalid", "MemoryInvalid"])

/** One line, without passwords of connection URLs and without what could move the cursor. */
export const oneLine = (text: string): string =>
  plain(text).replace(/\s*\n\s*/g, " ").replace(/:\/\/(?!user:password@)[^\s@]*@/g, "://…@").trim()

const remedy = `run it again with --log-level debug or CONDUCTOR_DEBUG=1 for the stack`

const messageOf = (cause: unknown): string => cause instanceof Error && cause.message !== "" ? cause.message : String(cause)

/** What a cause means to the person at the terminal: one sentence for what can be expected, and a way to learn more for what cannot. */
export const reportOf = (cause: Cause.Cause<unknown>, debug: boolean): Report => {
  const reason = cause.reasons.find(Cause.isFailReason) ?? cause.reasons.find(Cause.isDieReason)
  const details = debug ? `\n${Cause.pretty(cause)}` : ""
  if (reason === undefined) return { code: 1, sentence: "" }
  if (Cause.isDieReason(reason)) {
    const what = oneLine(messageOf(reason.defect)).slice(0, 500)
    return { code: 1, sentence: `Conductor broke in a way that it should not (${what}): ${remedy}.${details}` }
  }
  const { error } = reason
  if (error instanceof Ended) return { code: error.code, sentence: oneLine(error.sentence) }
  if (error instanceof Config.ConfigError) return { code: 1, sentence: `A setting cannot be used: ${oneLine(error.cause.message)}${details}` }
  if (!(error instanceof Error)) return { code: 1, sentence: `${oneLine(String(error))}${details}` }
  const tag = "_tag" in error && typeof error._tag === "string" ? error._tag : error.name
  // Showing help because of what was typed has already said why.
  if (tag === "ShowHelp") return { code: "errors" in error && Array.isArray(error.errors) && error.errors.length > 0 ? 2 : 0, sentence: "" }
  return { code: aboutTheCommand.has(tag) ? 2 : 1, sentence: `${oneLine(error.message)}${details}` }
}
