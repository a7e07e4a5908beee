import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Fact, type Forgetting, type Found, Memory, MemoryId, MemoryNotFound, type Scope } from "../Memory.ts"
import { usage } from "./Failure.ts"
import { counted, shorten, time } from "./Format.ts"
import { printList } from "./Lists.ts"
import { Output, plain } from "./Output.ts"
import { conductor } from "./Runtime.ts"

interface Place {
  readonly scope: Option.Option<Scope>
  readonly json: boolean
}

const print = (facts: ReadonlyArray<Fact | Found>, json: boolean, empty: string) =>
  printList<Fact | Found>(facts, {
    json,
    head: ["ID", "SCOPE", "SINCE (UTC)", "UNTIL (UTC)", "BY", "TEXT"],
    cells: (fact) => [
      fact.id, plain(fact.scope), time(fact.createdAt), fact.expiresAt === null ? "for good" : time(fact.expiresAt), plain(fact.createdBy), shorten(plain(fact.text), 80)
    ],
    encode: (fact) => fact,
    empty
  })

const scopesOf = (scope: Option.Option<Scope>) => Option.isSome(scope) ? { scopes: [scope.value] } : {}

/** Says which runs are waited for before all is forgotten that was to be; nothing where there are none. */
const tellWaiting = Effect.fnUntraced(function*(runs: number) {
  const output = yield* Output
  if (runs > 0) yield* output.note(`${counted(runs, "run")} under way may have heard of what is forgotten: a server looks through ${runs === 1 ? "its log" : "their logs"} once ${runs === 1 ? "it is" : "they are"} over, and so does conductor memories.`)
})

/** `conductor memories`. What forgetting has left to do is done first, for there may be no server that does it. */
export const printMemories = Effect.fnUntraced(function*(input: Place & { readonly limit: number }) {
  const memory = yield* Memory
  const waiting = yield* memory.settle
  yield* print(yield* memory.list({ limit: input.limit, ...scopesOf(input.scope) }), input.json, "Nothing is remembered here: agents with the memory plugin do, and conductor memories remember TEXT.")
  if (!input.json) yield* tellWaiting(waiting.length)
}, Effect.provide(conductor([])))

/** `conductor memories recall`. */
export const recallMemories = Effect.fnUntraced(function*(input: Place & { readonly query: string; readonly limit: number }) {
  const memory = yield* Memory
  const found = yield* memory.recall({ text: input.query, limit: input.limit, ...scopesOf(input.scope) })
  yield* print(found, input.json, "Nothing that is remembered has these words: see conductor memories.")
}, Effect.provide(conductor([])))

/** `conductor memories remember`. */
export const rememberText = Effect.fnUntraced(function*(input: Place & { readonly text: string; readonly expires: Option.Option<number> }) {
  const output = yield* Output
  const fact = yield* (yield* Memory).remember({
    text: input.text,
    ...(Option.isSome(input.scope) ? { scope: input.scope.value } : {}),
    ...(Option.isSome(input.expires) ? { expires: input.expires.value } : {})
  })
  yield* output.line(input.json ? JSON.stringify(fact) : `${output.paint.green("✓")} ${plain(fact.scope)} remembers it as ${fact.id}`)
}, Effect.provide(conductor([])))

/** `conductor memories forget`. */
export const forgetMemories = Effect.fnUntraced(function*(input: Place & { readonly id: Option.Option<string>; readonly text: Option.Option<string> }) {
  const given: ReadonlyArray<Forgetting> = [
    ...Option.toArray(input.id).map((id) => ({ id: MemoryId.make(id.trim()) })),
    ...Option.toArray(input.text).map((text) => ({ text })),
    ...Option.toArray(input.scope).map((scope) => ({ scope }))
  ]
  const [what, more] = given
  if (what === undefined || more !== undefined) return yield* usage("What is to be forgotten is one of the id of a memory, --text TEXT or --scope SCOPE.")
  const output = yield* Output
  const forgotten = yield* (yield* Memory).forget(what)
  if ("id" in what && forgotten.memories === 0) return yield* new MemoryNotFound({ memory: what.id })
  if (input.json) return yield* output.line(JSON.stringify(forgotten))
  const told = forgotten.memories === 1 ? "1 memory is" : `${forgotten.memories} memories are`
  yield* output.line(`${output.paint.green("✓")} ${told} forgotten, and what was said of it is taken out of what is kept`)
  yield* tellWaiting(forgotten.waiting.length)
}, Effect.provide(conductor([])))
