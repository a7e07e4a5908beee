import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Api, type MemoryRow } from "../Api.ts"
import { type Fact, type Found, Memory, MemoryId, MemoryNotFound, type Scope } from "../Memory.ts"

const rowOf = (fact: Fact | Found): MemoryRow => ({
  id: fact.id,
  scope: fact.scope,
  text: fact.text,
  sourceRun: fact.sourceRun,
  sourceCall: fact.sourceCall,
  createdBy: fact.createdBy,
  createdAt: fact.createdAt,
  expiresAt: fact.expiresAt,
  ...("score" in fact ? { score: fact.score } : {})
})

const scopeOf = (scope: string): Scope => scope as Scope // as the contract has it

/** Handlers of memories. */
export const layer = HttpApiBuilder.group(Api, "memories", Effect.fnUntraced(function*(handlers) {
  const memory = yield* Memory
  return handlers.handleAll({
    list: Effect.fn("Api.memories")(function*({ query: { before, limit = 50, q, scope } }) {
      const scopes = scope === undefined ? {} : { scopes: [scopeOf(scope)] }
      if (q !== undefined) return { memories: (yield* memory.recall({ text: q, limit, ...scopes })).map(rowOf), next: null }
      const found = yield* memory.list({ ...scopes, limit: limit + 1, ...(before === undefined ? {} : { before: MemoryId.make(before) }) })
      const memories = found.slice(0, limit).map(rowOf)
      return { memories, next: found.length > limit ? memories.at(-1)?.id ?? null : null }
    }),
    remember: Effect.fn("Api.remember")(function*({ payload: { days, scope, text } }) {
      return rowOf(yield* memory.remember({
        text,
        ...(scope === undefined ? {} : { scope: scopeOf(scope) }),
        ...(days === undefined ? {} : { expires: `${days} days` })
      }))
    }),
    forget: Effect.fn("Api.forget")(function*({ params }) {
      const forgotten = yield* memory.forget({ id: MemoryId.make(params.id) })
      return forgotten.memories === 0 ? yield* new MemoryNotFound({ memory: params.id.slice(0, 200) }) : forgotten
    }),
    forgetAll: Effect.fn("Api.forgetAll")(function*({ payload: { scope, text = "" } }) {
      return yield* memory.forget(scope === undefined ? { text } : { scope: scopeOf(scope) })
    })
  })
}))
