import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Response } from "effect/ai"
import { parseObject } from "../../src/Model/Json.ts"
import { Calls } from "../../src/Model/OpenRouter/Calls.ts"
import { growth, mostOfLinear } from "../support/growth.ts"

/** What is to come out. */
interface Call {
  readonly id: string
  readonly name: string
  readonly json: string
}

/** A piece of a call's arguments, and whether it is the first or the last of its call. */
interface Piece {
  readonly call: Call
  readonly number: number
  readonly json: string
  readonly first: boolean
  readonly last: boolean
}

/** How a host writes deltas. Only with an index, or with ids, can several calls be told apart at a time. */
interface Style {
  readonly name: string
  readonly mixed: boolean
  /** Sends the arguments of each call in one delta. */
  readonly whole?: true
  /** Gives no ids of its own. */
  readonly nameless?: true
  readonly of: (piece: Piece) => ReadonlyArray<object>
}

const named = ({ call, first, json }: Piece) => ({ function: first ? { name: call.name, arguments: json } : { arguments: json } })

const styles: ReadonlyArray<Style> = [
  { name: "id and name once, index from 0", mixed: true, of: (piece) => [{ index: piece.number, ...(piece.first ? { id: piece.call.id, type: "function" } : {}), ...named(piece) }] },
  { name: "index from 1", mixed: true, of: (piece) => [{ index: piece.number + 1, ...(piece.first ? { id: piece.call.id } : {}), ...named(piece) }] },
  { name: "an empty id in later deltas", mixed: true, of: (piece) => [{ index: piece.number, id: piece.first ? piece.call.id : "", ...named(piece) }] },
  { name: "id and name null in later deltas", mixed: true, of: (piece) => [{ index: piece.number, id: piece.first ? piece.call.id : null, type: null, function: { name: piece.first ? piece.call.name : null, arguments: piece.json } }] },
  { name: "id and name repeated", mixed: true, of: (piece) => [{ index: piece.number, id: piece.call.id, function: { name: piece.call.name, arguments: piece.json } }] },
  { name: "id and name before any arguments", mixed: true, of: (piece) => [
    ...(piece.first ? [{ index: piece.number, id: piece.call.id, function: { name: piece.call.name, arguments: "" } }] : []),
    { index: piece.number, function: { arguments: piece.json } }
  ] },
  { name: "the name after the first arguments", mixed: true, of: (piece) => [
    { index: piece.number, id: piece.call.id, function: { arguments: piece.json } },
    ...(piece.first ? [{ index: piece.number, function: { name: piece.call.name } }] : [])
  ] },
  { name: "a delta of nothing after the arguments", mixed: true, of: (piece) => [
    { index: piece.number, ...(piece.first ? { id: piece.call.id } : {}), ...named(piece) },
    ...(piece.last ? [{ index: piece.number, id: "", type: "function", function: { name: piece.call.name, arguments: "" } }, { index: piece.number, function: { arguments: null } }] : [])
  ] },
  { name: "one index for all", mixed: false, of: (piece) => [{ index: 0, ...(piece.first ? { id: piece.call.id } : {}), ...named(piece) }] },
  { name: "one index for all, ids repeated", mixed: true, of: (piece) => [{ index: 0, id: piece.call.id, ...named(piece) }] },
  { name: "no index", mixed: false, of: (piece) => [{ ...(piece.first ? { id: piece.call.id } : {}), ...named(piece) }] },
  { name: "no index, ids repeated", mixed: true, of: (piece) => [{ id: piece.call.id, ...named(piece) }] },
  { name: "whole, with an index", mixed: false, whole: true, of: (piece) => [{ index: piece.number, id: piece.call.id, ...named(piece) }] },
  { name: "whole, as an object", mixed: false, whole: true, of: (piece) => [{ index: piece.number, id: piece.call.id, function: { name: piece.call.name, arguments: JSON.parse(piece.json) } }] },
  { name: "whole, neither index nor id", mixed: false, whole: true, nameless: true, of: (piece) => [{ function: { name: piece.call.name, arguments: piece.json } }] },
  { name: "whole, one index and no id", mixed: false, whole: true, nameless: true, of: (piece) => [{ index: 0, function: { name: piece.call.name, arguments: piece.json } }] },
  { name: "one id for all", mixed: true, nameless: true, of: (piece) => [{ index: piece.number, id: "call", ...named(piece) }] }
]

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 }))

const Made = Schema.Struct({
  name: Schema.Literals(["weather", "clock", "search"]),
  value: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null, Schema.Array(Schema.String)])),
  cuts: Schema.Array(Count)
})

const Calling = Schema.Struct({ made: Schema.NonEmptyArray(Made), chance: Schema.Array(Count) })

const piecesOf = (call: Call, number: number, cuts: ReadonlyArray<number>): Array<Piece> => {
  const ends = [...new Set([...cuts.map((cut) => cut % call.json.length), call.json.length])].filter((end) => end > 0).toSorted((a, b) => a - b)
  return ends.map((end, index) => ({
    call, number, json: call.json.slice(ends[index - 1] ?? 0, end), first: index === 0, last: index === ends.length - 1
  }))
}

/** The calls that come of deltas, and whether their pieces were well formed. */
const read = (deltas: ReadonlyArray<object>) => {
  const out: Array<Response.StreamPartEncoded> = []
  const reader = new Calls()
  for (const delta of deltas) reader.take(delta, out)
  reader.end(out)
  const open = new Map<string, string>()
  const found: Array<Call> = []
  for (const part of out) {
    if (part.type === "tool-params-start") open.set(part.id, "")
    if (part.type === "tool-params-delta") open.set(part.id, `${open.get(part.id)}${part.delta}`)
    if (part.type === "tool-call") {
      const json = open.get(part.id) ?? "never started"
      assert.deepStrictEqual(part.params, parseObject(json) ?? json)
      found.push({ id: part.id, name: part.name, json })
      open.delete(part.id)
    }
  }
  assert.strictEqual(open.size, 0)
  return found
}

describe("A host that sends calls without end", () => {
  const partsOf = (deltas: ReadonlyArray<object>) => {
    const calls = new Calls()
    const out: Array<Response.StreamPartEncoded> = []
    for (const delta of deltas) calls.take(delta, out)
    calls.end(out)
    return out.filter((part) => part.type === "tool-call")
  }
  const many = (count: number, of: (index: number) => object) => Array.from({ length: count }, (_, index) => of(index))

  for (const [what, of] of [
    ["of nothing", (index: number) => ({ index, id: `call_${index}`, function: { name: "go", arguments: "{}" } })],
    ["with arguments", (index: number) => ({ index, id: `call_${index}`, function: { name: "go", arguments: `{"n":${index}}` } })],
    ["without ids", () => ({ function: { name: "go", arguments: `{"n":1}` } })],
    ["of one id", (index: number) => ({ index, id: "call", function: { name: "go", arguments: `{"n":${index}}` } })]
  ] as const) {
    it(`keeps nobody waiting: ${what}`, () => {
      assert.strictEqual(partsOf(many(20_000, of)).length, 20_000)
      assert.isBelow(growth(2_500, (count) => partsOf(many(count, of))), mostOfLinear)
    })
  }

  // Each piece ends like an object, so that each may have been the last.
  const pieces = (count: number, more: object) => [
    { index: 0, id: "a", ...more, function: { name: "go", arguments: `{"list":[{}` } },
    ...many(count, (index) => ({ index: 0, ...more, function: { name: "go", arguments: `,{"n":"\\"${index}"}` } })),
    { index: 0, ...more, function: { name: "go", arguments: "]}" } }
  ]
  for (const [what, more] of [["the name", {}], ["the name and the id", { id: "a" }]] as const) {
    it(`keeps nobody waiting who repeats ${what} with each of 20,000 pieces`, () => {
      const [call, ...none] = partsOf(pieces(20_000, more))
      assert.deepStrictEqual(none, [])
      assert.strictEqual(call?.type === "tool-call" ? Object(call.params).list.length : 0, 20_001)
      assert.isBelow(growth(2_500, (count) => partsOf(pieces(count, more))), mostOfLinear)
    })
  }
})

describe("OpenRouter, tool calls", () => {
  for (const style of styles) {
    it.prop(`${style.name}: any split of the arguments gives the same calls`, { calling: Calling }, ({ calling: { chance, made } }) => {
      const wanted = made.map(({ name, value }, index): Call => ({ id: `functions.${name}:${index}`, name, json: JSON.stringify({ value }) }))
      const queues = made.flatMap(({ cuts }, number) => {
        const call = wanted[number]
        return call === undefined ? [] : [piecesOf(call, number, style.whole === true ? [] : cuts)]
      })
      const pieces: Array<Piece> = []
      // The first pieces come in order; after that each call goes on as chance has it, where the style allows it.
      if (style.mixed) for (const queue of queues) pieces.push(...queue.splice(0, 1))
      while (queues.some((queue) => queue.length > 0)) {
        const waiting = queues.filter((queue) => queue.length > 0)
        pieces.push(...(waiting[style.mixed ? (chance[pieces.length % Math.max(1, chance.length)] ?? 0) % waiting.length : 0]?.splice(0, 1) ?? []))
      }
      const found = read(pieces.flatMap(style.of))
      const ordered = wanted.map((call) => found.find((one) => one.name === call.name && one.json === call.json))
      assert.deepStrictEqual(ordered.map((call) => call?.json), wanted.map((call) => call.json))
      assert.strictEqual(found.length, wanted.length)
      assert.strictEqual(new Set(found.map((call) => call.id)).size, found.length)
      if (style.nameless !== true) assert.deepStrictEqual(new Map(found.map((call) => [call.id, call])), new Map(wanted.map((call) => [call.id, call])))
    })
  }

  it("keeps calls without arguments, and makes none of what has no name", () => {
    const out: Array<Response.StreamPartEncoded> = []
    const reader = new Calls()
    for (const delta of [
      { index: 0, id: "a", function: { name: "clock", arguments: "" } }, { index: 1, id: "b", function: { name: "clock", arguments: "{}" } },
      { index: 2, id: "c", function: { name: "" } }, { index: 2, function: { arguments: "{" } }
    ]) reader.take(delta, out)
    reader.end(out)
    assert.deepStrictEqual(out.filter((part) => part.type === "tool-call"), [
      { type: "tool-call", id: "a", name: "clock", params: {} }, { type: "tool-call", id: "b", name: "clock", params: {} }
    ])
  })
})
