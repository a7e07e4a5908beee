import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { askedFor } from "../Approval.ts"
import { Conductor } from "../Conductor.ts"
import { count, time } from "./Format.ts"
import { leftOf } from "./Notice.ts"
import { Output, plain } from "./Output.ts"
import { conductor } from "./Runtime.ts"

/** Characters of one parameter that are written for people. */
const maxValue = 2_000

/** Characters that a reader does not see, or that change how others are seen. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

const escaped = (text: string): string =>
  text.replace(unseen, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)

/** One parameter on a line of its own, which no value can break out of, with everything in it to be seen. */
const valueOf = (value: unknown): string => {
  const text = typeof value === "string" && value.search(unseen) < 0 ? value : JSON.stringify(value)
  return escaped(text.length <= maxValue ? text : `${text.slice(0, maxValue).toWellFormed()} … (${count(text.length)} characters; --json has more)`)
}

const linesOf = (parameters: unknown): ReadonlyArray<string> => {
  if (parameters === null) return ["(what it was asked for was erased)"]
  if (typeof parameters !== "object" || Array.isArray(parameters)) return [valueOf(parameters)]
  const fields = Object.entries(parameters).map(([name, value]) => `${valueOf(name)}: ${valueOf(value)}`)
  return fields.length === 0 ? ["(no parameters)"] : fields
}

/** `conductor approvals`. */
export const printApprovals = Effect.fnUntraced(function*(input: { readonly limit: number; readonly json: boolean }) {
  const { approvals } = yield* Conductor
  const output = yield* Output
  const { bold, dim } = output.paint
  const now = yield* Clock.currentTimeMillis
  const requests = yield* approvals({ limit: input.limit })
  for (const request of requests) {
    const { agent, call, createdAt, digest, expiresAt, id, run, tool } = request
    const parameters = yield* askedFor(request)
    if (input.json) {
      yield* output.line(JSON.stringify({ id, tool, agent, run, call, parameters, digest, createdAt, expiresAt, leftMs: Math.max(0, expiresAt - now) }))
      continue
    }
    yield* output.line(`${bold(plain(tool))}  ${id}`)
    for (const line of linesOf(parameters)) yield* output.line(`  ${line}`)
    yield* output.line(dim(`  agent ${agent} · run ${run} · asked ${time(createdAt)} UTC · ${leftOf(expiresAt, now)}`))
  }
  if (input.json) return
  yield* output.line(requests.length === 0
    ? "Nothing waits for approval."
    : dim("Decide with conductor approve ID or conductor deny ID; both take --comment."))
}, Effect.provide(conductor([])))
