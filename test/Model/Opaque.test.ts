import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Opaque } from "../../src/Model.ts"
import { Transcript } from "../../src/Run.ts"

const refs = ["anthropic:claude-sonnet-5-5", "google:gemini-4-argon", "openrouter:deepseek/deepseek-v4-pro-0813", "openrouter:anthropic/claude-opus-5.5", "scripted:demo"] as const

const places = [...Opaque.rules.flatMap(({ key, provider }) => key === null ? [] : [{ key, provider }]), { provider: "scripted", key: "signature" }]

const Part = Schema.Struct({
  type: Schema.Literals(["text", "reasoning", "tool-call"]),
  text: Schema.String,
  opaque: Schema.Array(Schema.Struct({ at: Schema.Literals(places.map((_, index) => index)), value: Schema.String }))
})

const Turns = Schema.Array(Schema.Struct({ said: Schema.String, model: Schema.Literals(refs), parts: Schema.Array(Part) }))

const opaqueOf = (entries: typeof Part.Type["opaque"]) => {
  const opaque: Record<string, Record<string, string>> = {}
  for (const { at, value } of entries) {
    const place = places[at]
    if (place !== undefined) (opaque[place.provider] ??= {})[place.key] = value
  }
  return Object.keys(opaque).length === 0 ? {} : { opaque }
}

/** A conversation that providers would take: every call has its own id and its result. */
const conversation = (turns: typeof Turns.Type): ReadonlyArray<Transcript.Message> =>
  turns.flatMap(({ model, parts, said }, turn): ReadonlyArray<Transcript.Message> => {
    const own = parts.map(({ opaque, text, type }, index): Transcript.AssistantPart =>
      type === "tool-call"
        ? { type, id: `${turn}_${index}`, name: text, arguments: JSON.stringify({ text }), ...opaqueOf(opaque) }
        : { type, text, ...opaqueOf(opaque) })
    const results = Transcript.toolCallsOf(own).map(({ id, name }) => ({ id, name, isFailure: false, result: "ok" }))
    return [{ role: "user", text: said }, { role: "assistant", model, parts: own }, ...(results.length === 0 ? [] : [{ role: "tool" as const, results }])]
  })

/** The conversation as it goes to a model. */
const sent = (messages: ReadonlyArray<Transcript.Message>, ref: string) =>
  messages.map((message) => message.role === "assistant" ? { ...message, parts: Opaque.sendable(message, ref) } : message)

const bareCalls = (messages: ReadonlyArray<Transcript.Message>) =>
  messages.flatMap((message) => message.role === "assistant" ? Transcript.toolCallsOf(message.parts) : [])
    .map(({ arguments: params, id, name }) => ({ arguments: params, id, name }))

const said = (messages: ReadonlyArray<Transcript.Message>) =>
  messages.map((message) => message.role === "assistant" ? Transcript.textOf(message.parts) : "").join("")

describe("Opaque", () => {
  it.prop("gives a model its own answer back byte for byte", { turns: Turns }, ({ turns }) => {
    for (const message of conversation(turns)) {
      if (message.role === "assistant") assert.strictEqual(Opaque.sendable(message, message.model), message.parts)
    }
  })

  it.prop("gives another model neither reasoning nor anything opaque, and every text and tool call", { turns: Turns, ref: Schema.Literals(refs) }, ({ ref, turns }) => {
    const messages = conversation(turns)
    const out = sent(messages, ref)
    assert.isUndefined(Transcript.problem(messages))
    assert.isUndefined(Transcript.problem(out))
    assert.deepStrictEqual(bareCalls(out), bareCalls(messages))
    assert.strictEqual(said(out), said(messages))
    for (const message of out) {
      if (message.role !== "assistant" || message.model === ref) continue
      for (const part of message.parts) {
        assert.isUndefined(part.opaque)
        assert.notStrictEqual(part.type, "reasoning")
      }
    }
  })

  it.prop("drops what is bound to its beginning when that changes, and nothing else", { turns: Turns }, ({ turns }) => {
    const messages = conversation(turns)
    const out = Opaque.afterCompaction(messages)
    assert.isUndefined(Transcript.problem(out))
    assert.deepStrictEqual(bareCalls(out), bareCalls(messages))
    assert.strictEqual(said(out), said(messages))
    // Once dropped is dropped: what is left outlives any further change.
    assert.deepStrictEqual(Opaque.afterCompaction(out), out)
    const text = JSON.stringify(out.flatMap((message) => message.role === "assistant" ? message.parts.map((part) => part.opaque ?? {}) : []))
    assert.notInclude(text, "\"redacted\":")
    assert.notInclude(text, "\"anthropic\":")
  })

  const carrying = (model: string, opaque: Transcript.Opaque): Transcript.AssistantMessage => ({
    role: "assistant", model, parts: [{ type: "reasoning", text: "hm", opaque }, { type: "tool-call", id: "a", name: "go", arguments: "{}", opaque }]
  })
  const left = (model: string, opaque: Transcript.Opaque) =>
    Opaque.afterCompaction([carrying(model, opaque)]).flatMap((message) => message.role === "assistant" ? message.parts.map((part) => part.type) : [])

  it("knows what outlives compaction: DeepSeek's reasoning does, Claude's does not, behind a gateway neither", () => {
    assert.deepStrictEqual(left("anthropic:claude-fable-5-2", { anthropic: { signature: "s" } }), ["tool-call"])
    assert.deepStrictEqual(left("openrouter:anthropic/claude-fable-5.2", { openrouter: { reasoning_details: "[]" } }), ["tool-call"])
    assert.deepStrictEqual(left("openrouter:deepseek/deepseek-v4-pro-0813", { openrouter: { reasoning_details: "[]" } }), ["reasoning", "tool-call"])
    assert.deepStrictEqual(left("openrouter:deepseek/deepseek-v4-pro-0813", {}), ["reasoning", "tool-call"])
    assert.deepStrictEqual(left("google:gemini-4-argon", { google: { thoughtSignature: "s" } }), ["reasoning", "tool-call"])
    assert.deepStrictEqual(left("scripted:demo", { scripted: { signature: "s" } }), ["tool-call"])
  })
})
