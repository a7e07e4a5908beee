/** Every place of an event that holds a text: what people, models and tools say is found there, and the rest are names. */
import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { fromEvent, takeOut } from "../../src/Memory/TakeOut.ts"
import { Run } from "../../src/index.ts"

const isEvent = Schema.is(Schema.toEncoded(Run.RunEvent))

/** Ids, names, and words of a fixed list: nobody says anything in them. */
const names = new Set(`
  ApprovalDecided: approval by call
  ApprovalRequested: approval call digest name policy
  AttemptFailed: attemptId bill.host bill.model bill.nativeFinish bill.requestId bill.servedModel error.reason
  CancelRequested: by
  ChildEnded: call child
  ChildStarted: call child
  CommandRefused: by command
  ContextCompacted: attemptId bill.host bill.model bill.nativeFinish bill.requestId bill.servedModel
  ContextShortened: because
  DefinitionKept: definition registered
  DefinitionMigrated: from to
  MessageReceived: by message
  RunCancelled: by left.*
  RunClaimed: runner
  RunFailed: error.agent error.asked.*.model error.asked.*.reason error.call error.limit error.model error.reason error.registered error.remedy error.scope
    error.started error.tool error.until
  RunRetried: by
  RunStarted: after.run agent definition fallback.* history.*.model history.*.parts.*.id history.*.parts.*.name history.*.results.*.id
    history.*.results.*.name model org principal session sourceProject tools.*
  ToolCompleted: call name
  ToolResolved: by call
  ToolStarted: call key name
  ToolUnknown: call name
  TurnCompleted: attemptId bill.host bill.model bill.nativeFinish bill.requestId bill.servedModel parts.*.id parts.*.name
  TurnStarted: attemptId model prices scopes.* warnings.*.scope warnings.*.until
`.trim().split(/\n {2}(?! )/).flatMap((line) => {
  const [tag = "", places = ""] = line.trim().split(": ")
  return places.split(/\s+/).map((place) => `${tag}.${place}`)
}))

const secret = "the heron is grey"
const take = takeOut([secret])

type Json = { [key: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null

/** The events anywhere in a value. */
const eventsIn = (value: unknown): ReadonlyArray<Json> =>
  !isObject(value) ? [] : typeof value["_tag"] === "string" && isEvent(value) ? [value] : Object.values(value).flatMap(eventsIn)

/** The places of texts in a value, and how to put another text there. */
const textsOf = (value: Json, at: ReadonlyArray<string> = []): ReadonlyArray<{ readonly at: ReadonlyArray<string>; readonly within: Json; readonly key: string }> =>
  Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "string" ? [{ at: [...at, key], within: value, key }] : isObject(inner) ? textsOf(inner, [...at, key]) : [])

it("holds nothing that is to be forgotten, whatever place of a stored event it was said in", () => {
  const folder = path.join(import.meta.dirname, "../logs")
  const kept = new Set<string>()
  const taken = new Set<string>()
  for (const file of fs.readdirSync(folder)) {
    for (const event of eventsIn(JSON.parse(fs.readFileSync(path.join(folder, file), "utf8")))) {
      for (const { at, key, within } of textsOf(event)) {
        const before = within[key]
        within[key] = secret
        if (isEvent(event)) {
          const left = fromEvent(JSON.stringify(event), take)?.payload ?? secret
          const isKept = left.includes("heron")
          const place = `${String(event["_tag"])}.${at.map((name) => /^\d+$/.test(name) ? "*" : name).join(".")}`
          if (isKept) kept.add(place)
          else taken.add(place)
        }
        within[key] = before
      }
    }
  }
  assert.deepStrictEqual([...kept].filter((place) => !names.has(place)).toSorted(), [])
  assert.isAbove(taken.size, 20)
})
