import { assert, describe, it } from "@effect/vitest"
import { Effect, type Schema, SchemaAST } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { Run } from "../../src/index.ts"
import { Export } from "../../src/testing.ts"

const dir = path.join(import.meta.dirname, "../logs")
const files = fs.readdirSync(dir)

/** Every event tag of the union, as it is now. */
const tags = Object.keys(Run.RunEvent.cases)

/** The kinds of a member of the union that are told apart by a literal of theirs. */
const literals: ReadonlyArray<readonly [tag: string, field: string, values: ReadonlyArray<string>]> = [
  ["ToolCompleted", "outcome", Run.ToolOutcome.literals],
  ["ToolStarted", "effect", Run.EffectClass.literals],
  ["RunFailed", "error", Run.RunFailure.members.map((member) => member.fields._tag.schema.literal)],
  ["ToolResolved", "resolution", Run.RunEvent.cases.ToolResolved.fields.resolution.literals],
  ["ApprovalDecided", "decision", Run.RunEvent.cases.ApprovalDecided.fields.decision.literals],
  ["RunParked", "reason", Run.RunEvent.cases.RunParked.fields.reason.literals]
]

/** What an event has in some runs only. */
const optional = Object.entries(Run.RunEvent.cases).flatMap(([tag, { fields }]) =>
  Object.entries<Schema.Top>(fields).flatMap(([field, { ast }]) => SchemaAST.isOptional(ast) ? [[tag, field] as const] : []))

const remedy = (what: string) => `There is no stored example of ${what}: add one to test/logs with conductor export, or by hand where no run can write it yet.`

const load = (file: string) => {
  const text = fs.readFileSync(path.join(dir, file), "utf8")
  return Effect.map(Export.parse(text), (document) => ({ document, text }))
}

/** The encoded events of all files. */
const stored = files.flatMap((file) => {
  const { before, events } = JSON.parse(fs.readFileSync(path.join(dir, file), "utf8")) as Schema.Codec.Encoded<typeof Export.Export>
  return [...before.flatMap((one) => one.events), ...events].map((line) => line.event as { readonly _tag: string; readonly [field: string]: unknown })
})

describe("stored logs of every released shape", () => {
  for (const file of files) {
    it.effect(`${file} is decoded, folded and encoded again byte for byte`, () =>
      Effect.gen(function*() {
        const { document, text } = yield* load(file)
        assert.strictEqual(Export.print(document), text)
        const state = Export.logOf(document.run, document.events).reduce<Run.RunState | undefined>(Run.fold, undefined)
        assert.strictEqual(state?.seq, document.events.length)
        assert.isUndefined(Run.Transcript.problem([...Export.historyOf(document), ...(state?.messages ?? [])]))
        const last = document.events.at(-1)?.event._tag
        const ends = { RunCompleted: "completed", RunFailed: "failed", RunCancelled: "cancelled", RunParked: "parked" } as const
        assert.strictEqual(state?.status, ends[last as keyof typeof ends])
        for (const [hash, definition] of Object.entries(document.definitions)) {
          assert.strictEqual(createHash("sha256").update(definition).digest("hex"), hash)
        }
      }))
  }

  it("hold an example of every event", () => {
    for (const tag of tags) assert.isTrue(stored.some((event) => event._tag === tag), remedy(tag))
  })

  it("hold an example of every way in which an event tells them apart", () => {
    for (const [tag, field, values] of literals) {
      const seen = stored.filter((event) => event._tag === tag).map((event) => event[field])
        .map((value) => typeof value === "object" && value !== null && "_tag" in value ? value._tag : value)
      for (const value of values) assert.isTrue(seen.includes(value), remedy(`${tag} with ${field} "${value}"`))
    }
  })

  it("hold an example of what an event has in some runs only, and of a run that several models failed", () => {
    assert.deepInclude(optional, ["RunStarted", "history"])
    for (const [tag, field] of optional) assert.isTrue(stored.some((event) => event._tag === tag && field in event), remedy(`${tag} with ${field}`))
    const failures = stored.flatMap((event) => event._tag === "RunFailed" ? [event["error"] as Readonly<Record<string, unknown>>] : [])
    assert.isTrue(failures.some((error) => "asked" in error), remedy("a run that several models failed"))
    assert.isTrue(failures.some((error) => error["reason"] === "ProviderUnavailable"), remedy("a run whose provider was unavailable"))
  })

  it.effect("are refused, with a sentence, where they are none", () =>
    Effect.gen(function*() {
      const { document } = yield* load("0.1.0-text.json")
      const cases: ReadonlyArray<readonly [unknown, RegExp]> = [
        ["{", /it is not JSON; write one with conductor export/],
        ["[]", /^This is not a stored run: /],
        [{ ...document, format: "other" }, /format/],
        [JSON.parse(Export.print({ ...document, events: document.events.slice(1) })), /does not begin with RunStarted/],
        [JSON.parse(Export.print({ ...document, events: document.events.filter((line) => line.seq !== 2) })), /a gap before number 2/]
      ]
      for (const [text, problem] of cases) {
        const error = yield* Effect.flip(Export.parse(text))
        assert.match(error.message, problem)
      }
    }))
})
