import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import { CurrentOrg } from "../Org.ts"
import { DefinitionHash, fold, type Logged, RunEvent, RunId, type RunNotFound, type RunState, type StorageFailed, type Transcript } from "../Run.ts"
import { RunLog, Store } from "../RunLog.ts"
import { wholeOf } from "../Runs/Conversation.ts"

const Line = Schema.Struct({ seq: Schema.Int, epoch: Schema.Int, at: Schema.Finite, event: RunEvent })

/** The events of one run, in order. */
const Events = Schema.Array(Line)

/**
 * A stored run as one document: its events as the log has them, the texts of the definitions that they name, and the runs
 * of its session whose conversation it goes on from, oldest first, each up to that place.
 */
export const Export = Schema.Struct({
  format: Schema.Literal("conductor-run"),
  version: Schema.Literal(1),
  /** The version of the package that wrote it. */
  conductor: Schema.String,
  run: RunId,
  definitions: Schema.Record(Schema.String, Schema.String),
  before: Schema.Array(Schema.Struct({ run: RunId, events: Events })),
  events: Events
})
export type Export = typeof Export.Type

/** A document is not a stored run that this version can read. */
export class ExportInvalid extends Schema.TaggedError<ExportInvalid>()("ExportInvalid", { problem: Schema.String }) {
  override get message() {
    return `This is not a stored run: ${this.problem}`
  }
}

const decode = Schema.decodeUnknownEffect(Export)
const encode = Schema.encodeSync(Export)

/** The version of the package, which is two folders above both `src/testing` and `dist/testing`. */
const packageVersion = Effect.sync((): string => {
  const { version } = JSON.parse(fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { readonly version: string }
  return version
})

const lines = (events: ReadonlyArray<Logged>): Export["events"] => events.map(({ at, epoch, event, seq }) => ({ seq, epoch, at, event }))

/** The definitions that events name. */
const named = (events: ReadonlyArray<{ readonly event: RunEvent }>): ReadonlyArray<string> =>
  events.flatMap(({ event }) => {
    if (event._tag === "RunStarted") return [event.definition]
    return event._tag === "DefinitionMigrated" ? [event.from, event.to] : []
  })

/** A stored run, with everything that telling it again takes. */
export const of = Effect.fn("Export.of")(function*(run: RunId): Effect.fn.Return<Export, RunNotFound | StorageFailed, RunLog | Store> {
  const log = (yield* RunLog).as(yield* CurrentOrg)
  const store = yield* Store
  yield* log.find(run)
  const events = lines(yield* Stream.runCollect(log.read(run)))
  const before: Array<Export["before"][number]> = []
  let first = events[0]?.event
  while (first?._tag === "RunStarted" && first.after !== null) {
    const { run, seq } = first.after
    const earlier = lines(yield* Stream.runCollect(log.read(run).pipe(Stream.takeWhile((logged) => logged.seq <= seq))))
    before.unshift({ run, events: earlier })
    first = earlier[0]?.event
  }
  const definitions: Record<string, string> = {}
  for (const hash of new Set([...before.flatMap((one) => named(one.events)), ...named(events)])) {
    const text = yield* store.definition(DefinitionHash.make(hash))
    if (Option.isSome(text)) definitions[hash] = text.value
  }
  return { format: "conductor-run", version: 1, conductor: yield* packageVersion, run, definitions, before, events }
})

const rows = (values: ReadonlyArray<unknown>, indent: string): string =>
  values.length === 0 ? "[]" : `[\n${values.map((value) => `${indent}  ${JSON.stringify(value)}`).join(",\n")}\n${indent}]`

/** The document as text: JSON with a line for each event, so that two of them can be compared line by line. */
export const print = (document: Export): string => {
  const { before, definitions, events, ...head } = encode(document)
  const earlier = before.map((one) => `    {\n      "run": ${JSON.stringify(one.run)},\n      "events": ${rows(one.events, "      ")}\n    }`)
  return [
    "{",
    ...Object.entries(head).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)},`),
    `  "definitions": ${JSON.stringify(definitions, null, 2).replaceAll("\n", "\n  ")},`,
    `  "before": ${earlier.length === 0 ? "[]" : `[\n${earlier.join(",\n")}\n  ]`},`,
    `  "events": ${rows(events, "  ")}`,
    "}",
    ""
  ].join("\n")
}

const gapIn = (events: Export["events"]): string | undefined => {
  if (events[0]?.event._tag !== "RunStarted") return "it does not begin with RunStarted."
  const gap = events.findIndex((line, index) => line.seq !== index + 1)
  return gap === -1 ? undefined : `its events have a gap before number ${gap + 1}.`
}

/** Reads a document, from its text or from parsed JSON. */
export const parse = Effect.fn("Export.parse")(function*(document: unknown): Effect.fn.Return<Export, ExportInvalid> {
  const invalid = (problem: string) => new ExportInvalid({ problem })
  const json = typeof document !== "string" ? document : yield* Effect.try({
    try: (): unknown => JSON.parse(document),
    catch: () => invalid("it is not JSON; write one with conductor export.")
  })
  const read = yield* Effect.mapError(decode(json), (error) => invalid(error.message))
  for (const { events } of [...read.before, read]) {
    const problem = gapIn(events)
    if (problem !== undefined) return yield* invalid(problem)
  }
  return read
})

/** The events of a document with the run that they are of. */
export const logOf = (run: RunId, events: Export["events"]): ReadonlyArray<Logged> => events.map((line) => ({ run, ...line }))

/** The conversation that the run goes on from. */
export const historyOf = (document: Export): ReadonlyArray<Transcript.Message> => {
  const first = document.events[0]?.event
  return document.before.reduce<ReadonlyArray<Transcript.Message>>((history, { events, run }) => {
    const state = logOf(run, events).reduce<RunState | undefined>(fold, undefined)
    return state === undefined ? history : wholeOf(history, state, first?._tag === "RunStarted" ? first.definition : state.definition)
  }, [])
}
