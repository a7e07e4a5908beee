import { assert, it } from "@effect/vitest"
import { Arbitrary, Effect, Option, Schema } from "effect"
import type { Response } from "effect/ai"
import { Answer } from "../../src/Model.ts"
import * as Money from "../../src/Money.ts"
import { AttemptId, ModelRef, RunEvent } from "../../src/Run.ts"
import { decodeEvent, payloadOf } from "../../src/RunLog/Payload.ts"
import { type Chance, makeChance } from "../support/chance.ts"

const encode = Schema.encodeUnknownSync(RunEvent)

/** Parts as a provider of somebody else might give them: numbers that are none, reasons that nobody knows, text that is no Unicode. */
const partsOf = ({ below, of }: Chance): ReadonlyArray<Response.StreamPartEncoded> => {
  const count = () => of([undefined, 0, 1, 2.5, -3, NaN, Infinity, 1e300, Number.MAX_SAFE_INTEGER])
  const text = () => of(["", "a", "\u0000", "\ud800", "é\n\"", "x".repeat(300)])
  const metadata = () => of([undefined, { p: { signature: text(), n: count(), note: text(), host: text(), requestId: text(), cost: of(["0.1", "-1", "x"]) } }])
  const parts = Array.from({ length: below(6) }, (_, index): ReadonlyArray<unknown> => {
    const [id, name] = [of(["", `c${index}`, "\ud800"]), text()]
    switch (of(["text", "reasoning", "call"])) {
      case "call":
        return [{ type: "tool-params-start", id, name }, { type: "tool-params-delta", id, delta: text() }, { type: "tool-call", id, name, params: of([{ a: count() }, null, "x"]), metadata: metadata() }]
      case "reasoning":
        return [{ type: "reasoning-start", id }, { type: "reasoning-delta", id, delta: text(), metadata: metadata() }, { type: "reasoning-end", id }]
      default:
        return [{ type: "text-start", id }, { type: "text-delta", id, delta: text() }, { type: "text-end", id }]
    }
  })
  return [...parts.flat(), {
    type: "finish",
    reason: of(["stop", "tool-calls", "nonsense", undefined]),
    usage: { inputTokens: { uncached: count(), total: count(), cacheRead: count(), cacheWrite: count() }, outputTokens: { total: count(), text: count(), reasoning: count() } },
    metadata: metadata()
  }] as ReadonlyArray<Response.StreamPartEncoded> // as a provider without types might give them
}

it.effect.prop("Whatever a provider streams, the answer is stored without a schema as with one, and can be read", { seed: Arbitrary.schema(Schema.Int) }, ({ seed }) =>
  Effect.sync(() => {
    const collector = Answer.collect()
    for (const part of partsOf(makeChance(String(seed)))) collector.add(part)
    const { finish, note, parts, requestId, usage } = Option.getOrThrow(collector.end())
    const event: RunEvent = {
      _tag: "TurnCompleted",
      v: 1,
      turn: 1,
      attemptId: AttemptId.make("a.1"),
      parts,
      finish,
      note,
      bill: { latencyMs: 3, firstTokenMs: null, model: ModelRef.make("test:m"), usage, cost: Money.usd("0.0001"), source: "priced", requestId }
    }
    const stored: unknown = JSON.parse(payloadOf(event))
    assert.deepStrictEqual(stored, JSON.parse(JSON.stringify(encode(event))))
    assert.deepStrictEqual(decodeEvent(stored), event)
  }), { arbitrary: { runs: 500 } })
