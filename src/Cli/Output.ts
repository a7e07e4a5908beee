import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"

/** Styles for a terminal; each gives the text back unchanged where there is none. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly green: (text: string) => string
  readonly red: (text: string) => string
  readonly yellow: (text: string) => string
}

const style = (isColoured: boolean, code: number, end: number) => (text: string) =>
  isColoured ? `\u001B[${code}m${text}\u001B[${end}m` : text

/** The styles of a terminal, or of something that is none. */
export const paintOf = (isColoured: boolean): Paint => ({
  bold: style(isColoured, 1, 22),
  dim: style(isColoured, 2, 22),
  green: style(isColoured, 32, 39),
  red: style(isColoured, 31, 39),
  yellow: style(isColoured, 33, 39)
})

/**
 * Text of a model or a tool without the characters by which it could move the cursor, change the direction in which it is read, or hide
 * what it says.
 */
export const plain = (text: string): string =>
  text.replace(/[\p{Cc}\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/gu, (character) => character === "\n" || character === "\t" ? character : "")

/** Where commands write. What cannot be written because nobody reads any more is dropped: `Signals` ends the program then. */
export class Output extends Context.Service<Output, {
  /** Writes text to standard output as it is. */
  readonly write: (text: string) => Effect.Effect<void>
  /** Writes a line to standard output. */
  readonly line: (text: string) => Effect.Effect<void>
  /** Writes a line to standard error. */
  readonly note: (text: string) => Effect.Effect<void>
  /** The styles for standard output: on a terminal, unless `NO_COLOR` is set. */
  readonly paint: Paint
}>()("conductor-ai/Cli/Output") {
  static readonly layer = Layer.effect(Output, Effect.gen(function*() {
    const stdio = yield* Stdio.Stdio
    const noColor = yield* Config.String("NO_COLOR").pipe(Config.option, Effect.orElseSucceed(Option.none))
    const isColoured = (yield* stdio.stdoutIsTerminal) && Option.isNone(noColor)
    const write = (text: string) =>
      text === "" ? Effect.void : Effect.ignore(Stream.run(Stream.succeed(text), stdio.stdout({ endOnDone: false })))
    return Output.of({
      write,
      line: (text) => write(`${text}\n`),
      note: (text) => Effect.ignore(Stream.run(Stream.succeed(`${text}\n`), stdio.stderr({ endOnDone: false }))),
      paint: paintOf(isColoured)
    })
  }))
}
